//! Connections: how many at once, how slow they may be, and how they end.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::Config;

/// After a failed accept, which is most often for want of file descriptors: they come back with time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the service has counted since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) accept_failures: AtomicU64,
    pub(crate) connection_failures: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) timeouts: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The place that a connection takes among the others. Each request has it in its extensions. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    taken: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    long_places: Arc<Semaphore>,
}

impl Seat {
    /// For an answer that lasts: takes a place among the long ones and gives the common one back, to whoever waits for it.
    /// False when there is none.
    pub(crate) fn lengthen(&self) -> bool {
        let Ok(place) = Arc::clone(&self.long_places).try_acquire_owned() else { return false };
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        true
    }

    fn leave(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Serves until told to stop; then no connection is taken any more, and requests under way have a while to end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: Config,
    counters: Arc<Counters>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let long_places = Arc::new(Semaphore::new(config.long_answers_max));
    let told = stop.clone();
    let mut stopped = pin!(async { drop(stop.wait_for(|stop| *stop).await) });
    loop {
        if places.available_permits() == 0 {
            count(&counters.full);
        }
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
            () = &mut stopped => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    count(&counters.accept_failures);
                    tracing::debug!(%error, "an HTTP connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut stopped => break,
        };
        count(&counters.accepted);
        count(&counters.open);
        // What is told as it happens comes in small pieces: with Nagle's algorithm one waits for the acknowledgement of the one
        // before, which a client that only listens delays by 40 ms.
        let _ = stream.set_nodelay(true);
        // Whoever does not read holds its place, and what it wanted to hear, for so long at most.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(config.unread_timeout));
        let seat = Seat { taken: Arc::new(Mutex::new(Some(place))), long_places: Arc::clone(&long_places) };
        let layers = (Extension(ConnectInfo(peer)), Extension(seat.clone()));
        let service = TowerToHyperService::new(router.clone().layer(layers));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.head_timeout)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let counters = Arc::clone(&counters);
        let mut told = told.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let end = tokio::select! {
                end = connection.as_mut() => end,
                () = async { drop(told.wait_for(|stop| *stop).await) } => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if end.is_err() {
                count(&counters.connection_failures);
            }
            counters.open.fetch_sub(1, Ordering::Relaxed);
            seat.leave();
        });
    }
    // Every place is free when every connection is closed.
    let all = |max| u32::try_from(max).unwrap_or(u32::MAX);
    let closed = async {
        let _ = places.acquire_many(all(config.connections_max)).await;
        let _ = long_places.acquire_many(all(config.long_answers_max)).await;
    };
    let _ = timeout(config.stop_timeout, closed).await;
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    /// How long anything may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// Short, and long enough that nothing that is awaited ends by it.
    const HEAD_TIMEOUT: Duration = Duration::from_millis(300);

    /// A service whose `/slow` answers when it is let go.
    struct Service {
        address: SocketAddr,
        counters: Arc<Counters>,
        stop: watch::Sender<bool>,
        asked: Arc<Notify>,
        go_on: Arc<Notify>,
        task: JoinHandle<()>,
    }

    impl Service {
        async fn start(config: Config) -> Self {
            let [asked, go_on] = [(); 2].map(|()| Arc::<Notify>::default());
            let notifies = (Arc::clone(&asked), Arc::clone(&go_on));
            let slow = move || async move {
                notifies.0.notify_one();
                notifies.1.notified().await;
                "slow"
            };
            let router = Router::new().route("/", get(async || "ok")).route("/slow", get(slow));
            Self { asked, go_on, ..Self::on(router, config).await }
        }

        async fn on(router: Router, config: Config) -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = watch::channel(false);
            let counters = Arc::<Counters>::default();
            let task = tokio::spawn(serve(listener, router, config, Arc::clone(&counters), stopped));
            Self { address, counters, stop, asked: Arc::default(), go_on: Arc::default(), task }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn asks(&self, path: &str) -> TcpStream {
            let mut stream = self.connect().await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }
    }

    /// All that comes until the other side closes; a reset is an end too.
    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        match timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection is closed") {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => String::from_utf8(bytes).unwrap(),
        }
    }

    async fn reaches(counter: &AtomicU64, count: u64) {
        let reached = async {
            while counter.load(Ordering::Relaxed) != count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{counter:?}, not {count}"));
    }

    #[tokio::test]
    async fn beyond_the_bound_a_connection_waits_until_another_one_ends() {
        let service = Service::start(Config { connections_max: 1, ..Config::default() }).await;
        let first = service.asks("/slow").await;
        service.asked.notified().await;
        let second = service.asks("/").await;
        let mut byte = [0];
        let nothing = timeout(Duration::from_millis(200), second.peek(&mut byte)).await;
        assert!(nothing.is_err(), "the second one is not served while the first one is open: {nothing:?}");
        let Counters { accepted, open, full, .. } = &*service.counters;
        assert_eq!([accepted, open, full].map(|c| c.load(Ordering::Relaxed)), [1, 1, 1]);
        service.go_on.notify_one();
        assert!(rest(first).await.ends_with("slow"));
        assert!(rest(second).await.ends_with("ok"));
        assert_eq!(accepted.load(Ordering::Relaxed), 2);
        reaches(open, 0).await;
    }

    #[tokio::test]
    async fn a_long_answer_leaves_its_place_to_others_and_ends_when_nobody_reads_it() {
        let endless = |Extension(seat): Extension<Seat>| async move {
            let piece = axum::body::Bytes::from_static(&[0; 64 << 10]);
            let pieces = futures_util::stream::repeat_with(move || Ok::<_, std::convert::Infallible>(piece.clone()));
            if seat.lengthen() { Ok(axum::body::Body::from_stream(pieces)) } else { Err("full") }
        };
        let config = Config {
            connections_max: 1,
            long_answers_max: 1,
            unread_timeout: Duration::from_millis(300),
            ..Config::default()
        };
        let router = Router::new().route("/", get(async || "ok")).route("/endless", get(endless));
        let service = Service::on(router, config).await;
        let mut unread = service.asks("/endless").await;
        unread.read_exact(&mut [0; 12]).await.unwrap();
        assert!(rest(service.asks("/").await).await.ends_with("ok"), "the only place is free");
        assert!(rest(service.asks("/endless").await).await.ends_with("full"));
        reaches(&service.counters.open, 0).await;
        drop(unread);
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_cut_off_and_counted() {
        let config = Config { connections_max: 1, head_timeout: HEAD_TIMEOUT, ..Config::default() };
        let service = Service::start(config).await;
        let began = Instant::now();
        let mut slow = service.connect().await;
        slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let (mut reader, mut writer) = slow.into_split();
        // A byte now and then is no reason to wait longer.
        let drip = tokio::spawn(async move {
            while writer.write_all(b"x").await.is_ok() {
                sleep(HEAD_TIMEOUT / 6).await
            }
        });
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("the connection is closed");
        assert!(began.elapsed() >= HEAD_TIMEOUT, "{:?}", began.elapsed());
        drip.abort();
        reaches(&service.counters.connection_failures, 1).await;
        assert!(rest(service.asks("/").await).await.ends_with("ok"), "its place is free");
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let service = Service::start(Config { head_timeout: HEAD_TIMEOUT, ..Config::default() }).await;
        assert_eq!(rest(service.connect().await).await, "");
        reaches(&service.counters.open, 0).await;
    }

    #[tokio::test]
    async fn a_stop_answers_what_is_under_way_and_takes_nothing_more() {
        let service =
            Service::start(Config { stop_timeout: PATIENCE, head_timeout: 2 * PATIENCE, ..Config::default() }).await;
        let under_way = service.asks("/slow").await;
        service.asked.notified().await;
        let idle = service.connect().await;
        reaches(&service.counters.accepted, 2).await;
        service.stop.send_replace(true);
        assert_eq!(rest(idle).await, "", "who asks nothing is not waited for");
        assert!(!service.task.is_finished(), "the request under way is waited for");
        service.go_on.notify_one();
        assert!(rest(under_way).await.ends_with("slow"));
        timeout(PATIENCE, service.task).await.expect("it stops").unwrap();
        assert!(TcpStream::connect(service.address).await.is_err(), "nobody listens");
    }

    #[tokio::test]
    async fn a_stop_waits_no_longer_than_it_may() {
        let service = Service::start(Config { stop_timeout: Duration::from_millis(50), ..Config::default() }).await;
        let _under_way = service.asks("/slow").await;
        service.asked.notified().await;
        service.stop.send_replace(true);
        timeout(PATIENCE, service.task).await.expect("it stops").unwrap();
    }
}
