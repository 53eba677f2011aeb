//! HTTP that holds to a [`Policy`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aimg_tls::Tls;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{RequestBuilder, Response};

use crate::lookup::{Lookup, SystemLookup};
use crate::policy::{Policy, Refusal};

/// A connection that nobody uses is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Such connections to one host.
const IDLE_CONNECTIONS_MAX: usize = 2;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// To resolve a name, connect, and shake hands.
    pub connect_timeout: Duration,
    /// All of a request, its answer's body included.
    pub timeout: Duration,
}

/// Makes requests to addresses that its policy admits. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    policy: Arc<Policy>,
}

impl Client {
    /// One that resolves names as the operating system does.
    pub fn new(policy: Policy, config: Config) -> Result<Self, reqwest::Error> {
        Self::with_lookup(policy, config, SystemLookup::default())
    }

    /// One that resolves names by `lookup`.
    pub fn with_lookup(policy: Policy, config: Config, lookup: impl Lookup) -> Result<Self, reqwest::Error> {
        let policy = Arc::new(policy);
        let guard = Guard { lookup: Arc::new(lookup), policy: Arc::clone(&policy) };
        let http = reqwest::Client::builder();
        let http = match aimg_tls::client_config(&Tls::default()) {
            Ok(tls) => http.tls_backend_preconfigured(rustls::ClientConfig::clone(&tls)),
            Err(error) => {
                tracing::warn!(%error, "nobody is trusted: what is told over https will not arrive");
                http.tls_certs_only([])
            }
        };
        let http = http
            .dns_resolver(Arc::new(guard))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .user_agent(concat!("aimg/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build()?;
        Ok(Self { http, policy })
    }

    /// What it holds to.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A POST to be filled and sent.
    pub fn post(&self, url: &str) -> Result<RequestBuilder, Refusal> {
        Ok(self.http.post(self.policy.check(url)?))
    }

    /// The answer to a GET.
    pub async fn get(&self, url: &str) -> Result<Response, Error> {
        let url = self.policy.check(url)?;
        self.http.get(url).send().await.map_err(Error::from)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address may not be reached.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Broken(String),
}

impl From<reqwest::Error> for Error {
    /// Keeps the innermost reason, which names no address.
    fn from(e: reqwest::Error) -> Self {
        let sources = || std::iter::successors(Some(&e as &dyn std::error::Error), |e| e.source());
        if let Some(refusal) = sources().find_map(|source| source.downcast_ref::<Refusal>()) {
            return Self::Refused(refusal.clone());
        }
        if e.is_timeout() {
            return Self::TimedOut;
        }
        let doing = if e.is_connect() { "cannot connect" } else { "the connection broke" };
        let reason = sources().last().filter(|reason| reason.source().is_none()).map(ToString::to_string);
        Self::Broken(format!("{doing}: {}", reason.unwrap_or_default()))
    }
}

/// Resolves names, and passes on what may be connected to.
struct Guard {
    lookup: Arc<dyn Lookup>,
    policy: Arc<Policy>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, policy) = (self.lookup.lookup(name.as_str()), Arc::clone(&self.policy));
        Box::pin(async move {
            // Not resolved and resolved to nothing public look the same: the names of our networks are not to be probed.
            let mut found = found.await.unwrap_or_default();
            found.retain(|address| policy.admits(*address));
            if found.is_empty() {
                return Err(Refusal::NoAddress(name.as_str().to_owned()).into());
            }
            // The port of the request's address takes the place of this one.
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
