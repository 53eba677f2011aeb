//! A link: the live AMI and ARI connections of this node to one PBX, and the reducer that they feed.

use std::time::Duration;

use aimg_media::{Clock, Media};
use aimg_session::{Command, Input, Outcome, Switchboard};
use aimg_store::{Change, Pbx};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::ami_side::AmiSide;
use crate::ari_alone;
use crate::asterisk::Asterisk;
use crate::capture::Captures;
use crate::inbox::Inbox;
use crate::journal::Journal;
use crate::translate;

/// Where one of a link's two connections stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkState {
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
    pub(crate) journal: Journal,
    pub(crate) clock: Clock,
    pub(crate) report: watch::Sender<LinkReport>,
    pub(crate) drain_timeout: Duration,
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
    clock: Clock,
    report: watch::Sender<LinkReport>,
    ami_side: AmiSide,
    /// There is no AMI.
    ari_alone: bool,
}

impl Link {
    /// Runs until `stop` is true and every capture is taken down, or the drain time is over.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut ami = self.ami;
        let (ari_client, mut ari) = self.ari;
        let (inbox, mut inputs) = self.inbox;
        let (probes, mut probed) = mpsc::channel(1);
        let mut desk = Desk {
            asterisk: Asterisk { ari: ari_client, codec: self.pbx.codec },
            pbx: self.pbx,
            board: self.board,
            media: self.media,
            captures: self.captures,
            inbox,
            journal: self.journal,
            clock: self.clock,
            report: self.report,
            ami_side: AmiSide::default(),
            ari_alone: ami.is_none(),
        };
        let mut give_up: Option<Instant> = None;
        loop {
            let tick = desk.next_tick();
            tokio::select! {
                Some(notice) = next_of(&mut ami) => {
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
                Some(result) = probed.recv() => desk.probed(result),
                () = tokio::time::sleep_until(tick) => desk.give(Input::Tick),
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
                let bridges = bridges.into_iter().map(|b| b.id);
                let mut inputs = translate::ari_up(&self.pbx.ari_app, &channels, bridges);
                if self.ari_alone {
                    inputs = ari_alone::up(inputs, &channels, |channel| self.board.knows(channel));
                }
                inputs.into_iter().for_each(|input| self.give_from_ari(input));
            }
            aimg_ari::Notice::Event(event) => {
                let inputs = match self.ari_alone {
                    true => ari_alone::event(event.kind),
                    false => translate::ari_event(event.kind).into_iter().collect(),
                };
                inputs.into_iter().for_each(|input| self.give_from_ari(input));
            }
            aimg_ari::Notice::Down { error, .. } => {
                let refused = matches!(error, aimg_ari::Error::Denied { .. });
                report_down(&self.pbx, &self.report, "ARI", &error.to_string(), refused, |r| &mut r.ari);
                self.give(Input::AriDown);
            }
            aimg_ari::Notice::Replaced { error } => {
                tracing::error!(pbx.id = %self.pbx.id, pbx = self.pbx.name, %error, "no more calls of this PBX can be captured");
                self.give(Input::AriDown);
                self.report.send_modify(|r| r.ari = LinkState::Replaced(error.to_string()));
            }
        }
    }

    /// What the PBX lacks for captures shows itself before the first call.
    fn probed(&mut self, result: Result<aimg_ari::Probe, aimg_ari::Error>) {
        if let Err(error @ aimg_ari::Error::ModuleMissing { .. }) = result {
            tracing::error!(pbx.id = %self.pbx.id, pbx = self.pbx.name, %error, "calls on this PBX cannot be captured");
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

    fn give(&mut self, input: Input) {
        for command in self.board.handle(self.clock.now(), input) {
            self.execute(command);
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
                    let result = media.expect(flow, source).await.map_err(|e| e.to_string());
                    inbox.tell(Input::FlowExpecting { flow, result }).await;
                });
            }
            Command::BeginCapture { session, part, channel, adopted } => {
                self.captures.begin(*session, part, channel, adopted);
            }
            Command::CaptureAnswered { session, part, at } => self.captures.answered(session, part, at),
            Command::EndCapture { session, part, at, call_over } => self.captures.end(session, part, at, call_over),
            Command::SaveSession(row) => self.journal.push(Change::Session(row)),
            Command::SaveLeg(row) => self.journal.push(Change::Leg(row)),
            Command::Emit(event) => {
                tracing::info!(tenant.id = %event.tenant, pbx.id = %event.pbx, session.id = %event.session,
                    event = event.kind.name(), "{}", event.kind);
                self.journal.push(Change::Event(event));
            }
        }
    }
}

/// Reports a lost connection once for each reason.
pub(crate) fn report_down(
    pbx: &Pbx,
    report: &watch::Sender<LinkReport>,
    which: &str,
    reason: &str,
    refused: bool,
    side: impl Fn(&mut LinkReport) -> &mut LinkState,
) {
    let mut was = LinkState::Connecting;
    report.send_modify(|report| {
        let side = side(report);
        was = side.clone();
        let never_up = matches!(was, LinkState::Connecting | LinkState::Refused(_));
        *side = if refused && never_up { LinkState::Refused(reason.into()) } else { LinkState::Down(reason.into()) };
    });
    if !matches!(&was, LinkState::Down(before) | LinkState::Refused(before) if before == reason) {
        tracing::warn!(pbx.id = %pbx.id, pbx = pbx.name, reason, "{which} is down");
    }
}
