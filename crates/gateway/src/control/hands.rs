//! What does commands at one PBX, by AMI and ARI.

use std::sync::Arc;
use std::time::Duration;

use aimg_ami::{Action, Event, Muted, Place};
use aimg_ari::request::channels;
use aimg_ari::{Arrival, ChannelState, DialplanPlace, EventKind, HangupReason, Originate};
use aimg_core::{ErrandId, ErrandWhat, NodeId, SessionId, TenantId, Uniqueid};
use aimg_session::{CallSeen, LegSeen};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::command::{check_caller_id, check_endpoint, check_exten, check_name};
use super::ear::{Ear, HEARD_MAX};
use super::errands::Errands;
use super::{
    Ask, Audience, CallCommand, ControlError, DIGITS_MAX, Destination, Done, First, Heard, MutedSide, NewCall, Party,
    RING_MAX, Transfer,
};

/// How long Asterisk may take to tell that it did something.
pub(super) const TOLD_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the feature of an attended transfer may take to begin: its keys are pressed one after the other.
const FEATURE_TIME_MAX: Duration = Duration::from_secs(8);
/// Asterisk divides samples of 16 bits by it.
const SILENT_GAIN: &str = "-32767";
/// Between two keys.
const BETWEEN_KEYS: Duration = Duration::from_millis(100);
/// How long a link may take to undo what is in hand when it ends.
const TIDY_TIME_MAX: Duration = Duration::from_secs(2);

/// The hands of one link. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Hands(pub(super) Arc<Inner>);

pub(super) struct Inner {
    tenant: Option<TenantId>,
    node: NodeId,
    ami: Option<aimg_ami::Client>,
    pub(super) ari: aimg_ari::Client,
    asks: mpsc::Sender<Ask>,
    heard: broadcast::Sender<Heard>,
    pub(super) errands: Errands,
    pub(super) media_hosts: Arc<[String]>,
}

/// What hands are made of.
pub(crate) struct Parts {
    /// Whose PBX it is; nobody's when several tenants share it.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) node: NodeId,
    /// Nothing where ARI is alone.
    pub(crate) ami: Option<aimg_ami::Client>,
    pub(crate) ari: aimg_ari::Client,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) media_hosts: Arc<[String]>,
    /// Drawn at random once a process.
    pub(crate) seed: u64,
}

impl Hands {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { tenant, node, ami, ari, asks, media_hosts, seed } = parts;
        let (heard, _) = broadcast::channel(HEARD_MAX);
        Self(Arc::new(Inner { tenant, node, ami, ari, asks, heard, errands: Errands::new(seed), media_hosts }))
    }

    /// Whose PBX it is; nobody's when several tenants share it.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.0.tenant
    }

    /// Tells an event of AMI to those who wait, if any do.
    pub(crate) fn hear_ami(&self, event: &Event) {
        if self.0.heard.receiver_count() > 0 {
            let _ = self.0.heard.send(Heard::Ami(Arc::new(event.clone())));
        }
    }

    /// The same of ARI. A channel of an errand that is over is removed: its creation was given up, and done all the same.
    pub(crate) fn hear_ari(&self, event: &EventKind) {
        if self.0.heard.receiver_count() > 0 {
            let _ = self.0.heard.send(Heard::Ari(Arc::new(event.clone())));
        }
        if let EventKind::StasisStart { channel, .. } = event {
            self.remove_if_left(channel.id.as_str());
        }
    }

    /// ARI is back with the list of what there is: errands that are not over end, and what an earlier run left goes.
    pub(crate) fn ari_back<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        ids.for_each(|id| self.remove_if_left(id));
        let _ = self.0.heard.send(Heard::AriBack);
    }

    /// The link ends: so does what is in hand.
    pub(crate) async fn tidy(&self) {
        let _ = self.0.heard.send(Heard::End);
        let empty = async {
            while !self.0.errands.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(TIDY_TIME_MAX, empty).await;
    }

    fn remove_if_left(&self, id: &str) {
        let Some(id) = ErrandId::parse(id) else { return };
        if id.node != self.0.node || self.0.errands.is_there(id.number) {
            return;
        }
        let hands = self.clone();
        tokio::spawn(async move { hands.remove(&id).await });
    }

    async fn remove(&self, id: &ErrandId) {
        let removed = match id.what {
            ErrandWhat::Room => self.0.ari.destroy_bridge(&aimg_ari::BridgeId::new(id.to_string())).await,
            _ => self.0.ari.hangup(&Uniqueid::new(id.to_string()), HangupReason::Normal).await,
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "what a command left in Asterisk could not be removed");
        }
        // A hold also silenced the parties of the call, and its end lets them be heard.
        if id.what == ErrandWhat::Music
            && let Ok(call) = self.see(id.session).await
        {
            for leg in &call.channels {
                let _ = self.silence(&leg.channel, false).await;
            }
        }
    }

    pub(super) fn id(&self, session: SessionId, number: u32, what: ErrandWhat) -> ErrandId {
        ErrandId { node: self.0.node.clone(), session, number, what }
    }

    pub(super) fn listen(&self) -> Ear {
        Ear(self.0.heard.subscribe())
    }

    fn ami(&self) -> Result<&aimg_ami::Client, ControlError> {
        self.0
            .ami
            .as_ref()
            .ok_or_else(|| ControlError::not_possible("it is done by AMI, and this gateway runs without"))
    }

    async fn act(&self, action: Result<Action, aimg_ami::InvalidAction>) -> Result<(), ControlError> {
        self.ami()?.send(action?).await?;
        Ok(())
    }

    async fn ask<T>(&self, ask: Ask, answer: oneshot::Receiver<T>) -> Result<T, ControlError> {
        self.0.asks.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                ControlError::Busy { what: "questions", waiting_max: super::ASKS_MAX }
            }
            mpsc::error::TrySendError::Closed(_) => ControlError::away("its link has ended"),
        })?;
        answer.await.map_err(|_| ControlError::away("its link has ended"))
    }

    /// How a call stands.
    pub(super) async fn see(&self, session: SessionId) -> Result<CallSeen, ControlError> {
        let (answer, answered) = oneshot::channel();
        let seen = self.ask(Ask::See { session, answer }, answered).await?;
        seen.ok_or(ControlError::NoSuchCall { session })
    }

    /// Plays what was spoken.
    pub(super) async fn say(&self, session: SessionId, to: &Audience, media: String) -> Result<Done, ControlError> {
        let call = self.see(session).await?;
        self.play_uris(&call, to, vec![media]).await
    }

    pub(super) async fn execute(&self, session: SessionId, command: CallCommand) -> Result<Done, ControlError> {
        if let CallCommand::Record(order) = command {
            let (answer, answered) = oneshot::channel();
            return self.ask(Ask::Order { session, order, answer }, answered).await?;
        }
        let call = self.see(session).await?;
        match command {
            CallCommand::HangUp { party } => self.hang_up(&call, party.as_ref()).await,
            CallCommand::Answer => self.answer(&call).await,
            CallCommand::Hold { party, music } => self.hold(&call, &party, music.as_deref()).await,
            CallCommand::Unhold { party } => self.unhold(&call, &party).await,
            CallCommand::Mute { party, side } => {
                let channel = leg(&call, &party)?.channel.clone();
                self.mute(&channel, side, true).await?;
                Ok(Done::Muted { channel, side })
            }
            CallCommand::Unmute { party, side } => {
                let channel = leg(&call, &party)?.channel.clone();
                self.mute(&channel, side, false).await?;
                Ok(Done::Unmuted { channel, side })
            }
            CallCommand::Dtmf { party, digits, duration } => self.press(&call, &party, &digits, duration).await,
            CallCommand::Play { to, media } => self.play(&call, &to, &media).await,
            CallCommand::StopPlay { playback } => self.stop_play(&call, playback.as_deref()).await,
            CallCommand::Transfer(transfer) => self.transfer(&call, transfer).await,
            CallCommand::Listen { endpoint, party, mode, ring } => {
                self.listen_by_phone(&call, &endpoint, &party, mode, ring).await
            }
            CallCommand::Bridge { .. } | CallCommand::Record(_) | CallCommand::Say { .. } => {
                Err(ControlError::not_possible("it is not about one call alone"))
            }
        }
    }

    async fn hang_up(&self, call: &CallSeen, party: Option<&Party>) -> Result<Done, ControlError> {
        let mut left: Vec<Uniqueid> = match party {
            Some(party) => vec![leg(call, party)?.channel.clone()],
            None => call.channels.iter().map(|leg| leg.channel.clone()).collect(),
        };
        let (mut ear, mut ended, mut missing) = (self.listen(), Vec::new(), Vec::new());
        for channel in &left {
            // With one the others end, so that they may be gone before their turn.
            match self.0.ari.http().call(channels::hangup(channel, HangupReason::Normal)).await {
                Err(error) if error.is_not_found() => missing.push(channel.clone()),
                result => result?,
            }
        }
        let all_gone = ear.wait(TOLD_TIME_MAX, |heard| {
            if let Some((gone, cause)) = heard.gone()
                && let Some(at) = left.iter().position(|channel| channel == gone)
            {
                ended.push((left.swap_remove(at), Some(cause)));
            }
            left.iter().all(|channel| missing.contains(channel)).then_some(())
        });
        if all_gone.await.is_none() && !left.iter().all(|channel| missing.contains(channel)) {
            return Err(ControlError::unknown("Asterisk did not tell the channel's end in time"));
        }
        ended.extend(left.into_iter().map(|channel| (channel, None)));
        Ok(Done::HungUp { channels: ended })
    }

    async fn answer(&self, call: &CallSeen) -> Result<Done, ControlError> {
        let channel = leg(call, &Party::Caller)?.channel.clone();
        match self.0.ari.answer(&channel).await {
            Err(aimg_ari::Error::NotInStasis { .. } | aimg_ari::Error::Conflict { .. }) => {
                return Err(ControlError::not_possible(
                    "the caller is in the dialplan, which alone can answer it; it can be answered while it waits in our Stasis \
                     application, or be transferred to an extension that answers",
                ));
            }
            result => result?,
        }
        let state = self.0.ari.channel(&channel).await?.state;
        if state == ChannelState::Up {
            Ok(Done::Answered { channel })
        } else {
            Err(refused(format!("it is {state:?}")))
        }
    }

    /// Mutes a channel, or lets it be heard.
    pub(super) async fn mute(&self, channel: &Uniqueid, side: MutedSide, muted: bool) -> Result<(), ControlError> {
        let direction = match side {
            MutedSide::Says => Muted::In,
            MutedSide::Hears => Muted::Out,
            MutedSide::Both => Muted::All,
        };
        self.act(Action::mute_audio(channel.as_str(), direction, muted)).await
    }

    /// Makes silence of what a channel says, or lets it be heard. A mute would stop its frames, and with them what is
    /// whispered to whom they go to.
    pub(super) async fn silence(&self, channel: &Uniqueid, silent: bool) -> Result<(), ControlError> {
        let gain = if silent { SILENT_GAIN } else { "0" };
        self.act(Action::setvar(Some(channel.as_str()), "VOLUME(RX)", gain)).await
    }

    async fn press(&self, call: &CallSeen, party: &Party, digits: &str, each: Duration) -> Result<Done, ControlError> {
        let is_key = |c: char| c.is_ascii_digit() || matches!(c, 'A'..='D' | '*' | '#');
        if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.chars().all(is_key) {
            let why = format!("1 to {DIGITS_MAX} of 0-9, A-D, * and #");
            return Err(ControlError::invalid("digits", why));
        }
        let channel = leg(call, party)?.channel.clone();
        for digit in digits.chars() {
            self.act(Action::play_dtmf(channel.as_str(), digit, Some(each), false)).await?;
            tokio::time::sleep(each + BETWEEN_KEYS).await;
        }
        Ok(Done::Pressed { channel, digits: digits.len() })
    }

    async fn transfer(&self, call: &CallSeen, transfer: Transfer) -> Result<Done, ControlError> {
        match transfer {
            Transfer::Blind { by, to } => self.send_blindly(call, &by, &to).await,
            Transfer::Attended { by, to } => self.consult(call, &by, &to).await,
            Transfer::Complete { by } => self.complete(call, &by).await,
            Transfer::Cancel { by } => self.cancel(call, &by).await,
        }
    }

    async fn send_blindly(&self, call: &CallSeen, by: &Party, to: &Destination) -> Result<Done, ControlError> {
        let (channel, place) = (talking(call, by)?.channel.clone(), place(call, to)?);
        let mut ear = self.listen();
        self.act(Action::blind_transfer(channel.as_str(), &place)).await?;
        let told = ear.wait(TOLD_TIME_MAX, |heard| match heard {
            Heard::Ami(event) => match &**event {
                Event::BlindTransfer(told) if told.transferer.uniqueid == channel => Some(told.clone()),
                _ => None,
            },
            _ => None,
        });
        let told = told.await.ok_or_else(|| ControlError::unknown("Asterisk did not tell of the transfer in time"))?;
        if told.result != "Success" {
            return Err(refused(told.result.to_string()));
        }
        Ok(Done::Transferred { channel: told.transferee.map(|channel| channel.uniqueid) })
    }

    async fn consult(&self, call: &CallSeen, by: &Party, to: &Destination) -> Result<Done, ControlError> {
        let (channel, place) = (talking(call, by)?.channel.clone(), place(call, to)?);
        let mut ear = self.listen();
        self.act(Action::attended_transfer(channel.as_str(), &place)).await?;
        let begun = ear.wait(FEATURE_TIME_MAX, |heard| heard.is_parting_of(&channel).then_some(())).await;
        if begun.is_none() {
            return Err(ControlError::not_possible(
                "Asterisk did not begin it: it presses the keys of `atxfer` in features.conf for the channel, which only a \
                 Dial with the option t (who was called) or T (who calls) takes",
            ));
        }
        Ok(Done::Consulting { channel })
    }

    async fn complete(&self, call: &CallSeen, by: &Party) -> Result<Done, ControlError> {
        let channel = leg(call, by)?.channel.clone();
        let mut ear = self.listen();
        self.0.ari.http().call(channels::hangup(&channel, HangupReason::Normal)).await?;
        let told = ear.wait(TOLD_TIME_MAX, |heard| match heard {
            Heard::Ami(event) => match &**event {
                Event::AttendedTransfer(told)
                    if [&told.first_transferer, &told.second_transferer].iter().any(|t| t.uniqueid == channel) =>
                {
                    Some(told.clone())
                }
                _ => None,
            },
            _ => None,
        });
        let why = "the channel was hung up, and Asterisk told of no attended transfer by it";
        let told = told.await.ok_or_else(|| ControlError::unknown(why))?;
        if told.result != "Success" {
            return Err(refused(told.result.to_string()));
        }
        Ok(Done::Transferred { channel: told.transferee.map(|channel| channel.uniqueid) })
    }

    async fn cancel(&self, call: &CallSeen, by: &Party) -> Result<Done, ControlError> {
        let channel = leg(call, by)?.channel.clone();
        self.act(Action::cancel_attended_transfer(channel.as_str())).await?;
        Ok(Done::TransferCancelled { channel })
    }

    /// Lets parties of two calls talk with each other; whom they talked with goes on in the dialplan or is hung up.
    pub(super) async fn bridge(
        &self,
        session: SessionId,
        party: &Party,
        with: SessionId,
        with_party: &Party,
    ) -> Result<Done, ControlError> {
        let (call, other) = (self.see(session).await?, self.see(with).await?);
        let [one, two] = [leg(&call, party)?, leg(&other, with_party)?];
        if one.channel == two.channel {
            return Err(ControlError::invalid("with", "another channel than the first"));
        }
        if one.name.is_empty() || two.name.is_empty() {
            return Err(ControlError::not_possible("the channel's name is not known yet"));
        }
        let channels = [one.channel.clone(), two.channel.clone()];
        let mut ear = self.listen();
        // By name: Asterisk takes any channel whose id begins so.
        self.act(Action::bridge(&one.name, &two.name, false)).await?;
        let mut entered: [Option<String>; 2] = [None, None];
        let together = ear.wait(TOLD_TIME_MAX, |heard| {
            if let Heard::Ami(event) = heard
                && let Event::BridgeEnter(member) = &**event
                && let Some(at) = channels.iter().position(|channel| *channel == member.channel.uniqueid)
            {
                entered[at] = Some(member.bridge.id.to_string());
            }
            entered[0].clone().filter(|_| entered[0] == entered[1])
        });
        let bridge =
            together.await.ok_or_else(|| ControlError::unknown("Asterisk did not tell of the bridge in time"))?;
        Ok(Done::Bridged { bridge, channels })
    }

    /// Makes a call.
    pub(super) async fn originate(&self, call: NewCall) -> Result<Done, ControlError> {
        check_exten("exten", &call.exten)?;
        check_name("context", &call.context)?;
        call.caller_id.as_deref().map_or(Ok(()), check_caller_id)?;
        let endpoint = match &call.first {
            First::Number(number) => {
                check_exten("number", number)?;
                format!("Local/{number}@{}", call.context)
            }
            First::Endpoint(endpoint) => {
                check_endpoint(endpoint)?;
                endpoint.clone()
            }
        };
        // A call of somebody's, not an object of ours: nothing that removes those may find it.
        let channel = Uniqueid::new(format!("call-{}", uuid::Uuid::now_v7()));
        let place = DialplanPlace { context: call.context.clone(), exten: call.exten.clone(), priority: 1 };
        let mut originate = Originate::new(channel.clone(), endpoint, Arrival::Dialplan(place));
        originate.caller_id = call.caller_id.clone();
        originate.timeout_s = Some(ring_s(call.ring)?);
        let mut ear = self.listen();
        self.0.ari.originate(&originate).await?;
        let session = match self.0.ami {
            Some(_) => self.session_of(&mut ear, &channel).await?,
            None => None,
        };
        Ok(Done::Calling { channel, session })
    }

    /// The session of a channel that is new.
    async fn session_of(&self, ear: &mut Ear, channel: &Uniqueid) -> Result<Option<SessionId>, ControlError> {
        let seen = |heard: &Heard| match heard {
            Heard::Ami(event) => matches!(&**event, Event::NewChannel(new) if new.uniqueid == *channel).then_some(()),
            _ => None,
        };
        ear.wait(TOLD_TIME_MAX, seen).await;
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::SessionOf { channel: channel.clone(), answer }, answered).await
    }
}

/// The channel of a party.
pub(super) fn leg<'a>(call: &'a CallSeen, party: &Party) -> Result<&'a LegSeen, ControlError> {
    let found = match party {
        Party::Caller => call.caller.as_ref().and_then(|caller| call.leg(caller)),
        Party::Callee => call.callee(),
        Party::Channel(channel) => call.leg(channel),
    };
    found
        .ok_or_else(|| ControlError::not_possible(format!("the call has no {party}, or several: name a channel of it")))
}

/// The channel of a party that is in a bridge.
fn talking<'a>(call: &'a CallSeen, party: &Party) -> Result<&'a LegSeen, ControlError> {
    let leg = leg(call, party)?;
    if leg.bridge.is_some() {
        Ok(leg)
    } else {
        Err(ControlError::not_possible(format!("the {party} talks with nobody")))
    }
}

/// Where a call is sent.
fn place(call: &CallSeen, to: &Destination) -> Result<Place, ControlError> {
    check_exten("exten", &to.exten)?;
    let began_in = call.record.context.as_ref();
    let Some(context) = to.context.as_ref().or(began_in) else {
        return Err(ControlError::invalid("context", "needed: nobody knows in which one the call began"));
    };
    check_name("context", context)?;
    Ok(Place::new(context.clone(), to.exten.clone()))
}

/// How long a phone may ring, in whole seconds.
pub(super) fn ring_s(ring: Duration) -> Result<i32, ControlError> {
    let seconds = ring.as_secs();
    match i32::try_from(seconds) {
        Ok(seconds) if seconds >= 1 && ring <= RING_MAX => Ok(seconds),
        _ => Err(ControlError::invalid("ring", format!("1 to {} seconds", RING_MAX.as_secs()))),
    }
}

pub(super) fn refused(why: String) -> ControlError {
    ControlError::Refused { why }
}
