//! Keeps the event stream of one application alive: connect or be connected to, read the PBX's state, pass events on, start over.
//!
//! The reader never waits for the events' consumer, because Asterisk disconnects a client that it cannot write to for
//! 100 ms. A consumer that falls behind by a full queue costs the connection; the state is then read anew, so that it learns
//! of everything that it missed.

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::client::Notice;
use crate::config::Config;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::http::Http;
use crate::listener::Arrivals;
use crate::request;
use crate::socket::EventSocket;
use aimg_core::Backoff;

/// How often the warm connections are used, so that they do not idle out of the pool.
const WARM_INTERVAL: Duration = Duration::from_secs(5);

/// How long Asterisk may take to connect to us before it is told that it does not.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(10);

/// The task behind a [`Client`](crate::Client). It ends when every client or the consumer of events is gone.
pub(crate) struct Stream {
    pub(crate) config: Config,
    pub(crate) http: Http,
    pub(crate) origin: Origin,
    pub(crate) notices: mpsc::Sender<Notice>,
    /// Changes when the application is to be taken back; closes when every client is gone.
    pub(crate) reclaims: watch::Receiver<u64>,
}

/// Who opens the connection.
pub(crate) enum Origin {
    /// We do.
    Ours,
    /// Asterisk does.
    Theirs(Arrivals),
}

impl Origin {
    /// Waits until Asterisk has connected anew; for ever where we connect.
    async fn renewed(&self) {
        match self {
            Self::Ours => std::future::pending().await,
            Self::Theirs(arrivals) => arrivals.arrived().await,
        }
    }
}

/// Why a stream ended.
enum End {
    /// Nobody is interested any more.
    Abandoned,
    /// Another program has the application.
    Replaced,
    /// It failed, or could not be opened.
    Lost(Error),
}

impl Stream {
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.backoff_base, self.config.backoff_max);
        loop {
            let opened_at = Instant::now();
            let (notice, delay) = match self.live().await {
                End::Abandoned => return,
                End::Replaced => {
                    self.http.counters().streams_replaced.add();
                    // What was asked before the notice is out is no answer to it.
                    self.reclaims.mark_unchanged();
                    let error = Error::Replaced { host: self.config.host(), app: self.config.app.clone() };
                    (Notice::Replaced { error }, None)
                }
                End::Lost(error) => {
                    self.http.counters().streams_lost.add();
                    if opened_at.elapsed() >= self.config.backoff_max {
                        backoff.reset();
                    }
                    let mut delay = backoff.failed(rand::random());
                    if matches!(error, Error::Denied { .. }) {
                        // Wrong credentials do not get better quickly, and quick repetition looks like an attack.
                        delay = self.config.backoff_max;
                    }
                    (Notice::Down { error, retry_in: delay }, Some(delay))
                }
            };
            let mut gone = self.reclaims.clone();
            let told = tokio::select! {
                sent = self.notices.send(notice) => sent.is_ok(),
                () = clients_gone(&mut gone) => false,
            };
            let go_on = told
                && match delay {
                    Some(delay) => self.pause(delay).await,
                    None => self.reclaimed().await,
                };
            if !go_on {
                return;
            }
        }
    }

    /// Waits; false when nobody is interested any more.
    async fn pause(&mut self, delay: Duration) -> bool {
        tokio::select! {
            () = sleep(delay) => true,
            () = self.origin.renewed() => true,
            () = self.notices.closed() => false,
            () = clients_gone(&mut self.reclaims) => false,
        }
    }

    /// Waits until the application is to be taken back; false when nobody is interested any more.
    async fn reclaimed(&mut self) -> bool {
        tokio::select! {
            changed = self.reclaims.changed() => changed.is_ok(),
            () = self.notices.closed() => false,
        }
    }

    /// One life of the stream, from connecting to its end.
    async fn live(&mut self) -> End {
        let mut gone = self.reclaims.clone();
        let notices = self.notices.clone();
        let mut socket = tokio::select! {
            socket = self.open() => match socket {
                Ok(socket) => socket,
                Err(error) => return End::Lost(error),
            },
            () = notices.closed() => return End::Abandoned,
            () = clients_gone(&mut gone) => return End::Abandoned,
        };
        let end = tokio::select! {
            end = self.pass_on(&mut socket) => end,
            () = notices.closed() => End::Abandoned,
            () = clients_gone(&mut gone) => End::Abandoned,
        };
        socket.close().await;
        end
    }

    async fn open(&self) -> Result<EventSocket, Error> {
        let Origin::Theirs(arrivals) = &self.origin else {
            return EventSocket::open(&self.config, &self.http).await;
        };
        match timeout(ARRIVAL_TIME_MAX, arrivals.next()).await {
            Ok(arrived) => Ok(EventSocket::over(arrived, &self.config, &self.http)),
            Err(_) => Err(self.lost(format!(
                "Asterisk has not connected to {} here for {} s: check its websocket_client.conf (uri, username, password, \
                 protocols = ari) and ari.conf (type = outbound_websocket), and `ari show outbound-websockets` there",
                arrivals.path(),
                ARRIVAL_TIME_MAX.as_secs()
            ))),
        }
    }

    fn lost(&self, reason: String) -> Error {
        Error::StreamLost { host: self.config.host(), reason }
    }

    async fn pass_on(&self, socket: &mut EventSocket) -> End {
        match self.resynchronise(socket).await {
            Ok(()) => {}
            Err(end) => return end,
        }
        let mut warm = interval_at(Instant::now() + WARM_INTERVAL, WARM_INTERVAL);
        warm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = socket.next() => {
                    if let Err(end) = admitted(event).and_then(|event| self.offer(event)) {
                        return end;
                    }
                }
                _ = warm.tick() => self.keep_warm(),
                () = self.origin.renewed() => {
                    return End::Lost(self.lost("Asterisk connected anew".to_owned()));
                }
            }
        }
    }

    /// Reads the state of the PBX while events arrive already, and hands the state out before them: an event is newer than
    /// the state, or repeats what it says.
    async fn resynchronise(&self, socket: &mut EventSocket) -> Result<(), End> {
        let state = async {
            let state = self.state().await.map_err(End::Lost)?;
            let place = self.notices.reserve().await.map_err(|_| End::Abandoned)?;
            Ok((state, place))
        };
        tokio::pin!(state);
        let mut early = Vec::new();
        let (state, place) = loop {
            tokio::select! {
                state = &mut state => break state?,
                event = socket.next() => {
                    if early.len() >= self.config.events_max {
                        return Err(self.overflow());
                    }
                    early.push(admitted(event)?);
                }
            }
        };
        self.http.counters().streams_up.add();
        place.send(state);
        early.into_iter().try_for_each(|event| self.offer(event))
    }

    async fn state(&self) -> Result<Notice, Error> {
        let resubscribed = async {
            if !self.config.subscribe_all {
                return Ok(());
            }
            // `subscribeAll` has no effect on an application that still exists from before.
            let everything = ["channel:", "bridge:", "endpoint:"];
            self.http.call(request::applications::subscribe(&self.config.app, &everything)).await.map(|_| ())
        };
        let (channels, bridges, (), ()) = tokio::try_join!(
            self.http.call(request::channels::list()),
            self.http.call(request::bridges::list()),
            resubscribed,
            async {
                self.http.warm(self.config.connections_warm).await;
                Ok(())
            },
        )?;
        Ok(Notice::Up { channels, bridges })
    }

    fn offer(&self, event: Event) -> Result<(), End> {
        match self.notices.try_send(Notice::Event(event)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(End::Abandoned),
            Err(TrySendError::Full(_)) => Err(self.overflow()),
        }
    }

    fn overflow(&self) -> End {
        self.http.counters().streams_overflowed.add();
        End::Lost(Error::StreamOverflow { host: self.config.host(), events_max: self.config.events_max })
    }

    /// In a task of its own, so that the reader does not wait for the answers.
    fn keep_warm(&self) {
        let http = self.http.clone();
        let connections = self.config.connections_warm;
        tokio::spawn(async move { timeout(WARM_INTERVAL, http.warm(connections)).await });
    }
}

fn admitted(event: Result<Event, Error>) -> Result<Event, End> {
    match event {
        Ok(Event { kind: EventKind::ApplicationReplaced, .. }) => Err(End::Replaced),
        Ok(event) => Ok(event),
        Err(error) => Err(End::Lost(error)),
    }
}

/// Waits until every client is gone. Reclaims in between mean nothing: there is nothing to take back.
async fn clients_gone(reclaims: &mut watch::Receiver<u64>) {
    while reclaims.changed().await.is_ok() {}
}
