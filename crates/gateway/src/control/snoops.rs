//! Commands that work by snoop channels: playing into a call, music for who is on hold, listening by phone. The call's own
//! channels stay where they are, in the dialplan.

use std::time::Duration;

use aimg_ari::{Arrival, BridgeId, EventKind, HangupReason, Originate, Play, PlaybackId, Snoop, Spy};
use aimg_core::{ErrandId, ErrandWhat, Uniqueid};
use aimg_session::CallSeen;
use tokio::sync::oneshot;

use super::command::{check_endpoint, check_name, media_uri};
use super::ear::Ear;
use super::errands::{Errand, Kind};
use super::hands::{Hands, TOLD_TIME_MAX, leg, refused, ring_s};
use super::{Audience, ControlError, Done, Heard, ListenMode, MEDIA_MAX, Party};

/// A sound that is not there fails within this time after its beginning.
const PLAY_FAILS_WITHIN: Duration = Duration::from_millis(200);

/// How long a command waits for somebody to pick up the phone; then it goes on without whoever asked.
const PICK_UP_TIME_MAX: Duration = Duration::from_secs(6);

/// A phone that is being called to listen.
struct Listening {
    number: u32,
    phone: Uniqueid,
    snoop: Uniqueid,
    room: BridgeId,
    target: Uniqueid,
    mode: ListenMode,
}

impl Hands {
    /// Plays something to parties, who hear each other all the while.
    pub(super) async fn play(&self, call: &CallSeen, to: &Audience, media: &[String]) -> Result<Done, ControlError> {
        if !(1..=MEDIA_MAX).contains(&media.len()) {
            return Err(ControlError::invalid("media", format!("1 to {MEDIA_MAX} of them")));
        }
        let media = media.iter().map(|media| media_uri(media, &self.0.media_hosts)).collect::<Result<_, _>>()?;
        self.play_uris(call, to, media).await
    }

    /// The same of what ARI knows how to play.
    pub(super) async fn play_uris(
        &self,
        call: &CallSeen,
        to: &Audience,
        media: Vec<String>,
    ) -> Result<Done, ControlError> {
        // What is whispered in both directions of the caller's channel, the callee hears too.
        let (target, whisper) = match to {
            Audience::One(party) => (leg(call, party)?.channel.clone(), Spy::Out),
            Audience::Both => (leg(call, &Party::Caller)?.channel.clone(), Spy::Both),
        };
        let (session, play) = (call.record.id, Play { media, ..Play::default() });
        let snoop_of = |number| channel_id(&self.id(session, number, ErrandWhat::Whisper));
        let mut ear = self.listen();
        let number = self.0.errands.begin(|number| {
            let channels = vec![snoop_of(number)];
            Errand { channels, ..Errand::new(session, Kind::Play) }
        })?;
        let snoop = snoop_of(number);
        let playback = PlaybackId::new(self.id(session, number, ErrandWhat::Playback).to_string());
        let begun = async {
            self.snoop(&mut ear, &target, snoop.clone(), Spy::None, whisper).await?;
            self.0.ari.play(&snoop, &playback, &play).await?;
            let begins = |heard: &Heard| match heard {
                Heard::Ari(kind) => match &**kind {
                    EventKind::PlaybackStarted { playback: told } if told.id == playback => Some(None),
                    _ => finished(heard, &playback).map(Some),
                },
                _ => None,
            };
            let state = match ear.wait(TOLD_TIME_MAX, begins).await {
                None => return Err(ControlError::unknown("Asterisk did not begin to play in time")),
                Some(None) => ear.wait(PLAY_FAILS_WITHIN, |heard| finished(heard, &playback)).await,
                Some(ended) => ended,
            };
            match state {
                Some(state) if state == "failed" => {
                    Err(refused("it cannot be played: is there such a sound?".to_owned()))
                }
                state => Ok(state.is_some()),
            }
        };
        match begun.await {
            Ok(is_over) if is_over => self.end(number).await,
            Ok(_) => {
                let (target, playback) = (target.clone(), playback.clone());
                self.guard(number, ear, move |heard| {
                    heard.is_parting_of(&target) || heard.left() == Some(&snoop) || finished(heard, &playback).is_some()
                });
            }
            Err(error) => {
                self.end(number).await;
                return Err(error);
            }
        }
        Ok(Done::Playing { playback: playback.to_string(), channel: target })
    }

    /// Ends what is played into a call.
    pub(super) async fn stop_play(&self, call: &CallSeen, playback: Option<&str>) -> Result<Done, ControlError> {
        let session = call.record.id;
        let wanted = playback.map(ErrandId::parse);
        if let Some(None) = wanted {
            return Err(ControlError::invalid("playback", "as it was named when it began"));
        }
        let named = wanted.flatten();
        let fits = |number, errand: &Errand| {
            let is_it = named.as_ref().is_none_or(|id| id.session == session && id.number == number);
            errand.session == session && errand.kind == Kind::Play && is_it
        };
        let numbers = self.0.errands.find(fits);
        if numbers.is_empty() {
            return Err(ControlError::not_possible("nothing of that is being played"));
        }
        let mut playbacks = Vec::new();
        for number in numbers {
            playbacks.push(self.id(session, number, ErrandWhat::Playback).to_string());
            self.end(number).await;
        }
        playbacks.sort();
        Ok(Done::PlayStopped { playbacks })
    }

    /// Music for one party, in the silence that is made of what all of them say.
    pub(super) async fn hold(&self, call: &CallSeen, party: &Party, music: Option<&str>) -> Result<Done, ControlError> {
        music.map_or(Ok(()), |class| check_name("music", class))?;
        let held = leg(call, party)?;
        let (session, channel) = (call.record.id, held.channel.clone());
        let holds = Kind::Hold(channel.clone());
        if !self.0.errands.find(|_, errand| errand.kind == holds).is_empty() {
            return Err(ControlError::not_possible("it is on hold"));
        }
        if held.bridge.is_none() {
            return Err(ControlError::not_possible(format!("the {party} talks with nobody")));
        }
        let together = call.channels.iter().filter(|other| other.bridge == held.bridge);
        let parties: Vec<Uniqueid> = together.map(|other| other.channel.clone()).collect();
        let mut ear = self.listen();
        let music_id = |number| channel_id(&self.id(session, number, ErrandWhat::Music));
        let number = self.0.errands.begin(|number| {
            let channels = vec![music_id(number)];
            Errand { channels, ..Errand::new(session, holds) }
        })?;
        let snoop = music_id(number);
        let begun = async {
            self.snoop(&mut ear, &channel, snoop.clone(), Spy::None, Spy::Out).await?;
            self.0.ari.start_moh(&snoop, music).await?;
            for party in parties {
                if self.0.errands.silences(number, party.clone()) {
                    self.silence(&party, true).await?;
                }
            }
            Ok(())
        };
        if let Err(error) = begun.await {
            self.end(number).await;
            return Err(error);
        }
        let (target, music) = (channel.clone(), snoop);
        self.guard(number, ear, move |heard| heard.is_parting_of(&target) || heard.left() == Some(&music));
        Ok(Done::Held { channel })
    }

    /// The reverse of [`Hands::hold`].
    pub(super) async fn unhold(&self, call: &CallSeen, party: &Party) -> Result<Done, ControlError> {
        let channel = leg(call, party)?.channel.clone();
        let holds = Kind::Hold(channel.clone());
        let [number] = self.0.errands.find(|_, errand| errand.kind == holds)[..] else {
            return Err(ControlError::not_possible("it is not on hold"));
        };
        self.end(number).await;
        Ok(Done::Unheld { channel })
    }

    /// Calls a phone, and lets it hear a call.
    pub(super) async fn listen_by_phone(
        &self,
        call: &CallSeen,
        endpoint: &str,
        party: &Party,
        mode: ListenMode,
        ring: Duration,
    ) -> Result<Done, ControlError> {
        check_endpoint(endpoint)?;
        let (session, target) = (call.record.id, leg(call, party)?.channel.clone());
        let timeout_s = ring_s(ring)?;
        let ear = self.listen();
        let ids =
            |number| [ErrandWhat::Phone, ErrandWhat::Ear, ErrandWhat::Room].map(|what| self.id(session, number, what));
        let number = self.0.errands.begin(|number| {
            let [phone, ear, room] = ids(number);
            let channels = vec![channel_id(&phone), channel_id(&ear)];
            Errand { channels, bridge: Some(room.to_string()), ..Errand::new(session, Kind::Listen) }
        })?;
        let [phone, snoop, room] = ids(number);
        let (phone, snoop, room) = (channel_id(&phone), channel_id(&snoop), BridgeId::new(room.to_string()));
        let call = Listening { number, phone: phone.clone(), snoop, room, target: target.clone(), mode };
        let arrival = Arrival::App { app: self.0.ari.app().to_owned(), args: Vec::new() };
        let originate = Originate { timeout_s: Some(timeout_s), ..Originate::new(phone.clone(), endpoint, arrival) };
        if let Err(error) = self.0.ari.originate(&originate).await {
            self.end(number).await;
            return Err(error.into());
        }
        let (hands, (told, connected)) = (self.clone(), oneshot::channel());
        tokio::spawn(async move {
            // Whoever asked may not wait for somebody to pick up the phone.
            let _ = told.send(hands.connect(call, ear, ring).await);
        });
        match tokio::time::timeout(PICK_UP_TIME_MAX, connected).await {
            Ok(Ok(connected)) => connected.map(|()| Done::Listening { phone, channel: target, connected: true }),
            Ok(Err(_)) => Err(ControlError::unknown("the gateway failed under it")),
            Err(_) => Ok(Done::Listening { phone, channel: target, connected: false }),
        }
    }

    /// Waits until the phone is picked up, and connects it.
    async fn connect(&self, listening: Listening, mut ear: Ear, ring: Duration) -> Result<(), ControlError> {
        let Listening { number, phone, snoop, room, target, mode } = listening;
        let whisper = match mode {
            ListenMode::Listen => Spy::None,
            ListenMode::Whisper => Spy::Out,
            ListenMode::Barge => Spy::Both,
        };
        let connected = async {
            let answered = ear.wait(ring + TOLD_TIME_MAX, |heard| {
                let gone = heard.gone().filter(|(gone, _)| **gone == phone).map(|(_, cause)| Some(cause));
                let over = (heard.is_parting_of(&target) || heard.is_break()).then_some(None);
                let ended = gone.or(over).map(Err);
                heard.entered().filter(|entered| **entered == phone).map(|_| Ok(())).or(ended)
            });
            match answered.await {
                Some(Ok(())) => {}
                Some(Err(Some(cause))) => return Err(refused(format!("the phone did not answer (cause {cause})"))),
                Some(Err(None)) => {
                    return Err(ControlError::not_possible("the call ended before the phone was picked up"));
                }
                None => return Err(ControlError::unknown("the phone's channel was not told of in time")),
            }
            self.0.ari.create_bridge(&room).await?;
            self.snoop(&mut ear, &target, snoop.clone(), Spy::Both, whisper).await?;
            self.0.ari.add_channels(&room, &[&phone, &snoop]).await?;
            Ok(())
        };
        if let Err(error) = connected.await {
            self.end(number).await;
            return Err(error);
        }
        self.guard(number, ear, move |heard| {
            heard.is_parting_of(&target) || heard.left().is_some_and(|left| [&phone, &snoop].contains(&left))
        });
        Ok(())
    }

    /// Makes a snoop channel and waits until it is in our application.
    async fn snoop(
        &self,
        ear: &mut Ear,
        target: &Uniqueid,
        id: Uniqueid,
        spy: Spy,
        whisper: Spy,
    ) -> Result<(), ControlError> {
        let snoop = Snoop { id: id.clone(), app: self.0.ari.app().to_owned(), args: Vec::new(), spy, whisper };
        self.0.ari.snoop_as(target, &snoop).await?;
        let entered = ear.wait(TOLD_TIME_MAX, |heard| heard.entered().filter(|entered| **entered == id).map(|_| ()));
        entered.await.ok_or_else(|| ControlError::unknown("the snoop channel was not told of in time"))
    }

    /// Ends an errand when `over` is heard, or the link breaks.
    fn guard(&self, number: u32, mut ear: Ear, over: impl Fn(&Heard) -> bool + Send + Sync + 'static) {
        let Some(over_already) = self.0.errands.over(number) else { return };
        let hands = self.clone();
        tokio::spawn(async move {
            let hear = ear.hear(|heard| (over(heard) || heard.is_break()).then_some(()));
            tokio::select! {
                _ = hear => hands.end(number).await,
                () = over_already.notified() => {}
            }
        });
    }

    /// Undoes an errand, unless somebody has.
    async fn end(&self, number: u32) {
        let Some(errand) = self.0.errands.end(number) else { return };
        for channel in &errand.channels {
            if let Err(error) = self.0.ari.hangup(channel, HangupReason::Normal).await {
                tracing::warn!(%error, "a channel that a command made could not be removed");
            }
        }
        if let Some(bridge) = errand.bridge
            && let Err(error) = self.0.ari.destroy_bridge(&BridgeId::new(bridge)).await
        {
            tracing::warn!(%error, "a bridge that a command made could not be removed");
        }
        for channel in &errand.silenced {
            // Of one that is gone there is nothing to undo.
            if let Err(error) = self.silence(channel, false).await {
                tracing::debug!(%error, "who was on hold is heard again, or gone");
            }
        }
    }
}

/// The state in which a playback ended.
fn finished(heard: &Heard, playback: &PlaybackId) -> Option<String> {
    match heard {
        Heard::Ari(kind) => match &**kind {
            EventKind::PlaybackFinished { playback: told } if told.id == *playback => Some(told.state.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn channel_id(id: &ErrandId) -> Uniqueid {
    Uniqueid::new(id.to_string())
}
