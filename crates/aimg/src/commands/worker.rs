//! The worker of `aimg serve`: the gateway itself, on sockets that its parent holds.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use aimg_accounts::{Accounts, Policy};
use aimg_gateway::{Config, Gateway, Parts, Sockets, Stop};
use aimg_media::Clock;
use aimg_recording::Archive;
use aimg_webhooks::{Courier, Dispatcher};
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{named_tenants, open_store};
use crate::cli::Serve;
use crate::output::Output;
use crate::providers;
use crate::settings::{LogFormat, Settings};

/// How soon a PBX that was added is followed.
pub(super) const PBXS_EVERY: Duration = Duration::from_secs(2);
/// How long a stop waits for captures to be taken down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A message to a webhook is anybody's again so long after it should have been answered twice: the database may be slow.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// What the first line of output says.
#[derive(Debug, Serialize)]
struct Ready {
    event: &'static str,
    node: String,
    audio: Vec<SocketAddr>,
    http: Option<SocketAddr>,
    database: String,
    /// Where the first user is made; nothing when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_up: Option<String>,
}

pub(crate) async fn run(settings: Settings, output: Output, parts: Parts, serve: Serve) -> anyhow::Result<()> {
    let Serve { of, worker: sockets, clock: clock_us, http, deaths, takeover } = serve;
    die_with_parent();
    init_log(&settings);
    let clock = clock_us.map_or_else(Clock::anchored, Clock::ahead_by);
    let sockets = Sockets { sockets: aimg_media::inherited_sockets(&sockets)?, clock, takeover };
    let listener = http.map(inherited_listener).transpose()?;
    let store = open_store(&settings).await?;
    if let Some(weakness) = store.weakness().await? {
        tracing::warn!("{weakness}");
    }
    let node = settings.node.clone().map_or_else(|| crate::node::name(&settings.data_dir), Ok)?;
    let speech = providers::build(&settings).logged();
    let config = Config {
        node: node.clone(),
        parts,
        tenants: named_tenants(&store, &of).await?,
        spool_dir: settings.spool_dir.clone(),
        recordings_dir: settings.recordings_dir.clone(),
        memory_dir: settings.memory_dir.clone(),
        disk_reserve_bytes: settings.disk_reserve_bytes,
        media: super::serve::media_config(&settings),
        ari_listen: settings.ari_listen.clone(),
        hook_timeout: settings.hook_timeout,
        media_hosts: settings.media_hosts.clone(),
        speech: speech.clone(),
        said: settings.speech.said.clone(),
        taps_max: settings.taps_max,
        pbxs_every: PBXS_EVERY,
        worker_deaths: deaths,
        drain_timeout: DRAIN_TIMEOUT,
    };
    let accounts = Accounts::new(store.clone(), Policy::default())?;
    let doctor = (&config).into();
    let gateway = Gateway::start(config, store.clone(), sockets, rand::random()).await?;
    let archive = Archive::new(node.clone(), &settings.recordings_dir, &settings.spool_dir);
    let courier = courier(&settings)?;
    let dispatcher = Dispatcher::start(dispatcher_config(&settings), store.clone(), courier.clone());
    let backend = aimg_api::Backend {
        monitor: gateway.monitor(),
        ears: gateway.ears(),
        control: gateway.control(),
        bus: gateway.bus(),
        store,
        accounts: accounts.clone(),
        archive,
        courier,
        deliveries: dispatcher.watch(),
        doctor,
        speech,
    };
    let start_http = |listener| aimg_api::Server::start(http_config(&settings), listener, backend);
    let http = listener.map(start_http).transpose()?;
    let set_up = match (&http, accounts.set_up_token().await?) {
        (Some(http), Some(token)) => Some(format!("http://{}/setup#{}", http.address(), token.expose_secret())),
        _ => None,
    };
    // Whoever reads that it is ready may stop it at once.
    let stop = stop_signal()?;
    if takeover {
        // Another process, another link.
        if let Some(link) = &set_up {
            output.print(&serde_json::json!({ "event": "set_up", "set_up": link }), |_| first_user_at(link))?;
        }
    } else {
        let ready = Ready {
            event: "ready",
            node: node.to_string(),
            audio: gateway.media_addresses(),
            http: http.as_ref().map(aimg_api::Server::address),
            database: settings.database.to_string(),
            set_up,
        };
        output.print(&ready, |r| {
            let audio = r.audio.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let http = r.http.map_or_else(|| "off".to_owned(), |address| format!("on http://{address}"));
            let running =
                format!("aimg is running: node {}, audio on {audio}, HTTP {http}, database {}", r.node, r.database);
            let first_user = r.set_up.as_deref().map(|link| format!("\n{}", first_user_at(link))).unwrap_or_default();
            running + &first_user
        })?;
    }
    tell_parent_that_it_is_up();
    let end = gateway.run(stop).await;
    if let Ok(Stop::HandOver) = end {
        std::process::exit(0);
    }
    if let Some(http) = http {
        http.stop().await;
    }
    dispatcher.stop().await;
    end?;
    Ok(())
}

/// What tells webhooks, and may not go everywhere.
fn courier(settings: &Settings) -> anyhow::Result<Courier> {
    let timeout = settings.webhooks.timeout;
    let config = aimg_outbound::Config { connect_timeout: timeout, timeout };
    Ok(Courier::new(aimg_outbound::Client::new(settings.webhooks.policy.clone(), config)?))
}

fn dispatcher_config(settings: &Settings) -> aimg_webhooks::Config {
    aimg_webhooks::Config {
        lease: 2 * settings.webhooks.timeout + LEASE_MARGIN,
        retention: settings.webhooks.retention,
        ..aimg_webhooks::Config::default()
    }
}

fn first_user_at(link: &str) -> String {
    format!("there is no user yet; make the first one at {link}")
}

/// Any byte says so. A parent that is gone does not need to know.
fn tell_parent_that_it_is_up() {
    let _ = rustix::io::write(std::io::stdin(), b"u");
}

/// The listener that the parent has left open under this number.
fn inherited_listener(fd: i32) -> anyhow::Result<TcpListener> {
    let [socket] = <[_; 1]>::try_from(aimg_media::inherited_sockets(&[fd])?).expect("one for one");
    Ok(TcpListener::from(OwnedFd::from(socket)))
}

fn http_config(settings: &Settings) -> aimg_api::Config {
    aimg_api::Config {
        allowed_hosts: settings.http.allowed_hosts.clone(),
        metrics_token: settings.http.metrics_token.clone(),
        trusted_proxies: settings.http.trusted_proxies.clone(),
        secure_cookies: settings.http.secure_cookies,
        address_requests_a_second: settings.http.address_requests_a_second,
        account_requests_a_second: settings.http.account_requests_a_second,
        ..aimg_api::Config::default()
    }
}

/// The parent holds the other end of standard input and never writes to it. When it is gone, nobody watches over this
/// process any more, and the next `aimg serve` must find the spool free.
fn die_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(1);
    });
}

fn stop_signal() -> anyhow::Result<impl Future<Output = Stop>> {
    let [mut terminate, mut interrupt, mut hangup] =
        [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?];
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {
                tracing::info!("handing over: captures stay as they are");
                return Stop::HandOver;
            }
        }
        tracing::info!("stopping: captures are taken down, their recordings finished");
        Stop::Drain
    })
}

/// Below a warning it tells what it sends and receives: the password of ARI, and the numbers of every call.
const QUIET: &str = "tungstenite=warn";

/// Logs go to standard error, so that standard output stays for programs.
pub(super) fn init_log(settings: &Settings) {
    let quiet = QUIET.parse().expect("it is a directive");
    let filter = EnvFilter::new(&settings.log.filter).add_directive(quiet);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log.format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}
