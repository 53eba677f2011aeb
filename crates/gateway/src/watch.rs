//! AMI alone: every call is seen and its session kept, and nothing is captured.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aimg_core::{CallEvent, NodeId, TenantId, TenantScope};
use aimg_media::Clock;
use aimg_recording::SpoolLock;
use aimg_session::{CaptureRule, Command, Input, Switchboard, Tenants, Unclaimed};
use aimg_store::{Change, Pbx, Store};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::alarm::Alarms;
use crate::ami_side::AmiSide;
use crate::gateway::{LOOK_EVERY, take_spool};
use crate::journal::Journal;
use crate::link::LinkReport;
use crate::links::{Links, Running, Wanted, id_seed};
use crate::recovery::Left;
use crate::{Error, ami_config};

/// Events that may wait to be shown; what finds no room is stored all the same.
pub const SEEN_MAX: usize = 4_096;

/// The settings of a [`Watch`].
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// This node.
    pub node: NodeId,
    /// The tenants whose PBXs are followed; nothing for all of them.
    pub tenants: Option<Vec<TenantId>>,
    /// Nothing is spooled; who holds this directory keeps the sessions of its installation.
    pub spool_dir: PathBuf,
    /// How often the list of PBXs is read from the store again.
    pub pbxs_every: Duration,
}

/// An event, to be shown.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// The PBX's name.
    pub pbx_name: String,
    /// What happened.
    #[serde(flatten)]
    pub event: CallEvent,
}

/// Follows PBXs by AMI.
pub struct Watch {
    config: WatchConfig,
    store: Store,
    journal: Journal,
    writer: JoinHandle<()>,
    links: Links,
    show: Show,
    clock: Clock,
    id_seed: u64,
    _lock: SpoolLock,
}

/// The way to whoever shows events.
#[derive(Clone, Debug)]
struct Show {
    events: mpsc::Sender<Seen>,
    missed: Arc<AtomicU64>,
}

impl Watch {
    /// Takes the installation; nothing is connected yet. What is seen comes out of the receiver; whoever does not take it misses
    /// it, and no call waits.
    pub async fn start(config: WatchConfig, store: Store, id_seed: u64) -> Result<(Self, mpsc::Receiver<Seen>), Error> {
        let lock = take_spool(&config.spool_dir).await?;
        let (journal, writer) = Journal::start(store.clone(), Alarms::default());
        let (events, seen) = mpsc::channel(SEEN_MAX);
        let show = Show { events, missed: Arc::default() };
        let (links, clock) = (Links::default(), Clock::anchored());
        Ok((Self { config, store, journal, writer, links, show, clock, id_seed, _lock: lock }, seen))
    }

    /// Runs until `stop` is done, or with an error when no PBX can be used until a person changes something. Returns how many
    /// events were not shown.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<u64, Error> {
        tokio::pin!(stop);
        let mut follow = tokio::time::interval(self.config.pbxs_every);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let end = loop {
            tokio::select! {
                () = &mut stop => break Ok(()),
                _ = follow.tick() => {
                    if let Err(error) = self.follow_pbxs().await {
                        tracing::error!(%error, "the list of PBXs could not be read");
                    }
                }
                _ = look.tick() => {}
            }
            if let Some(error) = self.links.hopeless() {
                break Err(error);
            }
        };
        self.links.stop().await;
        let Self { journal, writer, show, .. } = self;
        drop(journal);
        let _ = writer.await;
        end.map(|()| show.missed.load(Ordering::Relaxed))
    }

    async fn follow_pbxs(&mut self) -> Result<(), Error> {
        for wanted in self.links.follow(&self.store, self.config.tenants.as_deref()).await? {
            let link = self.link(&wanted).await;
            self.links.add(&wanted.pbx, link);
        }
        Ok(())
    }

    async fn link(&self, wanted: &Wanted) -> Result<Running, Error> {
        let pbx = wanted.pbx.clone();
        let secrets = self.store.pbx_secrets(TenantScope::Operator, pbx.id).await?;
        let mut board = Switchboard::new(aimg_session::Config {
            node: self.config.node.clone(),
            tenants: uncaptured(wanted.terms.tenants()?),
            pbx: pbx.id,
            tap_mode: pbx.tap_mode,
            inbound_contexts: pbx.inbound_contexts.clone(),
            hook_timeout: Duration::ZERO,
            taps_max: 0,
            id_seed: id_seed(self.id_seed, pbx.id),
        });
        // Of an earlier run there can be sessions; captures that go on are a gateway's business.
        let (known, _) = Left::default().calls(&self.store, &self.config.node, pbx.id).await?;
        board.handle(self.clock.now(), Input::Known(known));
        let (report, watched) = watch::channel(LinkReport { pbx: pbx.name.clone(), ..LinkReport::default() });
        let (stop, stopped) = watch::channel(false);
        let desk =
            Desk { board, journal: self.journal.clone(), show: self.show.clone(), clock: self.clock, report, pbx };
        let ami = aimg_ami::Client::start(ami_config(&desk.pbx, &secrets));
        let (tenants, other_tenants) = watch::channel(wanted.terms.tenants()?);
        let (row_of, terms) = (desk.pbx.changed_at, wanted.terms.clone());
        let task = tokio::spawn(desk.run(ami, other_tenants, stopped));
        Ok(Running { row_of, terms, tenants, stop, report: watched, task })
    }
}

/// The same tenants, none of whose calls is captured.
fn uncaptured(mut tenants: Tenants) -> Tenants {
    match &mut tenants {
        Tenants::Dedicated { rule, .. } => *rule = CaptureRule::None,
        Tenants::Shared { served, .. } => served.values_mut().for_each(|rule| *rule = CaptureRule::None),
    }
    tenants
}

/// What one PBX's link works on.
struct Desk {
    pbx: Pbx,
    board: Switchboard,
    journal: Journal,
    show: Show,
    clock: Clock,
    report: watch::Sender<LinkReport>,
}

impl Desk {
    async fn run(
        mut self,
        ami: (aimg_ami::Client, aimg_ami::Events),
        mut tenants: watch::Receiver<Tenants>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (client, mut events) = ami;
        let mut side = AmiSide::default();
        loop {
            tokio::select! {
                Some(notice) = events.next() => {
                    for input in side.inputs(notice, &self.pbx, &self.report) {
                        self.give(input);
                    }
                }
                Ok(()) = tenants.changed() => {
                    let tenants = uncaptured(tenants.borrow_and_update().clone());
                    self.give(Input::Tenants(tenants));
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        client.close();
    }

    /// Without ARI the reducer commands nothing but rows and events, and has no deadlines.
    fn give(&mut self, input: Input) {
        for command in self.board.handle(self.clock.now(), input) {
            match command {
                Command::SaveSession(row) => self.journal.push(Change::Session(row)),
                Command::SaveLeg(row) => self.journal.push(Change::Leg(row)),
                Command::Emit(event) => {
                    self.show.event(&self.pbx.name, &event);
                    self.journal.push(Change::Event(event));
                }
                // Told when it is gone: time passes for nobody here.
                Command::Unclaimed(unclaimed) => {
                    let Unclaimed { technology, context, why, .. } = unclaimed;
                    tracing::info!(pbx.id = %self.pbx.id, pbx = self.pbx.name, technology, context, reason = why.name(),
                        "a channel is nobody's");
                }
                other => tracing::debug!(command = ?other, "nobody here can do this"),
            }
        }
    }
}

impl Show {
    fn event(&self, pbx: &str, event: &CallEvent) {
        let seen = Seen { pbx_name: pbx.to_owned(), event: event.clone() };
        if self.events.try_send(seen).is_err() && self.missed.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
            tracing::warn!(waiting = SEEN_MAX, "events are not shown: they come faster than they are taken");
        }
    }
}
