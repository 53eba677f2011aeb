//! The HTTP service as a whole: its routes, what holds for all of them, its start and its end.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;

use aimg_accounts::Accounts;
use aimg_cluster::Bus;
use aimg_gateway::{Control, Ears, Monitor, doctor};
use aimg_recording::Archive;
use aimg_speech::Providers;
use aimg_store::Store;
use aimg_webhooks::Courier;
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
use crate::examinations::Examinations;
use crate::limits::{self, Limits};
use crate::problem::{Code, Problem, no_such_method, no_such_path};
use crate::websocket::limits::Sockets;
use crate::{Config, Error, access, document, health, metrics, setup_page, websocket};

/// What stands behind the service. Clones share everything.
#[derive(Clone)]
pub struct Backend {
    /// What the gateway does.
    pub monitor: Monitor,
    /// What is said in calls, as it is said.
    pub ears: Ears,
    /// What happens, as it happens.
    pub bus: Bus,
    /// What does things with its calls.
    pub control: Control,
    /// What is stored.
    pub store: Store,
    /// Who may log in.
    pub accounts: Accounts,
    /// The recordings on this node's disk.
    pub archive: Archive,
    /// What webhooks are tried with.
    pub courier: Courier,
    /// How webhooks are told what happens.
    pub deliveries: aimg_webhooks::Watch,
    /// What the doctor looks with.
    pub doctor: doctor::Config,
    /// Who recognises speech and who speaks.
    pub speech: Providers,
}

/// What requests are answered from.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) config: Arc<Config>,
    pub(crate) monitor: Monitor,
    pub(crate) ears: Ears,
    pub(crate) bus: Bus,
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) accounts: Accounts,
    pub(crate) archive: Archive,
    pub(crate) courier: Courier,
    pub(crate) deliveries: aimg_webhooks::Watch,
    pub(crate) doctor: Arc<doctor::Config>,
    pub(crate) speech: Providers,
    pub(crate) examinations: Examinations,
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) sockets: Arc<Sockets>,
    /// Becomes true when the service stops.
    pub(crate) stopped: watch::Receiver<bool>,
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
    pub fn start(config: Config, listener: StdTcpListener, backend: Backend) -> Result<Self, Error> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let counters = Arc::<Counters>::default();
        let Backend { monitor, ears, control, bus, store, accounts, archive, courier, deliveries, doctor, speech } =
            backend;
        let limits = Arc::new(Limits::new(&config));
        let counters_shown = Arc::clone(&counters);
        let desk = Desk {
            config: Arc::new(config.clone()),
            monitor,
            ears,
            bus,
            control,
            store,
            accounts,
            archive,
            courier,
            deliveries,
            doctor: Arc::new(doctor),
            speech,
            examinations: Examinations::default(),
            counters: counters_shown,
            limits,
            sockets: Arc::default(),
            stopped: stopped.clone(),
        };
        tokio::spawn(limits::follow_quotas(Arc::clone(&desk.limits), desk.store.clone(), stopped.clone()));
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
    let (operations, document) = document::operations();
    operations
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/setup", get(setup_page::setup_page))
        .route("/api/v1/ws", get(websocket::open))
        .route("/api/v1/asyncapi.json", get(websocket::asyncapi::asyncapi))
        .merge(document::pages(document))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(desk.config.body_bytes_max))
        .layer(from_fn_with_state(desk.clone(), bounded))
        .with_state(desk)
}

/// What holds for every request: a name that is ours, and an answer in time.
async fn bounded(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    count(&desk.counters.requests);
    if !access::is_host_allowed(&desk.config.allowed_hosts, request.uri(), request.headers()) {
        count(&desk.counters.refused);
        let why = "this service is not to be addressed by this host name: add it to ALLOWED_HOSTS\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    request.extensions_mut().insert(Arc::new(desk.clone()));
    if let Ok(response) = timeout(desk.config.request_timeout, next.run(request)).await {
        return response;
    }
    count(&desk.counters.timeouts);
    Problem::new(Code::Timeout, "the answer took too long").into_response()
}
