//! Somebody who is told things: an HTTP server on loopback that answers as a test wants it to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::fixture::{DEADLINE, eventually};

/// What it does with a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// Answers with this status.
    Status(u16),
    /// Answers 500 to so many messages, and 204 to those that follow.
    FailsFirst(usize),
    /// Never answers.
    Hangs,
    /// Answers 200, and a body that never ends.
    Endless,
    /// Says that it is elsewhere.
    Redirects,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

#[derive(Clone)]
struct Desk {
    manner: Arc<Mutex<Manner>>,
    received: Arc<Mutex<Vec<Received>>>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    desk: Desk,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Desk { manner: Arc::new(Mutex::new(manner)), received: Arc::default() };
        let router = Router::new().fallback(any(receive)).with_state(desk.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, desk, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn behaves(&self, manner: Manner) {
        *self.desk.manner.lock().unwrap() = manner;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.desk.received.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.received().iter().map(|r| r.id().to_owned()).collect()
    }

    /// Waits until it was told so many things.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually(DEADLINE, async || {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(desk): State<Desk>, uri: axum::http::Uri, headers: HeaderMap, body: Bytes) -> Response {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let received = Received {
        at: Instant::now(),
        path: uri.path().to_owned(),
        headers: headers.collect(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let before = {
        let mut all = desk.received.lock().unwrap();
        all.push(received);
        all.len() - 1
    };
    let manner = *desk.manner.lock().unwrap();
    match manner {
        Manner::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Manner::FailsFirst(count) if before < count => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Manner::FailsFirst(_) => StatusCode::NO_CONTENT.into_response(),
        Manner::Hangs => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            StatusCode::OK.into_response()
        }
        Manner::Endless => {
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 1_024]));
            Body::from_stream(chunks).into_response()
        }
        Manner::Redirects => (StatusCode::FOUND, [(LOCATION, "/elsewhere")]).into_response(),
    }
}
