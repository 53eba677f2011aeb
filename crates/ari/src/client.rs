//! The ARI of one PBX: requests by name, and the events of one application.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aimg_core::Uniqueid;
use tokio::sync::{mpsc, watch};

use crate::breaker::BreakerState;
use crate::config::Config;
use crate::counters::Counts;
use crate::error::Error;
use crate::event::Event;
use crate::http::Http;
use crate::listener::{Entrance, Listener};
use crate::model::{
    Application, AsteriskInfo, Bridge, BridgeId, Channel, LiveRecording, Playback, PlaybackId, RtpStatistics,
};
use crate::request::{
    self, Control, DialplanPlace, Digits, ExternalMedia, HangupReason, MuteDirection, NewChannel, Originate, Play,
    Record, Snoop, Spy,
};
use crate::stream::{Origin, Stream};

/// What the event stream tells its consumer.
#[derive(Debug)]
pub enum Notice {
    /// Connected, and this is the state of the PBX: every channel and bridge, ours and others'. Events that follow are newer
    /// than the state or repeat it. Sent after each connection: what is missing here and was known before is gone.
    Up {
        /// Every channel.
        channels: Vec<Channel>,
        /// Every bridge.
        bridges: Vec<Bridge>,
    },
    /// Something happened.
    Event(Event),
    /// The stream is lost or could not be opened; the next attempt follows by itself.
    Down {
        /// Why, with the cure where we know one.
        error: Error,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// Another program took the application over. Nothing follows until [`Client::reclaim`]; requests still work.
    Replaced {
        /// [`Error::Replaced`], for showing.
        error: Error,
    },
}

/// The notices of one client, in order. Bounded by `events_max`; see [`Notice::Down`] for what happens beyond it.
#[derive(Debug)]
pub struct Events {
    notices: mpsc::Receiver<Notice>,
}

impl Events {
    /// The next notice; nothing once every [`Client`] is gone.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// Notices that are waiting.
    pub fn backlog(&self) -> usize {
        self.notices.len()
    }
}

/// The ARI of one PBX. Cheap to clone; the connection ends when the last clone or the [`Events`] is dropped.
///
/// Ids of channels and bridges to create are the caller's: minted and registered before the request, because the first
/// event may arrive before the answer.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    app: Arc<str>,
    reclaims: Arc<watch::Sender<u64>>,
}

impl Client {
    /// Starts to connect, within a tokio runtime; how that goes is told by the first notices.
    pub fn start(config: Config) -> Result<(Self, Events), Error> {
        let http = Http::new(&config)?;
        Ok(Self::begin(config, http, Origin::Ours))
    }

    /// The same with a PBX that connects to us (Asterisk 20.15, 21.10, 22.5, 23.0 and later): its events arrive at `entrance`
    /// of the listener, requests still go to the configuration's address. In its websocket_client.conf:
    ///
    /// ```text
    /// [aimg]
    /// type = websocket_client
    /// connection_type = persistent
    /// uri = ws://10.0.0.9:8770/ari/pbx1
    /// protocols = ari
    /// username = pbx1
    /// password = …
    /// ```
    ///
    /// and in its ari.conf, where `subscribe_all` takes the place of [`Config::subscribe_all`] at the first connection:
    ///
    /// ```text
    /// [aimg-outbound]
    /// type = outbound_websocket
    /// websocket_client_id = aimg
    /// apps = aimg
    /// local_ari_user = aimg
    /// ```
    ///
    /// For `wss://` add `tls_enabled = yes` and `ca_list_file`, and let `uri` hold a name: Asterisk 22.10 does not look for an
    /// address among a certificate's names, and refuses it unless `verify_server_hostname = no`.
    pub fn accept(config: Config, listener: &Listener, entrance: &Entrance) -> Result<(Self, Events), Error> {
        let http = Http::new(&config)?;
        let arrivals = listener.open(entrance, &http)?;
        Ok(Self::begin(config, http, Origin::Theirs(arrivals)))
    }

    fn begin(config: Config, http: Http, origin: Origin) -> (Self, Events) {
        let (notices, received) = mpsc::channel(config.events_max.max(1));
        let (reclaims, reclaimed) = watch::channel(0);
        let client = Self { http: http.clone(), app: config.app().into(), reclaims: Arc::new(reclaims) };
        tokio::spawn(Stream { config, http, origin, notices, reclaims: reclaimed }.run());
        (client, Events { notices: received })
    }

    /// Takes the application back after [`Notice::Replaced`], from whoever has it. Without effect at any other time.
    pub fn reclaim(&self) {
        self.reclaims.send_modify(|times| *times += 1);
    }

    /// For requests that have no method here.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The Stasis application.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// What happened so far, counted.
    pub fn counts(&self) -> Counts {
        self.http.counts()
    }

    /// Creates a snoop channel `id` on `channel`, which need not be in Stasis, and has it enter this application. `Both`
    /// loses audio before Asterisk 20.12, 21.7 and 22.2 (issue #851); one-direction snoops crackle before 16.30, 18.16,
    /// 19.8 and 20.1 (ASTERISK-30252).
    pub async fn snoop(&self, channel: &Uniqueid, id: &Uniqueid, spy: Spy) -> Result<Channel, Error> {
        self.http.call(request::channels::snoop(channel, id, &self.app, spy)).await
    }

    /// Creates a snoop channel that may also whisper; otherwise as [`Client::snoop`].
    pub async fn snoop_as(&self, channel: &Uniqueid, snoop: &Snoop) -> Result<Channel, Error> {
        self.http.call(request::channels::snoop_as(channel, snoop)).await
    }

    /// Creates an external media channel (Asterisk 16.6 and later); [`Channel::rtp_source`] of the answer is where its RTP
    /// will come from.
    pub async fn external_media(&self, media: &ExternalMedia) -> Result<Channel, Error> {
        self.http.call(request::channels::external_media(media)).await
    }

    /// Creates a mixing bridge; [`Error::Conflict`] when the id is taken.
    pub async fn create_bridge(&self, id: &BridgeId) -> Result<Bridge, Error> {
        self.http.call(request::bridges::create(id)).await
    }

    /// Puts channels, all of them in Stasis, into a bridge. Takes up to 200 ms before Asterisk 18.21, 20.6 and 21.1 (issue #362).
    pub async fn add_channels(&self, id: &BridgeId, channels: &[&Uniqueid]) -> Result<(), Error> {
        self.http.call(request::bridges::add_channels(id, channels)).await
    }

    /// Takes a channel out of a bridge.
    pub async fn remove_channel(&self, id: &BridgeId, channel: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::bridges::remove_channel(id, channel)).await
    }

    /// Destroys a bridge; one that is gone already is success.
    pub async fn destroy_bridge(&self, id: &BridgeId) -> Result<(), Error> {
        gone_is_done(self.http.call(request::bridges::destroy(id)).await)
    }

    /// Hangs a channel up; one that is gone already is success.
    pub async fn hangup(&self, id: &Uniqueid, reason: HangupReason) -> Result<(), Error> {
        gone_is_done(self.http.call(request::channels::hangup(id, reason)).await)
    }

    /// Sends a channel that is in Stasis back to the dialplan: to the next priority, or to `place`.
    pub async fn continue_in_dialplan(&self, id: &Uniqueid, place: Option<&DialplanPlace>) -> Result<(), Error> {
        self.http.call(request::channels::continue_in_dialplan(id, place)).await
    }

    /// Calls an endpoint: the answer comes when the channel exists, events tell the rest. An endpoint that is unknown or not
    /// registered is [`Error::Server`].
    pub async fn originate(&self, call: &Originate) -> Result<Channel, Error> {
        self.http.call(request::channels::originate(call)).await
    }

    /// Creates a channel that is in Stasis and not dialled: bridge it, then [`Client::dial`], and early media is heard.
    pub async fn create_channel(&self, channel: &NewChannel) -> Result<Channel, Error> {
        self.http.call(request::channels::create(channel)).await
    }

    /// Dials a created channel; `caller`, where given, hears its early media. It is hung up after `timeout_s` without an
    /// answer (0 for never).
    pub async fn dial(&self, id: &Uniqueid, caller: Option<&Uniqueid>, timeout_s: u32) -> Result<(), Error> {
        self.http.call(request::channels::dial(id, caller, timeout_s)).await
    }

    /// Hands a channel that is in Stasis to another application, or to this one with other arguments.
    pub async fn move_to_app(&self, id: &Uniqueid, app: &str, args: &[&str]) -> Result<(), Error> {
        self.http.call(request::channels::move_to_app(id, app, args)).await
    }

    /// Has the party of a channel call `endpoint` instead; [`Error::Unprocessable`] for another technology.
    pub async fn redirect(&self, id: &Uniqueid, endpoint: &str) -> Result<(), Error> {
        self.http.call(request::channels::redirect(id, endpoint)).await
    }

    /// Tells a channel's party that it rings.
    pub async fn ring(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::start_ringing(id)).await
    }

    /// Ends the ringing.
    pub async fn stop_ringing(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::stop_ringing(id)).await
    }

    /// Presses keys on a channel, as its party hears them.
    pub async fn dtmf(&self, id: &Uniqueid, keys: &Digits) -> Result<(), Error> {
        self.http.call(request::channels::dtmf(id, keys)).await
    }

    /// Mutes a channel. Needs `res_mutestream.so`.
    pub async fn mute(&self, id: &Uniqueid, direction: MuteDirection) -> Result<(), Error> {
        self.http.call(request::channels::mute(id, direction)).await
    }

    /// The reverse of [`Client::mute`].
    pub async fn unmute(&self, id: &Uniqueid, direction: MuteDirection) -> Result<(), Error> {
        self.http.call(request::channels::unmute(id, direction)).await
    }

    /// Puts a channel's party on hold.
    pub async fn hold(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::hold(id)).await
    }

    /// The reverse of [`Client::hold`].
    pub async fn unhold(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::unhold(id)).await
    }

    /// Plays music to a channel: of a class of musiconhold.conf, or the default.
    pub async fn start_moh(&self, id: &Uniqueid, class: Option<&str>) -> Result<(), Error> {
        self.http.call(request::channels::start_moh(id, class)).await
    }

    /// Ends the music.
    pub async fn stop_moh(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::stop_moh(id)).await
    }

    /// Sends silence to a channel that nothing else is sent to.
    pub async fn start_silence(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::start_silence(id)).await
    }

    /// Ends the silence.
    pub async fn stop_silence(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::stop_silence(id)).await
    }

    /// Plays to a channel: the answer comes when it is queued, [`crate::EventKind::PlaybackFinished`] tells the end.
    pub async fn play(&self, id: &Uniqueid, playback: &PlaybackId, play: &Play) -> Result<Playback, Error> {
        self.http.call(request::channels::play(id, playback, play)).await
    }

    /// Plays to everybody in a bridge.
    pub async fn play_to_bridge(&self, id: &BridgeId, playback: &PlaybackId, play: &Play) -> Result<Playback, Error> {
        self.http.call(request::bridges::play(id, playback, play)).await
    }

    /// Pauses, continues or winds a playback.
    pub async fn control_playback(&self, id: &PlaybackId, control: Control) -> Result<(), Error> {
        self.http.call(request::playbacks::control(id, control)).await
    }

    /// Ends a playback; one that is over is success.
    pub async fn stop_playback(&self, id: &PlaybackId) -> Result<(), Error> {
        gone_is_done(self.http.call(request::playbacks::stop(id)).await)
    }

    /// Has Asterisk record what a channel's party says; [`Error::Conflict`] when the name is taken.
    pub async fn record(&self, id: &Uniqueid, record: &Record) -> Result<LiveRecording, Error> {
        self.http.call(request::channels::record(id, record)).await
    }

    /// Has Asterisk record what everybody in a bridge hears.
    pub async fn record_bridge(&self, id: &BridgeId, record: &Record) -> Result<LiveRecording, Error> {
        self.http.call(request::bridges::record(id, record)).await
    }

    /// Ends a recording and keeps it.
    pub async fn stop_recording(&self, name: &str) -> Result<(), Error> {
        self.http.call(request::recordings::stop(name)).await
    }

    /// Sends this application a `ChannelUserevent`, about objects such as `channel:1763900000.12`.
    pub async fn user_event(
        &self,
        name: &str,
        sources: &[&str],
        variables: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.http.call(request::events::user_event(name, &self.app, sources, variables)).await
    }

    /// Whether requests are sent, or refused because the PBX did not answer the last ones.
    pub fn breaker(&self) -> BreakerState {
        self.http.breaker()
    }

    /// Answers a channel that is in Stasis.
    pub async fn answer(&self, id: &Uniqueid) -> Result<(), Error> {
        self.http.call(request::channels::answer(id)).await
    }

    /// The value of a channel's variable or function, such as `CHANNEL(linkedid)`; [`Error::NotFound`] when it is not set, or
    /// the channel is gone.
    pub async fn variable(&self, id: &Uniqueid, name: &str) -> Result<String, Error> {
        self.http.call(request::channels::variable(id, name)).await.map(|variable| variable.value)
    }

    /// Sets a variable or function of a channel that is in Stasis. It is set after the answer: up to 200 ms later before
    /// Asterisk 18.21, 20.6 and 21.1 (issue #362).
    pub async fn set_variable(&self, id: &Uniqueid, name: &str, value: &str) -> Result<(), Error> {
        self.http.call(request::channels::set_variable(id, name, value)).await
    }

    /// Asterisk's own RTP statistics of a SIP channel; other kinds have none ([`Error::Unprocessable`] or
    /// [`Error::NotFound`], depending on kind and version).
    pub async fn rtp_statistics(&self, id: &Uniqueid) -> Result<RtpStatistics, Error> {
        self.http.call(request::channels::rtp_statistics(id)).await
    }

    /// Every channel of the PBX.
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        self.http.call(request::channels::list()).await
    }

    /// One channel.
    pub async fn channel(&self, id: &Uniqueid) -> Result<Channel, Error> {
        self.http.call(request::channels::one(id)).await
    }

    /// Every bridge of the PBX.
    pub async fn bridges(&self) -> Result<Vec<Bridge>, Error> {
        self.http.call(request::bridges::list()).await
    }

    /// This application as Asterisk sees it.
    pub async fn application(&self) -> Result<Application, Error> {
        self.http.call(request::applications::one(&self.app)).await
    }

    /// Subscribes this application to events of `channel:{id}`, `bridge:{id}` and so on. A channel that leaves Stasis ends
    /// its implicit subscription: subscribe to see it destroyed.
    pub async fn subscribe(&self, sources: &[&str]) -> Result<Application, Error> {
        self.http.call(request::applications::subscribe(&self.app, sources)).await
    }

    /// The reverse of [`Client::subscribe`].
    pub async fn unsubscribe(&self, sources: &[&str]) -> Result<Application, Error> {
        self.http.call(request::applications::unsubscribe(&self.app, sources)).await
    }

    /// Version, identity and start time of the PBX.
    pub async fn info(&self) -> Result<AsteriskInfo, Error> {
        self.http.call(request::asterisk::info()).await
    }
}

fn gone_is_done(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}
