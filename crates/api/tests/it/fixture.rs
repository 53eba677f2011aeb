//! What the tests begin with: a running service with two tenants, and an account of each role in both.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::Path;

use aimg_accounts::{Accounts, Policy};
use aimg_api::{Backend, Server};
use aimg_cluster::Bus;
use aimg_core::{DataKey, Role, TenantId, TenantScope};
use aimg_gateway::{Config, Control, Ears, Gateway, Monitor, Parts, SaidDir, Sockets, Stop, doctor};
use aimg_media::Clock;
use aimg_outbound::{Client, Policy as Reach};
use aimg_recording::Archive;
use aimg_store::Store;
use aimg_webhooks::{Courier, Dispatcher};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Every account's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A running service. Its gateway has no PBX and stops with it.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) accounts: Accounts,
    pub(crate) bus: Bus,
    /// The two tenants, `acme` and `other`.
    pub(crate) tenants: [TenantId; 2],
    http: reqwest::Client,
    server: Server,
    _dispatcher: Dispatcher,
    stop: Option<oneshot::Sender<()>>,
    gateway: Option<JoinHandle<()>>,
    /// Where its database, spools and recordings are.
    pub(crate) dir: TempDir,
}

impl Service {
    /// On a SQLite file of its own.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = aimg_store::Config::sqlite(dir.path().join("aimg.db"));
        Self::on(place, dir, |config| config).await
    }

    /// With settings of its own.
    pub(crate) async fn with(change: impl FnOnce(aimg_api::Config) -> aimg_api::Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = aimg_store::Config::sqlite(dir.path().join("aimg.db"));
        Self::on(place, dir, change).await
    }

    /// On any database.
    pub(crate) async fn on(
        place: aimg_store::Config,
        dir: TempDir,
        change: impl FnOnce(aimg_api::Config) -> aimg_api::Config,
    ) -> Self {
        let store = Store::open(place, DataKey::derive(b"key")).await.unwrap();
        let accounts = Accounts::new(store.clone(), Policy::default()).unwrap();
        let (gateway, stop, (monitor, ears, control, bus), doctor) = run_gateway(dir.path(), &store).await;
        let mut tenants = Vec::new();
        for name in ["acme", "other"] {
            tenants.push(store.add_tenant(TenantScope::Operator, name, "all".into()).await.unwrap().id);
        }
        let tenants = <[TenantId; 2]>::try_from(tenants).unwrap();
        let many = NonZeroU32::new(100_000).unwrap();
        let config = aimg_api::Config {
            address_requests_a_second: many,
            account_requests_a_second: many,
            connections_max: 256,
            ..aimg_api::Config::default()
        };
        let listener = aimg_api::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let node = "test".parse().unwrap();
        let archive = Archive::new(node, dir.path().join("recordings"), dir.path().join("spool"));
        let courier = courier();
        // Webhooks wait until a test has them told.
        let idle = aimg_webhooks::Config { sending_max: 0, ..aimg_webhooks::Config::default() };
        let dispatcher = Dispatcher::start(idle, store.clone(), courier.clone());
        let backend = Backend {
            monitor,
            ears,
            control,
            bus: bus.clone(),
            store: store.clone(),
            accounts: accounts.clone(),
            archive,
            courier,
            deliveries: dispatcher.watch(),
            doctor,
            speech: aimg_speech::Providers::default(),
        };
        let server = Server::start(change(config), listener, backend).unwrap();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self {
            store,
            accounts,
            bus,
            tenants,
            http,
            server,
            _dispatcher: dispatcher,
            stop: Some(stop),
            gateway: Some(gateway),
            dir,
        }
    }

    /// An address of the service, such as `/healthz`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    /// A request without credentials.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// An account of a role, made and logged in. `of` is the tenant's place in [`Service::tenants`].
    pub(crate) async fn account(&self, role: Role, of: usize) -> Account<'_> {
        let tenant = (role != Role::SuperAdmin).then(|| self.tenants[of]);
        let name = format!("{role}-{of}-{}", uuid::Uuid::now_v7().simple());
        self.accounts.add_user(TenantScope::Operator, tenant, &name, role, PASSWORD.into()).await.unwrap();
        let answer = self.log_in(&name, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let tokens: Value = answer.json().await.unwrap();
        Account { service: self, name, token: tokens["access_token"].as_str().unwrap().to_owned(), tokens }
    }

    /// Logs in.
    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Response {
        let body = json!({ "name": name, "password": password });
        self.ask(Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap()
    }

    /// Stops everything and waits for it. Without it the service ends with the test's runtime.
    pub(crate) async fn end(mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(gateway) = self.gateway.take() {
            gateway.await.unwrap();
        }
        self.server.stop().await;
    }
}

/// Webhooks may be on this machine, without TLS.
pub(crate) fn courier() -> Courier {
    let reach = Reach { allowed: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true };
    let timeout = Duration::from_secs(10);
    Courier::new(Client::new(reach, aimg_outbound::Config { connect_timeout: timeout, timeout }).unwrap())
}

/// Somebody who is logged in.
pub(crate) struct Account<'a> {
    service: &'a Service,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) tokens: Value,
}

impl Account<'_> {
    /// A request with this account's token.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.service.ask(method, path).bearer_auth(&self.token)
    }

    /// Asks, and gives status and JSON (null where the body is empty).
    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.ask(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.unwrap()).await
    }

    /// Gets JSON.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.json(Method::GET, path, None).await
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.json(Method::POST, path, Some(body)).await
    }
}

/// Fails unless an answer is a refusal with this status and code; gives the field that it names.
#[track_caller]
pub(crate) fn refused((status, problem): (StatusCode, Value), expected: u16, code: &str) -> String {
    assert_eq!((status.as_u16(), problem["code"].as_str()), (expected, Some(code)), "{problem}");
    problem["field"].as_str().unwrap_or_default().to_owned()
}

/// Status and JSON of an answer.
pub(crate) async fn read(answer: Response) -> (StatusCode, Value) {
    let status = answer.status();
    let bytes = answer.bytes().await.unwrap();
    (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
}

/// A gateway on free ports, without PBXs.
async fn run_gateway(
    dir: &Path,
    store: &Store,
) -> (JoinHandle<()>, oneshot::Sender<()>, (Monitor, Ears, Control, Bus), doctor::Config) {
    let media = aimg_media::Config { port: 0, ..aimg_media::Config::default() };
    let sockets =
        Sockets { sockets: aimg_media::bind_ports(&media).unwrap(), clock: Clock::anchored(), takeover: false };
    let config = Config {
        node: "test".parse().unwrap(),
        parts: Parts::All,
        tenants: None,
        spool_dir: dir.join("spool"),
        recordings_dir: dir.join("recordings"),
        memory_dir: None,
        disk_reserve_bytes: 0,
        media,
        ari_listen: None,
        hook_timeout: Duration::from_secs(2),
        taps_max: 10,
        media_hosts: Vec::new(),
        said: SaidDir { path: dir.join("said"), seen_as: dir.join("said") },
        speech: aimg_speech::Providers::default(),
        pbxs_every: Duration::from_secs(60),
        worker_deaths: 0,
        drain_timeout: Duration::from_secs(1),
    };
    for part in ["spool", "recordings"] {
        std::fs::create_dir_all(dir.join(part)).unwrap();
    }
    let doctor = (&config).into();
    let gateway = Gateway::start(config, store.clone(), sockets, 1).await.unwrap();
    let parts = (gateway.monitor(), gateway.ears(), gateway.control(), gateway.bus());
    let (stop, stopped) = oneshot::channel::<()>();
    let run = gateway.run(async move {
        // A test that drops its service without more wants the same.
        let _ = stopped.await;
        Stop::Drain
    });
    (tokio::spawn(async move { run.await.map(drop).unwrap() }), stop, parts, doctor)
}
