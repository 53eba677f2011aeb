//! A link: the live AMI and ARI connections of this node to one PBX, and the reducer that they feed.

use std::time::Duration;

use aimg_core::{CallEvent, CallEventKind, SessionRow};
use aimg_media::{Clock, Media};
use aimg_session::{Command, Input, Outcome, Switchboard, Tenants, Unclaimed, UnclaimedWhy};
use aimg_store::{Change, Pbx};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::alarm::{Alarm, Alarms, Subject};
use crate::ami_side::AmiSide;
use crate::ari_alone;
use crate::asterisk::Asterisk;
use crate::capture::Captures;
use crate::control::{Ask, Asked, Control, Hands};
use crate::inbox::Inbox;
use crate::journal::Journal;
use crate::monitor::Instruments;
use crate::translate;

/// How often a link shows how many calls it has, and what waits.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Where one of a link's two connections stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// It has not been up yet.
    #[default]
    Connecting,
    /// It works.
    Up,
    /// It is lost, or could not be had; it is tried again. The sentence says why.
    Down(String),
    /// It was never up, and only a person can change that: credentials.
    Refused(String),
    /// It works, but the PBX has not what captures need.
    Lacking(String),
    /// Another program took our ARI application over; we do not fight back.
    Replaced(String),
}

impl LinkState {
    /// The word for it in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Down(_) => "down",
            Self::Refused(_) => "refused",
            Self::Lacking(_) => "lacking",
            Self::Replaced(_) => "replaced",
        }
    }

    /// Every word for it.
    pub const NAMES: [&str; 6] = ["connecting", "up", "down", "refused", "lacking", "replaced"];

    /// Why calls cannot be captured over it, if they cannot: one sentence.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Up => None,
            Self::Connecting => Some("it has not been up yet".to_owned()),
            Self::Down(why) | Self::Refused(why) | Self::Lacking(why) | Self::Replaced(why) => Some(why.clone()),
        }
    }
}

/// Both connections of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkReport {
    /// The PBX's name.
    pub(crate) pbx: String,
    /// The Manager Interface.
    pub(crate) ami: LinkState,
    /// The REST Interface.
    pub(crate) ari: LinkState,
}

impl LinkReport {
    /// Why this link cannot work until a person does something.
    pub(crate) fn hopeless(&self) -> Option<&LinkState> {
        let hopeless =
            |s: &&LinkState| matches!(s, LinkState::Refused(_) | LinkState::Lacking(_) | LinkState::Replaced(_));
        [&self.ami, &self.ari].into_iter().find(hopeless)
    }
}

/// One link, ready to run.
pub(crate) struct Link {
    pub(crate) pbx: Pbx,
    pub(crate) board: Switchboard,
    /// Nothing where ARI stands in for it; see [`ari_alone`].
    pub(crate) ami: Option<(aimg_ami::Client, aimg_ami::Events)>,
    pub(crate) ari: (aimg_ari::Client, aimg_ari::Events),
    pub(crate) ari_config: aimg_ari::Config,
    pub(crate) media: Media,
    pub(crate) captures: Captures,
    pub(crate) inbox: (Inbox, mpsc::Receiver<Input>),
    /// Whose the calls are from the next one on, when that changes.
    pub(crate) tenants: watch::Receiver<Tenants>,
    pub(crate) journal: Journal,
    pub(crate) instruments: Instruments,
    pub(crate) clock: Clock,
    pub(crate) report: watch::Sender<LinkReport>,
    pub(crate) drain_timeout: Duration,
    pub(crate) control: Control,
    pub(crate) hands: Hands,
    pub(crate) asks: mpsc::Receiver<Ask>,
}

/// What a running link changes, apart from its event sources.
struct Desk {
    pbx: Pbx,
    board: Switchboard,
    asterisk: Asterisk,
    media: Media,
    captures: Captures,
    inbox: Inbox,
    journal: Journal,
    instruments: Instruments,
    clock: Clock,
    report: watch::Sender<LinkReport>,
    ami_side: AmiSide,
    /// The row that was saved last: its change of state is told next.
    saved: Option<Box<SessionRow>>,
    control: Control,
    hands: Hands,
    asked: Asked,
    /// There is no AMI.
    ari_alone: bool,
}

impl Link {
    /// Runs until `stop` is true and every capture is taken down, or the drain time is over.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut ami = self.ami;
        let (ari_client, mut ari) = self.ari;
        let (inbox, mut inputs) = self.inbox;
        let mut asks = self.asks;
        let mut tenants = self.tenants;
        let (probes, mut probed) = mpsc::channel(1);
        let mut desk = Desk {
            asterisk: Asterisk { ari: ari_client, codec: self.pbx.codec },
            pbx: self.pbx,
            board: self.board,
            media: self.media,
            captures: self.captures,
            inbox,
            journal: self.journal,
            ami_side: AmiSide::telling(self.instruments.alarms.clone()),
            instruments: self.instruments,
            clock: self.clock,
            report: self.report,
            saved: None,
            control: self.control,
            hands: self.hands,
            asked: Asked::default(),
            ari_alone: ami.is_none(),
        };
        let mut give_up: Option<Instant> = None;
        let mut show = tokio::time::interval(SHOW_EVERY);
        loop {
            let tick = desk.next_tick();
            tokio::select! {
                Some(notice) = next_of(&mut ami) => {
                    if let aimg_ami::Notice::Event { event, .. } = &notice {
                        desk.hands.hear_ami(event);
                    }
                    for input in desk.ami_side.inputs(notice, &desk.pbx, &desk.report) {
                        desk.give(input);
                    }
                }
                Some(notice) = ari.next() => {
                    if matches!(notice, aimg_ari::Notice::Up { .. }) {
                        let (config, probes) = (self.ari_config.clone(), probes.clone());
                        tokio::spawn(async move {
                            let _ = probes.send(aimg_ari::probe(&config).await).await;
                        });
                    }
                    desk.ari_notice(notice);
                }
                Some(input) = inputs.recv() => desk.give(input),
                Some(ask) = asks.recv() => desk.ask(ask),
                Ok(()) = tenants.changed() => {
                    let tenants = tenants.borrow_and_update().clone();
                    desk.give(Input::Tenants(tenants));
                }
                Some(result) = probed.recv() => desk.probed(result),
                () = tokio::time::sleep_until(tick) => desk.give(Input::Tick),
                _ = show.tick() => desk.show([ami.as_ref().map_or(0, |(_, events)| events.backlog()), ari.backlog(), inputs.len()]),
                _ = stop.wait_for(|stop| *stop), if give_up.is_none() => {
                    give_up = Some(Instant::now() + self.drain_timeout);
                    desk.give(Input::Stop);
                }
            }
            if let Some(at) = give_up
                && (desk.board.is_quiet() || Instant::now() >= at)
            {
                break;
            }
        }
        desk.hands.tidy().await;
        desk.control.unlinked(desk.pbx.id);
        if let Some((client, _)) = ami {
            client.close();
        }
    }
}

async fn next_of(ami: &mut Option<(aimg_ami::Client, aimg_ami::Events)>) -> Option<aimg_ami::Notice> {
    match ami {
        Some((_, events)) => events.next().await,
        None => None,
    }
}

impl Desk {
    fn next_tick(&self) -> Instant {
        let far = Duration::from_secs(1);
        let until = self.board.next_deadline().map_or(far, |at| at.since(self.clock.now()).min(far));
        Instant::now() + until
    }

    fn ari_notice(&mut self, notice: aimg_ari::Notice) {
        match notice {
            aimg_ari::Notice::Up { channels, bridges } => {
                tracing::info!(pbx.id = %self.pbx.id, pbx = self.pbx.name, app = self.pbx.ari_app, "ARI is up");
                self.report.send_modify(|r| r.ari = LinkState::Up);
                for alarm in [Alarm::AriDown, Alarm::AriReplaced, Alarm::ModuleMissing] {
                    self.alarm(alarm, None);
                }
                let ids = channels.iter().map(|c| c.id.as_str()).chain(bridges.iter().map(|b| b.id.as_str()));
                self.hands.ari_back(ids);
                let bridges = bridges.into_iter().map(|b| b.id);
                let mut inputs = translate::ari_up(&self.pbx.ari_app, &channels, bridges);
                if self.ari_alone {
                    inputs = ari_alone::up(inputs, &channels, |channel| self.board.knows(channel));
                }
                inputs.into_iter().for_each(|input| self.give_from_ari(input));
            }
            aimg_ari::Notice::Event(event) => {
                self.hands.hear_ari(&event.kind);
                let inputs = match self.ari_alone {
                    true => ari_alone::event(event.kind),
                    false => translate::ari_event(event.kind).into_iter().collect(),
                };
                inputs.into_iter().for_each(|input| self.give_from_ari(input));
            }
            aimg_ari::Notice::Down { error, .. } => {
                let refused = matches!(error, aimg_ari::Error::Denied { .. });
                let alarms = &self.instruments.alarms;
                if matches!(error, aimg_ari::Error::StreamOverflow { .. }) {
                    alarms.happened(Alarm::EventsOverflowed, self.subject(), None, &error.to_string());
                }
                report_down(alarms, &self.pbx, &self.report, Alarm::AriDown, &error.to_string(), refused, |r| {
                    &mut r.ari
                });
                self.give(Input::AriDown);
            }
            aimg_ari::Notice::Replaced { error } => {
                self.alarm(Alarm::AriReplaced, Some(error.to_string()));
                self.give(Input::AriDown);
                self.report.send_modify(|r| r.ari = LinkState::Replaced(error.to_string()));
            }
        }
    }

    /// What the PBX lacks for captures shows itself before the first call.
    fn probed(&mut self, result: Result<aimg_ari::Probe, aimg_ari::Error>) {
        if let Err(error @ aimg_ari::Error::ModuleMissing { .. }) = result {
            self.alarm(Alarm::ModuleMissing, Some(error.to_string()));
            self.report.send_modify(|r| r.ari = LinkState::Lacking(error.to_string()));
        }
    }

    /// Where ARI is alone, the application has to be told of which channels it shall hear more.
    fn give_from_ari(&mut self, input: Input) {
        if self.ari_alone {
            let (ari, inbox) = (self.asterisk.ari.clone(), self.inbox.clone());
            let channels = ari_alone::to_be_heard(&input);
            if !channels.is_empty() {
                tokio::spawn(ari_alone::hear(ari, inbox, channels));
            }
        }
        self.give(input);
    }

    fn alarm(&self, alarm: Alarm, why: Option<String>) {
        self.instruments.alarms.set(alarm, self.subject(), why);
    }

    fn subject(&self) -> Subject {
        Subject::pbx(self.pbx.tenant, self.pbx.id)
    }

    /// Shows how many calls there are, and what waits: AMI events, ARI notices, inputs.
    fn show(&mut self, waiting: [usize; 3]) {
        self.asked.look(&self.board);
        self.instruments.tallies.show(self.pbx.tenant, self.pbx.id, &self.board.counts(), waiting);
    }

    /// Counts what happened to a call, and raises the alarm that it may be.
    fn note(&mut self, event: &CallEvent) {
        let CallEvent { tenant, pbx, session, ref kind, .. } = *event;
        self.instruments.tallies.event(Some(tenant), pbx, kind);
        let (alarm, why) = match kind {
            CallEventKind::TapFailed { reason } => {
                self.asked.capture_failed(session, reason);
                (Alarm::CaptureFailed, reason.as_str())
            }
            CallEventKind::RecordingFailed { reason, .. } => (Alarm::RecordingUnfinished, reason.as_str()),
            // One that is not to be captured waits for nothing.
            CallEventKind::HookReleased { ready: false }
                if self.board.call(session).is_some_and(|call| call.record.captured) =>
            {
                (Alarm::HookTimedOut, "its capture was not ready in time")
            }
            _ => return,
        };
        self.instruments.alarms.happened(alarm, Subject::pbx(Some(tenant), pbx), Some(session), why);
    }

    /// Counts a channel that is nobody's, and keeps it for the operator to see.
    fn note_unclaimed(&self, unclaimed: Unclaimed) {
        let Unclaimed { technology, context, why, .. } = &unclaimed;
        tracing::info!(pbx.id = %self.pbx.id, pbx = self.pbx.name, technology, context, reason = why.name(),
            "a channel is nobody's and is not captured");
        if *why == UnclaimedWhy::WrongArgument {
            let reason = format!("a {technology} channel in context {context}");
            self.instruments.alarms.happened(Alarm::HookRefused, self.subject(), None, &reason);
        }
        self.instruments.unclaimed.add(self.pbx.id, unclaimed);
    }

    fn give(&mut self, input: Input) {
        for command in self.board.handle(self.clock.now(), input) {
            self.execute(command);
        }
        self.asked.look(&self.board);
    }

    fn ask(&mut self, ask: Ask) {
        let ari_up = self.report.borrow().ari == LinkState::Up;
        if let Some((session, order)) = self.asked.take(ask, &self.board, ari_up) {
            self.give(Input::CaptureOrdered { session, order });
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Ask(request) => {
                let (asterisk, inbox) = (self.asterisk.clone(), self.inbox.clone());
                tokio::spawn(async move {
                    let outcome = asterisk.ask(&request).await;
                    if let Outcome::Refused(reason) | Outcome::Unknown(reason) = &outcome {
                        tracing::debug!(reason, "a request to Asterisk failed");
                    }
                    inbox.tell(Input::Reply { to: request, outcome }).await;
                });
            }
            Command::ExpectFlow { flow, source } => {
                let (media, inbox) = (self.media.clone(), self.inbox.clone());
                tokio::spawn(async move {
                    let result = crate::source::expect(&media, flow, source).await;
                    inbox.tell(Input::FlowExpecting { flow, result }).await;
                });
            }
            Command::BeginCapture { session, part, channel, adopted, moved_at, by } => {
                match self.captures.admit(&session) {
                    Ok(()) => self.captures.begin(*session, part, channel, adopted, moved_at, by),
                    Err(quota) => {
                        let (inbox, session) = (self.inbox.clone(), session.id);
                        let denied = Input::CaptureDenied { session, part, quota };
                        tokio::spawn(async move { inbox.tell(denied).await });
                    }
                }
            }
            Command::CaptureAnswered { session, part, at } => self.captures.answered(session, part, at),
            Command::EndCapture { session, part, at, call_over, by } => {
                self.captures.end(session, part, at, call_over, by);
            }
            Command::SaveSession(row) => {
                if row.state.is_over() {
                    self.captures.over(row.id);
                }
                self.control.note(&row);
                self.saved = Some(row.clone());
                self.journal.push(Change::Session(row));
            }
            Command::SaveLeg(row) => self.journal.push(Change::Leg(row)),
            Command::Emit(event) => {
                tracing::info!(tenant.id = %event.tenant, pbx.id = %event.pbx, session.id = %event.session,
                    event = event.kind.name(), "{}", event.kind);
                self.note(&event);
                let is_change = matches!(event.kind, CallEventKind::State { .. });
                let call = self.saved.take().filter(|row| is_change && row.id == event.session);
                self.instruments.herald.event(&event, call.as_deref());
                self.journal.push(Change::Event(event));
            }
            Command::Unclaimed(unclaimed) => self.note_unclaimed(unclaimed),
        }
    }
}

/// Reports a lost connection.
pub(crate) fn report_down(
    alarms: &Alarms,
    pbx: &Pbx,
    report: &watch::Sender<LinkReport>,
    alarm: Alarm,
    reason: &str,
    refused: bool,
    side: impl Fn(&mut LinkReport) -> &mut LinkState,
) {
    report.send_modify(|report| {
        let side = side(report);
        let never_up = matches!(side, LinkState::Connecting | LinkState::Refused(_));
        let reason = reason.to_owned();
        *side = if refused && never_up { LinkState::Refused(reason) } else { LinkState::Down(reason) };
    });
    alarms.set(alarm, Subject::pbx(pbx.tenant, pbx.id), Some(reason.to_owned()));
}
