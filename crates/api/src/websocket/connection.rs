//! One connection: a task that owns it, reads what the client says, and writes what happens.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aimg_accounts::Principal;
use aimg_cluster::{Published, Subscription};
use aimg_core::{TenantId, TenantScope};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio::time::{interval_at, timeout};
use tokio_tungstenite::tungstenite;

use super::audio::{Audio, Said};
use super::commands::{Commands, Order};
use super::limits::{End, Place};
use super::message::{
    AudioEnded, ClientMessage, CommandMessage, Lagged, OriginateMessage, Refusal, Resume, Resumed, Resync,
    ServerMessage, Subscribe, Topics, Unsubscribe, Welcome,
};
use super::topic::{Subscribed, Topic};
use crate::clock::now;
use crate::connections::count;
use crate::problem::{Code, Problem};
use crate::server::Desk;

/// Times that a client is skipped ahead, each within [`LAG_FORGIVEN`] of the one before, until it is closed.
const LAGS_MAX: u32 = 3;
/// A client that was not skipped ahead for so long begins anew.
const LAG_FORGIVEN: Duration = Duration::from_secs(60);
/// While nobody can say whether an account is still good, it is taken to be for so long.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(300);
/// How long the client's word of the close is waited for.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// A client may say so many seconds' worth at once.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::new(4).expect("not zero");
/// Characters of an id that a client gives to its message.
const ID_CHARS_MAX: usize = 64;

/// What a client showed.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// An access token or API key that it sent.
    Shown(SecretString),
    /// The access token of a browser's cookie.
    Cookie(SecretString),
}

impl Credential {
    /// Who that is, at this moment.
    pub(crate) async fn check(&self, desk: &Desk) -> Result<Principal, aimg_accounts::Error> {
        match self {
            Self::Shown(token) => desk.accounts.authenticate(token, now()).await,
            Self::Cookie(token) => desk.accounts.authenticate_cookie(token, None, false, now()).await,
        }
    }
}

/// Who a client is.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) principal: Principal,
    pub(crate) credential: Credential,
}

/// Serves a connection to its end. One without an account has to say who it is first.
pub(crate) async fn serve(
    desk: Arc<Desk>,
    mut socket: WebSocket,
    account: Option<Account>,
    address: IpAddr,
    mut place: Place,
) {
    let end = match admit(&desk, &mut socket, account, address, &mut place).await {
        Ok(account) => Connection::new(Arc::clone(&desk), account, address).converse(&mut socket).await,
        Err(end) => end,
    };
    desk.sockets.ended(end);
    if let Some((code, reason)) = end.close() {
        let _ = timeout(CLOSE_TIME_MAX, async {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            if socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        })
        .await;
    }
}

async fn admit(
    desk: &Desk,
    socket: &mut WebSocket,
    account: Option<Account>,
    address: IpAddr,
    place: &mut Place,
) -> Result<Account, End> {
    if let Some(account) = account {
        return Ok(account);
    }
    let first = timeout(desk.config.websockets.authenticate_timeout, first_text(socket)).await;
    let text = first.map_err(|_| End::NotAuthenticated)??;
    count(&desk.sockets.received);
    desk.limits.stranger(address).map_err(|_| End::Talkative)?;
    let Ok(ClientMessage::Authenticate(message)) = serde_json::from_str(&text) else {
        return Err(End::NotAuthenticated);
    };
    let credential = Credential::Shown(message.token);
    let principal = credential.check(desk).await.map_err(|_| End::NotAuthenticated)?;
    place.of(&principal, desk.config.websockets.account_sockets_max)?;
    Ok(Account { principal, credential })
}

async fn first_text(socket: &mut WebSocket) -> Result<Utf8Bytes, End> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            received => return text_of(received),
        }
    }
}

/// The text of a message that is one.
fn text_of(received: Option<Result<Message, axum::Error>>) -> Result<Utf8Bytes, End> {
    match received {
        Some(Ok(Message::Text(text))) => Ok(text),
        Some(Ok(Message::Close(_))) | None => Err(End::Left),
        Some(Ok(_)) => Err(End::NoText),
        Some(Err(error)) => match error.into_inner().downcast_ref() {
            Some(tungstenite::Error::Capacity(_)) => Err(End::Oversized),
            _ => Err(End::Cut),
        },
    }
}

/// A connection of somebody who is let in.
struct Connection {
    desk: Arc<Desk>,
    account: Account,
    address: IpAddr,
    /// When the account was last found to be good.
    confirmed_at: Instant,
    topics: Vec<Subscribed>,
    audio: Audio,
    commands: Commands,
    subscription: Subscription,
    /// It goes on where the client said, and not where its first topic finds it.
    is_resumed: bool,
    /// What is being sent. Kept, so that it is not made anew for each beat.
    taken: Vec<Arc<Published>>,
    budget: DefaultDirectRateLimiter,
    heard_at: Instant,
    lags: u32,
    lagged_at: Option<Instant>,
}

impl Connection {
    fn new(desk: Arc<Desk>, account: Account, address: IpAddr) -> Self {
        let a_second = desk.config.websockets.messages_a_second;
        Self {
            subscription: desk.bus.subscribe(account.principal.scope()),
            account,
            address,
            confirmed_at: Instant::now(),
            topics: Vec::new(),
            audio: Audio::default(),
            commands: Commands::default(),
            is_resumed: false,
            taken: Vec::new(),
            budget: RateLimiter::direct(
                Quota::per_second(a_second).allow_burst(a_second.saturating_mul(BURST_SECONDS)),
            ),
            heard_at: Instant::now(),
            lags: 0,
            lagged_at: None,
            desk,
        }
    }

    async fn converse(mut self, socket: &mut WebSocket) -> End {
        let settings = &self.desk.config.websockets;
        let (ping_every, check_every) = (settings.ping_every, settings.check_every);
        let begin = tokio::time::Instant::now();
        let mut ping = interval_at(begin + ping_every, ping_every);
        let mut check = interval_at(begin + check_every, check_every);
        let mut checking: Option<JoinHandle<_>> = None;
        let mut stopped = self.desk.stopped.clone();
        let mut stopped = std::pin::pin!(async { drop(stopped.wait_for(|stop| *stop).await) });
        if let Err(end) = self.tell(socket, &[self.welcome()]).await {
            return end;
        }
        loop {
            // In this order: who is flooded with news is heard all the same.
            let done = tokio::select! {
                biased;
                () = &mut stopped => Err(End::Stopped),
                received = socket.recv() => self.received(socket, received).await,
                _ = ping.tick() => self.ping(socket).await,
                _ = check.tick(), if checking.is_none() => {
                    let (desk, credential) = (Arc::clone(&self.desk), self.account.credential.clone());
                    checking = Some(tokio::spawn(async move { credential.check(&desk).await }));
                    Ok(())
                }
                checked = async { checking.as_mut().expect("it is looked for").await }, if checking.is_some() => {
                    checking = None;
                    self.checked(checked.ok())
                }
                answer = self.commands.answer() => self.tell(socket, &[answer]).await,
                said = self.audio.said.recv() => self.say(socket, said).await,
                () = self.subscription.ready(), if !self.topics.is_empty() => self.deliver(socket).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Sends what is there of the client's topics.
    async fn deliver(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let Self { subscription, topics, taken, .. } = self;
        let missed = subscription.take(|notice| topics.iter().any(|topic| topic.wants(notice)), taken);
        if missed > 0 {
            return self.lagged(socket, missed).await;
        }
        if self.taken.is_empty() {
            return Ok(());
        }
        self.desk.sockets.sent.fetch_add(self.taken.len() as u64, Ordering::Relaxed);
        let taken = &mut self.taken;
        let send = async {
            for published in taken.drain(..) {
                let form = published.form(ServerMessage::bytes_of).clone();
                let text = Utf8Bytes::try_from(form).map_err(|_| End::Cut)?;
                socket.feed(Message::Text(text)).await.map_err(|_| End::Cut)?;
            }
            socket.flush().await.map_err(|_| End::Cut)
        };
        timeout(self.desk.config.websockets.send_timeout, send).await.unwrap_or(Err(End::Slow))
    }

    /// Hands on what is heard of a call.
    async fn say(&mut self, socket: &mut WebSocket, said: Option<Said>) -> Result<(), End> {
        match said {
            Some(Said::Frame(bytes)) => {
                count(&self.desk.sockets.sent);
                let sent = timeout(self.desk.config.websockets.send_timeout, socket.send(Message::Binary(bytes))).await;
                sent.map_or(Err(End::Slow), |sent| sent.map_err(|_| End::Cut))
            }
            Some(Said::Ended(session)) => {
                self.topics.retain(|subscribed| subscribed.topic.audio_session() != Some(session));
                self.audio.retain(|other| other != session);
                let ended = AudioEnded { session: session.as_uuid() };
                self.tell(socket, &[ServerMessage::AudioEnded(ended)]).await
            }
            None => Ok(()),
        }
    }

    async fn lagged(&mut self, socket: &mut WebSocket, missed: u64) -> Result<(), End> {
        count(&self.desk.sockets.lagged);
        let is_forgiven = self.lagged_at.replace(Instant::now()).is_none_or(|at| at.elapsed() >= LAG_FORGIVEN);
        self.lags = if is_forgiven { 1 } else { self.lags + 1 };
        self.tell(socket, &[ServerMessage::Lagged(Lagged { missed, seq: self.subscription.seq() })]).await?;
        if self.lags > LAGS_MAX { Err(End::Slow) } else { Ok(()) }
    }

    async fn tell(&self, socket: &mut WebSocket, messages: &[ServerMessage]) -> Result<(), End> {
        self.desk.sockets.sent.fetch_add(messages.len() as u64, Ordering::Relaxed);
        let send = async {
            for message in messages {
                socket.feed(Message::Text(message.text().into())).await.map_err(|_| End::Cut)?;
            }
            socket.flush().await.map_err(|_| End::Cut)
        };
        timeout(self.desk.config.websockets.send_timeout, send).await.unwrap_or(Err(End::Slow))
    }

    async fn ping(&self, socket: &mut WebSocket) -> Result<(), End> {
        if self.heard_at.elapsed() > self.desk.config.websockets.silence_max {
            return Err(End::Silent);
        }
        let ping = socket.send(Message::Ping(axum::body::Bytes::new()));
        let sent = timeout(self.desk.config.websockets.send_timeout, ping).await;
        sent.map_or(Err(End::Slow), |sent| sent.map_err(|_| End::Cut))
    }

    /// Whether the account is still good. While nobody can tell, it is for a while.
    fn checked(&mut self, checked: Option<Result<Principal, aimg_accounts::Error>>) -> Result<(), End> {
        match checked {
            Some(Ok(principal)) => {
                self.confirmed_at = Instant::now();
                self.account.principal = principal;
                Ok(())
            }
            Some(Err(aimg_accounts::Error::NotValid)) => Err(End::NotAuthenticated),
            Some(Err(_)) | None if self.confirmed_at.elapsed() < UNCONFIRMED_MAX => Ok(()),
            Some(Err(_)) | None => Err(End::NotAuthenticated),
        }
    }

    async fn received(
        &mut self,
        socket: &mut WebSocket,
        received: Option<Result<Message, axum::Error>>,
    ) -> Result<(), End> {
        self.heard_at = Instant::now();
        self.budget.check().map_err(|_| End::Talkative)?;
        if matches!(received, Some(Ok(Message::Ping(_) | Message::Pong(_)))) {
            return Ok(());
        }
        let text = text_of(received)?;
        count(&self.desk.sockets.received);
        let answer = match serde_json::from_str(&text) {
            Ok(ClientMessage::Authenticate(message)) => self.renewed(Credential::Shown(message.token)).await,
            Ok(ClientMessage::Subscribe(message)) => self.subscribed(message).await,
            Ok(ClientMessage::Unsubscribe(message)) => self.unsubscribed(message),
            Ok(ClientMessage::Resume(message)) => self.resumed(message),
            Ok(ClientMessage::Command(CommandMessage { id, session, command })) => {
                let Err(refusal) = self.ordered(id, Order::Command(session, command)) else { return Ok(()) };
                Err(refusal)
            }
            Ok(ClientMessage::Originate(OriginateMessage { id, call })) => {
                let Err(refusal) = self.ordered(id, Order::Originate(call)) else { return Ok(()) };
                Err(refusal)
            }
            Err(error) => {
                Err(refusal(None, Problem::new(Code::Invalid, format!("the message is not understood: {error}"))))
            }
        };
        self.tell(socket, &[answer.unwrap_or_else(|refusal| ServerMessage::Error(*refusal))]).await
    }

    fn welcome(&self) -> ServerMessage {
        ServerMessage::Welcome(Welcome {
            epoch: self.desk.bus.epoch(),
            seq: self.subscription.seq(),
            name: self.account.principal.name.clone(),
            tenant: self.account.principal.tenant.map(|tenant| tenant.as_uuid()),
        })
    }

    /// Takes a newer token of the same account, so that a connection outlives its first one.
    async fn renewed(&mut self, credential: Credential) -> Answer {
        let principal = credential.check(&self.desk).await.map_err(|e| refusal(None, e.into()))?;
        if principal.who != self.account.principal.who {
            let why = "this is another account's; open another connection for it";
            return Err(refusal(None, Problem::invalid("token", why)));
        }
        self.account = Account { principal, credential };
        self.confirmed_at = Instant::now();
        Ok(self.welcome())
    }

    async fn subscribed(&mut self, Subscribe { id, topics, tenant }: Subscribe) -> Answer {
        let id = checked_id(id)?;
        let refused = |problem| refusal(id.clone(), problem);
        let named = tenant.map(TenantId::from_uuid);
        let own = self.account.principal.tenant;
        if let (Some(named), Some(own)) = (named, own)
            && named != own
        {
            return Err(refused(Problem::not_found("tenant", named).at("tenant")));
        }
        if topics.is_empty() {
            return Err(refused(Problem::invalid("topics", "name at least one topic")));
        }
        // An account of a tenant hears nothing of another one anyway.
        let tenant = if own.is_some() { None } else { named };
        let mut added = Vec::new();
        for (n, text) in topics.iter().enumerate() {
            let at = |problem: Problem| refused(problem.at(format!("topics.{n}")));
            let topic: Topic = text.parse().map_err(|e| at(Problem::new(Code::Invalid, e)))?;
            self.account.principal.require(topic.kind().permission()).map_err(|e| at(e.into()))?;
            let subscribed = Subscribed { topic, tenant };
            if !self.topics.contains(&subscribed) && !added.contains(&subscribed) {
                added.push(subscribed);
            }
        }
        let topics_max = self.desk.config.websockets.topics_max;
        if self.topics.len() + added.len() > topics_max {
            let why = format!("a connection has {topics_max} topics at most; unsubscribe from some");
            return Err(refused(Problem::invalid("topics", why)));
        }
        let scope = named.map_or(self.account.principal.scope(), TenantScope::Tenant);
        let mut feeds = Vec::new();
        for Subscribed { topic, .. } in &added {
            let Topic::Audio(session, spec) = topic else { continue };
            let of_session = |other: &&Subscribed| other.topic.audio_session() == Some(*session);
            if self.topics.iter().chain(&added).filter(of_session).count() > 1 {
                let why = "a connection has one audio topic of a session; unsubscribe from the other one";
                return Err(refused(Problem::invalid("topics", why)));
            }
            let feed = self.audio.listen(&self.desk.ears, scope, *session, *spec).await;
            feeds.push(feed.map_err(|e| refused(Problem::from(e).at("topics")))?);
        }
        self.audio.keep(feeds);
        if self.topics.is_empty() && !self.is_resumed {
            self.subscription.skip_to_newest();
        }
        self.topics.append(&mut added);
        Ok(ServerMessage::Subscribed(self.all_topics(id)))
    }

    fn unsubscribed(&mut self, Unsubscribe { id, topics }: Unsubscribe) -> Answer {
        let id = checked_id(id)?;
        self.topics.retain(|subscribed| !topics.contains(&subscribed.topic.to_string()));
        let Self { audio, topics, .. } = self;
        audio.retain(|session| topics.iter().any(|other| other.topic.audio_session() == Some(session)));
        self.is_resumed = false;
        Ok(ServerMessage::Unsubscribed(self.all_topics(id)))
    }

    fn resumed(&mut self, Resume { id, after, epoch }: Resume) -> Answer {
        let id = checked_id(id)?;
        let own = self.desk.bus.epoch();
        // A number of another epoch is none of this one.
        if epoch == own
            && let Ok(missed) = self.subscription.resume_after(after)
        {
            self.is_resumed = true;
            return Ok(ServerMessage::Resumed(Resumed { id, after, missed }));
        }
        self.subscription.skip_to_newest();
        Ok(ServerMessage::Resync(Resync { id, epoch: own, seq: self.subscription.seq() }))
    }

    /// Has something done; its answer comes when it is.
    fn ordered(&mut self, id: String, order: Order) -> Result<(), Box<Refusal>> {
        let id = checked_id(Some(id))?.unwrap_or_default();
        // As a request would.
        let allowed = self.desk.limits.account(&self.account.principal);
        allowed
            .and_then(|()| self.commands.begin(&self.desk, &self.account, self.address, id.clone(), order))
            .map_err(|problem| refusal(Some(id), problem))
    }

    fn all_topics(&self, id: Option<String>) -> Topics {
        let topics = self.topics.iter().map(|subscribed| subscribed.topic.to_string()).collect();
        Topics { id, topics, seq: self.subscription.seq() }
    }
}

/// What is said to a message.
type Answer = Result<ServerMessage, Box<Refusal>>;

pub(super) fn refusal(id: Option<String>, problem: Problem) -> Box<Refusal> {
    let (code, detail, field) = problem.into_parts();
    Box::new(Refusal { id, code, detail, field })
}

fn checked_id(id: Option<String>) -> Result<Option<String>, Box<Refusal>> {
    match id {
        Some(id) if id.chars().count() > ID_CHARS_MAX => {
            Err(refusal(None, Problem::invalid("id", format!("an id has {ID_CHARS_MAX} characters at most"))))
        }
        id => Ok(id),
    }
}
