//! Sends requests to one PBX: keep-alive pool, bounded concurrency, time-outs, errors by what the caller can do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ClientConfig;
use url::Url;

use crate::breaker::{Breaker, BreakerState, Outcome, Ticket};
use crate::config::Config;
use crate::counters::{Counters, Counts};
use crate::error::{Error, RequestLine};
use crate::request::{self, Method, Request};

/// Below Asterisk's `session_keep_alive` (15 s): a connection that Asterisk closes while we send on it makes the request's
/// outcome unknown, so we close it first.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// How much of an error's text is kept, characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// Sends requests to one PBX. Cheap to clone; all clones share the pool, the bounds and the counters.
///
/// Dropping the future of a request gives it up: whether Asterisk has done it is then unknown.
#[derive(Clone, Debug)]
pub struct Http {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: reqwest::Client,
    /// For the event stream, where the address is https.
    tls: Option<Arc<ClientConfig>>,
    base_url: Url,
    host: String,
    user: String,
    /// Marked sensitive: `Debug` does not show it.
    authorization: HeaderValue,
    request_timeout: Duration,
    reply_bytes_max: usize,
    /// One permit for each request under way.
    places: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// Held for the time of a comparison, never across a wait.
    breaker: Mutex<Breaker>,
    counters: Counters,
}

impl Http {
    /// A client that is not connected to anything yet.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let host = config.host();
        let not_built = |e: reqwest::Error| Error::NotSent {
            request: request::asterisk::ping().line(),
            host: host.clone(),
            reason: format!("cannot set up an HTTP client: {}", causes(&e)),
        };
        let tls = match config.is_encrypted() {
            true => {
                Some(aimg_tls::client_config(&config.tls).map_err(|source| Error::Tls { host: host.clone(), source })?)
            }
            false => None,
        };
        // Nothing is ever repeated or sent elsewhere behind the caller's back: no retries, redirects, proxies.
        let pool = reqwest::Client::builder();
        let pool = match &tls {
            Some(tls) => pool.tls_backend_preconfigured(ClientConfig::clone(tls)),
            // Nobody is trusted; spares reading the operating system's certificates for nothing.
            None => pool.tls_certs_only([]),
        };
        let pool = pool
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("aimg/", env!("CARGO_PKG_VERSION")))
            .tcp_nodelay(true)
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(config.requests_max)
            .build()
            .map_err(not_built)?;
        let authorization = basic_auth(&pool, &config.base_url, &config.user, &config.password)
            .expect("the base URL is one, and basic_auth sets the header");
        Ok(Self {
            shared: Arc::new(Shared {
                pool,
                tls,
                base_url: config.base_url.clone(),
                host,
                user: config.user.clone(),
                authorization,
                request_timeout: config.request_timeout,
                reply_bytes_max: config.reply_bytes_max,
                places: Semaphore::new(config.requests_max),
                waiting: AtomicUsize::new(0),
                waiting_max: config.requests_waiting_max,
                breaker: Mutex::new(Breaker::new(
                    config.breaker_failures,
                    config.breaker_delay_min,
                    config.breaker_delay_max,
                )),
                counters: Counters::default(),
            }),
        })
    }

    /// `host:port` of the PBX.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// The counters of this client and all its clones.
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }

    /// Whether requests are sent, or refused because the PBX did not answer the last ones.
    pub fn breaker(&self) -> BreakerState {
        self.shared.breaker().state(Instant::now().into_std())
    }

    /// The PBX was seen alive by other means than a request.
    pub(crate) fn is_alive(&self) {
        self.shared.breaker().answered();
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The header of these credentials; nothing when no header can carry them.
    pub(crate) fn basic_auth(&self, user: &str, password: &SecretString) -> Option<HeaderValue> {
        if user.contains(':') {
            return None;
        }
        basic_auth(&self.shared.pool, &self.shared.base_url, user, password)
    }

    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.shared.tls.clone()
    }

    pub(crate) fn authorization(&self) -> HeaderValue {
        self.shared.authorization.clone()
    }

    /// Sends one request and reads its answer.
    pub async fn call<R>(&self, request: Request<R>) -> Result<R, Error> {
        let counters = self.counters();
        counters.requests.add();
        let outcome = self.exchange(&request).await;
        match &outcome {
            Ok(_) => {}
            Err(Error::NotSent { .. }) => counters.requests_not_sent.add(),
            Err(Error::MaybeDone { .. }) => counters.requests_maybe_done.add(),
            Err(_) => counters.requests_rejected.add(),
        }
        outcome
    }

    /// Opens `connections` connections, or keeps them from idling out, by that many pings at once. What goes wrong is left
    /// to the requests that follow.
    pub(crate) async fn warm(&self, connections: usize) {
        join_all((0..connections).map(|_| self.call(request::asterisk::ping()))).await;
    }

    async fn exchange<R>(&self, request: &Request<R>) -> Result<R, Error> {
        let url = self.url(request)?;
        // Before a place is waited for: behind a dead PBX there would be a crowd of those who wait in vain.
        let admission = self.admission(request)?;
        let _place = self.place(request).await?;
        let outcome = self.send(request, url).await;
        admission.ended(match &outcome {
            Err(Error::NotSent { .. } | Error::MaybeDone { .. }) => Outcome::Silent,
            _ => Outcome::Answered,
        });
        outcome
    }

    fn admission<R>(&self, request: &Request<R>) -> Result<Admission<'_>, Error> {
        let shared = &*self.shared;
        let admitted = shared.breaker().admit(Instant::now().into_std());
        admitted.map(|ticket| Admission { shared, ticket, outcome: Outcome::Abandoned }).map_err(|retry_in| {
            shared.counters.requests_broken_off.add();
            Error::NotSent {
                request: request.line(),
                host: shared.host.clone(),
                reason: format!(
                    "it did not answer the last requests, the next is tried in {} ms: is Asterisk frozen or unreachable?",
                    retry_in.as_millis()
                ),
            }
        })
    }

    async fn send<R>(&self, request: &Request<R>, url: Url) -> Result<R, Error> {
        let method = match request.method() {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut outgoing = self.shared.pool.request(method, url).header(AUTHORIZATION, self.authorization());
        if let Some(body) = request.body() {
            outgoing = outgoing.json(body);
        }
        let answer = outgoing.send().await.map_err(|e| self.cut(request.line(), &e))?;
        let status = answer.status().as_u16();
        let body = self.body(request, answer).await?;
        if (200..300).contains(&status) {
            return request.parse(&body).map_err(|e| Error::Answer { request: request.line(), reason: e.to_string() });
        }
        Err(self.rejection(request.line(), status, &body, request.on_server_error()))
    }

    fn url<R>(&self, request: &Request<R>) -> Result<Url, Error> {
        let base = self.shared.base_url.as_str();
        let url = Url::parse(&format!("{base}{}", request.target()));
        // `.` and `..` are the two ids that no encoding keeps from being taken as a way through the path.
        url.ok().filter(|url| url.path() == format!("{}{}", self.shared.base_url.path(), request.path())).ok_or_else(
            || Error::BadRequest { request: request.line(), message: "an id must not be `.` or `..`".to_owned() },
        )
    }

    /// Waits for a turn, no longer than a request may take, and in a bounded crowd.
    async fn place<R>(&self, request: &Request<R>) -> Result<SemaphorePermit<'_>, Error> {
        let shared = &*self.shared;
        if let Ok(place) = shared.places.try_acquire() {
            return Ok(place);
        }
        let not_sent = |reason: &str| Error::NotSent {
            request: request.line(),
            host: shared.host.clone(),
            reason: reason.to_owned(),
        };
        let Some(_waiting) = Waiting::enter(&shared.waiting, shared.waiting_max) else {
            shared.counters.requests_crowded_out.add();
            return Err(not_sent("too many requests are waiting for their turn already"));
        };
        match timeout(shared.request_timeout, shared.places.acquire()).await {
            Ok(place) => Ok(place.expect("the semaphore is never closed")),
            Err(_) => Err(not_sent("its turn did not come in time behind other requests")),
        }
    }

    async fn body<R>(&self, request: &Request<R>, mut answer: reqwest::Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.cut(request.line(), &e))? {
            if body.len() + chunk.len() > self.shared.reply_bytes_max {
                let reason = format!("it is longer than {} bytes", self.shared.reply_bytes_max);
                return Err(Error::Answer { request: request.line(), reason });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// An exchange that ended without an answer.
    fn cut(&self, request: RequestLine, error: &reqwest::Error) -> Error {
        let host = self.shared.host.clone();
        let reason = causes(error);
        if error.is_connect() || error.is_builder() {
            let reason = aimg_tls::refusal(error)
                .unwrap_or_else(|| format!("cannot connect, is http.conf enabled there: {reason}"));
            Error::NotSent { request, host, reason }
        } else if error.is_timeout() {
            let reason = format!("no answer within {} ms", self.shared.request_timeout.as_millis());
            Error::MaybeDone { request, host, reason }
        } else {
            Error::MaybeDone { request, host, reason }
        }
    }

    /// An answer that is an error, by its status and Asterisk's words.
    pub(crate) fn rejection(
        &self,
        request: RequestLine,
        status: u16,
        body: &[u8],
        on_server_error: Option<&str>,
    ) -> Error {
        let host = self.shared.host.clone();
        let said = asterisk_message(body);
        let message = said.clone().unwrap_or_else(|| format!("HTTP status {status}"));
        let absent = said.as_deref().is_some_and(|said| said.ends_with("not found"));
        match status {
            // A channel without RTP is refused its rtp_statistics as forbidden, whoever asks.
            403 if said.as_deref().is_some_and(|said| said != "Write access denied") => {
                Error::Unprocessable { request, message }
            }
            401 | 403 => Error::Denied { request, host, user: self.shared.user.clone(), status },
            // ARI itself answers this way only for a path that no loaded module serves.
            404 if said.as_deref().is_none_or(|said| said == "Resource not found") => {
                Error::NotServed { request, host, status }
            }
            404 => Error::NotFound { request, message },
            // addChannel and removeChannel call a channel that is gone a bad request.
            400 if absent => Error::NotFound { request, message },
            409 | 422 if message.contains("not in Stasis") => Error::NotInStasis { request, message },
            409 => Error::Conflict { request, message },
            // Asterisk 16's way to say that a bridge's id is taken.
            500 if message.starts_with("Supplying a bridge") => Error::Conflict { request, message },
            412 | 422 => Error::Unprocessable { request, message },
            503 => Error::Unavailable { request, host, message },
            500.. => {
                let hint = on_server_error.map(|hint| format!("; {hint}")).unwrap_or_default();
                Error::Server { request, status, message: message + &hint }
            }
            400..500 => Error::BadRequest { request, message },
            _ => Error::NotServed { request, host, status },
        }
    }
}

fn basic_auth(pool: &reqwest::Client, url: &Url, user: &str, password: &SecretString) -> Option<HeaderValue> {
    let request = pool.get(url.clone()).basic_auth(user, Some(password.expose_secret())).build().ok()?;
    request.headers().get(AUTHORIZATION).cloned()
}

impl Shared {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // Nothing that holds it can panic halfway through a change.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that the breaker let through. It learns the outcome on drop: of a request that is given up, that it was.
struct Admission<'a> {
    shared: &'a Shared,
    ticket: Ticket,
    outcome: Outcome,
}

impl Admission<'_> {
    fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let now = Instant::now().into_std();
        if self.shared.breaker().ended(self.ticket, self.outcome, now, rand::random()) {
            self.shared.counters.breaker_opened.add();
        }
    }
}

/// A place among those who wait, given back on drop.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let entered = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1));
        entered.ok().map(|_| Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The `message` of an ARI error (`error` in its 500 answers); nothing if it is not ARI that answered.
fn asterisk_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let message = body.get("message").or_else(|| body.get("error"))?.as_str()?;
    Some(message.chars().take(MESSAGE_CHARS_MAX).collect())
}

/// The innermost cause, where the useful words are: reqwest's own only repeat the URL.
fn causes(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) { "the exchange failed".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(status: u16, body: &str) -> Error {
        let config = Config::new("http://pbx:8088/ari", "me", "hunter2".into(), "aimg").unwrap();
        let http = Http::new(&config).unwrap();
        assert!(!format!("{http:?}").contains("hunter2") && !format!("{http:?}").contains("bWU6aHVudGVyMg"));
        http.rejection(request::asterisk::ping().line(), status, body.as_bytes(), Some("check x"))
    }

    #[test]
    fn rejections_by_what_the_caller_can_do() {
        for (status, body, expected) in [
            (400, r#"{"message":"Channel not found"}"#, "NotFound"),
            (400, r#"{"message":"Invalid direction specified for spy"}"#, "BadRequest"),
            (401, r#"{"message":"Authentication required"}"#, "Denied"),
            (403, r#"{"message":"Write access denied"}"#, "Denied"),
            (403, "<html>Forbidden</html>", "Denied"),
            (403, r#"{"message":"Unsupported channel type"}"#, "Unprocessable"),
            (404, r#"{"message":"Channel not found"}"#, "NotFound"),
            (404, r#"{"message":"Provided channel was not found"}"#, "NotFound"),
            (404, r#"{"message":"Resource not found"}"#, "NotServed"),
            (404, "<html>Not Found</html>", "NotServed"),
            (409, r#"{"message":"Channel not in Stasis application"}"#, "NotInStasis"),
            (409, r#"{"message":"Bridge with id 'x' already exists"}"#, "Conflict"),
            (500, r#"{"message":"Supplying a bridge type when updating a bridge is not allowed."}"#, "Conflict"),
            (412, r#"{"message":"Channel in invalid state"}"#, "Unprocessable"),
            (422, r#"{"message":"Channel not in Stasis application"}"#, "NotInStasis"),
            (422, r#"{"message":"Channel not in this bridge"}"#, "Unprocessable"),
            (500, r#"{"error":"Allocation failed"}"#, "Server"),
            (501, "", "Server"),
            (503, "<html>not booted</html>", "Unavailable"),
            (302, "", "NotServed"),
        ] {
            let error = rejected(status, body);
            assert!(format!("{error:?}").starts_with(expected), "{status} {body}: {error:?}");
        }
    }

    #[test]
    fn sentences_name_the_thing_and_the_cure() {
        assert_eq!(
            rejected(401, "").to_string(),
            "pbx:8088 denied GET /asterisk/ping to ARI user `me` (401): check [me] in its ari.conf (type=user, password, \
             read_only=no, permit/deny)"
        );
        assert_eq!(
            rejected(500, r#"{"error":"Allocation failed"}"#).to_string(),
            "GET /asterisk/ping failed inside Asterisk (500): Allocation failed; check x"
        );
    }
}
