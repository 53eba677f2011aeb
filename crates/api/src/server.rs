//! The HTTP service as a whole: its routes, what holds for all of them, its start and its end.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;

use aimg_gateway::Monitor;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connections::{self, Counters, count};
use crate::{Config, Error, access, health, metrics};

/// What requests are answered from.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) config: Arc<Config>,
    pub(crate) monitor: Monitor,
    pub(crate) counters: Arc<Counters>,
}

/// Takes a TCP port for HTTP. Whoever holds the listener may outlive the process that serves on it.
pub fn bind(address: SocketAddr) -> Result<StdTcpListener, Error> {
    StdTcpListener::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortInUse { address },
        _ => Error::Bind { address, source },
    })
}

/// The running service. Dropping it ends it at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts to serve on a listener of [`bind`], within a tokio runtime.
    pub fn start(config: Config, listener: StdTcpListener, monitor: Monitor) -> Result<Self, Error> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let counters = Arc::<Counters>::default();
        let desk = Desk { config: Arc::new(config.clone()), monitor, counters: Arc::clone(&counters) };
        let task = tokio::spawn(connections::serve(listener, router(desk), config, counters, stopped));
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and returns when requests under way are answered or their time is over.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(desk.config.body_bytes_max))
        .layer(from_fn_with_state(desk.clone(), bounded))
        .with_state(desk)
}

/// What holds for every request: a name that is ours, and an answer in time.
async fn bounded(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    count(&desk.counters.requests);
    if !access::is_host_allowed(&desk.config.allowed_hosts, request.uri(), request.headers()) {
        count(&desk.counters.refused);
        let why = "this service is not to be addressed by this host name: add it to ALLOWED_HOSTS\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    if let Ok(response) = timeout(desk.config.request_timeout, next.run(request)).await {
        return response;
    }
    count(&desk.counters.timeouts);
    (StatusCode::SERVICE_UNAVAILABLE, "the answer took too long\n").into_response()
}
