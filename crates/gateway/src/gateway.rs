//! The gateway as a whole: starts everything in the right order, follows the list of PBXs, stops everything.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimg_cluster::Bus;
use aimg_core::{AriLink, TapMode, TenantScope};
use aimg_media::{Clock, Inheritance, Media};
use aimg_recording::SpoolLock;
use aimg_session::Switchboard;
use aimg_store::{Pbx, PbxSecrets, Store};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::backlog::Backlog;
use crate::capture::{Captures, Studio};
use crate::control::{self, ASKS_MAX, Control, Hands};
use crate::disk::Disks;
use crate::ears::Ears;
use crate::herald::Herald;
use crate::inbox::{INBOX_INPUTS, Inbox, Routes};
use crate::journal::Journal;
use crate::link::{Link, LinkReport};
use crate::links::{Links, Running, Wanted, id_seed};
use crate::monitor::{Instruments, LinkWatch, Monitor};
use crate::outage::{DOWN_AFTER, Outages};
use crate::purge::Purge;
use crate::quota::QuotaKeeper;
use crate::recovery::Left;
use crate::scribe::{self, Scribe};
use crate::{AriListen, Config, Error, Parts, ami_config, ari_config, ari_entrance};

/// Recordings that are finished at once.
const FINISHING_MAX: usize = 2;

/// How often the links' reports are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long the spool of a process that was killed may take to be free.
const SPOOL_PATIENCE: Duration = Duration::from_secs(1);

/// The sockets of the media plane, held by a process that outlives this one.
#[derive(Debug)]
pub struct Sockets {
    /// One a shard, as [`aimg_media::bind_ports`] made them.
    pub sockets: Vec<std::net::UdpSocket>,
    /// The clock of all processes that have them, one after the other.
    pub clock: Clock,
    /// They were another gateway's until it died: its captures go on.
    pub takeover: bool,
}

/// How a gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Captures are taken down and their recordings finished.
    Drain,
    /// Everything stays as it is, for the process that takes over: this one must end at once, by [`std::process::exit`].
    HandOver,
}

/// One running node. See [`Gateway::start`].
pub struct Gateway {
    config: Config,
    store: Store,
    studio: Studio,
    monitor: Monitor,
    control: Control,
    left: Left,
    links: Links,
    ari_listener: Option<Arc<aimg_ari::Listener>>,
    id_seed: u64,
    writer: JoinHandle<()>,
    _lock: SpoolLock,
}

impl Gateway {
    /// Takes the spool, opens the media plane and looks for what an earlier run left; nothing is connected yet.
    pub async fn start(config: Config, store: Store, sockets: Sockets, id_seed: u64) -> Result<Self, Error> {
        aimg_recording::check_writable(&config.spool_dir)?;
        aimg_recording::check_writable(&config.recordings_dir)?;
        let lock = take_spool(&config.spool_dir).await?;
        let live_dir = live_dir(&config);
        let mut left = Left::find(&config.spool_dir)?;
        let spools = if sockets.takeover { left.spools(live_dir.as_deref()) } else { Vec::new() };
        let spools_left = spools.len();
        let Sockets { sockets, clock, .. } = sockets;
        let inheritance = Inheritance {
            sockets,
            clock,
            batch_dir: live_dir.clone().unwrap_or_else(|| config.spool_dir.clone()),
            spools,
        };
        let (media, events, resumed) = Media::take_over(config.media.clone(), inheritance)?;
        let herald = Herald::new(Bus::start(aimg_cluster::Limits::default()), media.clock());
        let instruments = Instruments::telling(herald);
        instruments.tallies.leave_flows_behind(spools_left.saturating_sub(resumed.len()));
        let (journal, writer) = Journal::start(store.clone(), instruments.alarms.clone());
        let routes = Routes::default();
        tokio::spawn(routes.clone().carry(events, instruments.clone()));
        let quotas = QuotaKeeper::new(&instruments, journal.clone(), media.clock());
        quotas.read(&store).await;
        let ears = Ears::new(media.clone());
        let scribe = Scribe::new(scribe::Parts {
            providers: config.speech.clone(),
            store: store.clone(),
            journal: journal.clone(),
            herald: instruments.herald.clone(),
            ears: ears.clone(),
            clock: media.clock(),
            node: config.node.clone(),
            recordings_dir: config.recordings_dir.clone(),
        });
        let studio = Studio {
            clock: media.clock(),
            ears,
            media,
            journal,
            instruments,
            routes,
            spool_dir: config.spool_dir.clone(),
            recordings_dir: config.recordings_dir.clone(),
            live_dir,
            finishing: Arc::new(Semaphore::new(FINISHING_MAX)),
            disks: Disks::watch(&config.spool_dir, &config.recordings_dir, config.disk_reserve_bytes).await,
            quotas,
            backlog: Backlog::default(),
            scribe,
        };
        left.resume(&studio, &resumed).await;
        let ari_listener = match &config.ari_listen {
            Some(listen) => Some(Arc::new(listen_for_pbxs(listen).await?)),
            None => None,
        };
        let monitor = Monitor::new(&studio, config.media.flows_max, ari_listener.clone(), config.worker_deaths);
        let links = Links::telling(studio.instruments.alarms.clone());
        let control = Control::new(&config.media_hosts, config.speech.clone(), config.said.clone());
        Ok(Self { config, store, studio, monitor, control, left, links, ari_listener, id_seed, writer, _lock: lock })
    }

    /// The addresses that Asterisk sends audio to, one a shard.
    pub fn media_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.studio.media.stats().shards.iter().map(|s| s.address).collect()
    }

    /// Shows what it does, for as long as somebody looks.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Does things with its calls, for as long as somebody asks.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Where what happens is told, as it happens.
    pub fn bus(&self) -> Bus {
        self.studio.instruments.herald.bus().clone()
    }

    /// Lets people and programs listen to calls, for as long as somebody does.
    pub fn ears(&self) -> Ears {
        self.studio.ears.clone()
    }

    /// Runs until `stop` is done. Ends by itself with an error, and as for [`Stop::Drain`], when no PBX can be used until a
    /// person changes something.
    pub async fn run(mut self, stop: impl Future<Output = Stop>) -> Result<Stop, Error> {
        tokio::pin!(stop);
        let mut follow = tokio::time::interval(self.config.pbxs_every);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut recovering = None;
        let Studio { backlog, .. } = &self.studio;
        let backlog = backlog.clone().work(self.studio.clone(), self.store.clone(), self.config.node.clone());
        let backlog = tokio::spawn(backlog);
        let quotas = tokio::spawn(self.studio.quotas.clone().follow(self.store.clone()));
        let purge = Purge {
            store: self.store.clone(),
            recordings_dir: self.config.recordings_dir.clone(),
            node: self.config.node.clone(),
            clock: self.studio.clock,
        };
        let purge = tokio::spawn(purge.work());
        self.studio.scribe.start();
        let end = loop {
            tokio::select! {
                stop = &mut stop => break Ok(stop),
                _ = follow.tick() => {
                    if let Err(error) = self.follow_pbxs().await {
                        tracing::error!(%error, "the list of PBXs could not be read");
                    }
                    // Calls first: what an earlier run left has waited already.
                    if recovering.is_none() {
                        let left = std::mem::take(&mut self.left);
                        recovering = Some(tokio::spawn(left.finish(self.studio.clone(), self.store.clone(), self.config.node.clone())));
                    }
                }
                _ = look.tick() => self.monitor.look(Instant::now()),
            }
            if let Some(error) = self.links.hopeless() {
                break Err(error);
            }
        };
        if matches!(end, Ok(Stop::HandOver)) {
            self.studio.journal.flush().await;
            // Whatever were dropped here would take its captures down in the moment that is left: links and captures take
            // the end of those who hold them for a stop. The caller ends the process.
            std::mem::forget(self);
            return Ok(Stop::HandOver);
        }
        self.links.stop().await;
        // What still waits for the disk is left to the next run.
        for task in [backlog, quotas, purge] {
            task.abort();
            let _ = task.await;
        }
        if let Some(recovering) = recovering {
            let _ = recovering.await;
        }
        self.studio.scribe.stop().await;
        let Self { studio, writer, .. } = self;
        let live_dir = studio.live_dir.clone();
        let counts = studio.journal.counts();
        drop(studio);
        let _ = writer.await;
        if let Some(dir) = live_dir {
            give_back(&dir);
        }
        tracing::info!(
            rows.written = counts.written,
            rows.overflowed = counts.overflowed,
            rows.refused = counts.refused,
            rows.retried = counts.retried,
            "stopped"
        );
        end
    }

    /// Starts links to PBXs that were added or enabled, and stops those of the others.
    async fn follow_pbxs(&mut self) -> Result<(), Error> {
        let lacking = self.links.follow(&self.store, self.config.tenants.as_deref()).await?;
        self.monitor.retain_links(|pbx| self.links.is_running(pbx));
        for wanted in lacking {
            let link = self.link(&wanted).await;
            self.links.add(&wanted.pbx, link);
        }
        Ok(())
    }

    async fn link(&mut self, wanted: &Wanted) -> Result<Running, Error> {
        let (tenants, pbx) = (wanted.terms.tenants()?, wanted.pbx.clone());
        let secrets = self.store.pbx_secrets(TenantScope::Operator, pbx.id).await?;
        let ari_config = ari_config(&pbx, &secrets).map_err(aimg_ari::Error::from)?;
        let ari_alone = self.config.parts == Parts::AriAlone;
        if ari_alone && pbx.tap_mode == TapMode::Ami {
            tracing::warn!(pbx.id = %pbx.id, pbx = pbx.name, "this PBX is tapped by ami, and there is no AMI here: calls are seen \
                that pass Stasis({},tap), and no others", pbx.ari_app);
        }
        let mut board = Switchboard::new(aimg_session::Config {
            node: self.config.node.clone(),
            tenants: tenants.clone(),
            pbx: pbx.id,
            // Nobody tells of a Newchannel without AMI.
            tap_mode: if ari_alone { TapMode::Hook } else { pbx.tap_mode },
            inbound_contexts: pbx.inbound_contexts.clone(),
            hook_timeout: self.config.hook_timeout,
            taps_max: self.config.taps_max,
            id_seed: id_seed(self.id_seed, pbx.id),
        });
        let (known, running) = self.left.calls(&self.store, &self.config.node, pbx.id).await?;
        known.iter().for_each(|call| self.control.note(&call.record));
        board.handle(self.studio.clock.now(), aimg_session::Input::Known(known));
        let (inbox, inputs) = Inbox::new();
        let mut captures = Captures::new(self.studio.clone(), pbx.codec, inbox.clone());
        running.into_iter().for_each(|manifest| captures.resume(manifest));
        let (report, watched) = watch::channel(LinkReport { pbx: pbx.name.clone(), ..LinkReport::default() });
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(self.studio.instruments.herald.clone().follow(pbx.tenant, pbx.id, watched.clone()));
        let outages = Outages {
            journal: self.studio.journal.clone(),
            clock: self.studio.clock,
            node: self.config.node.clone(),
            tenants: pbx.tenant.into_iter().collect(),
            pbx: pbx.id,
            ari_alone,
        };
        tokio::spawn(outages.tell(watched.clone(), DOWN_AFTER));
        let row_of = pbx.changed_at;
        let ari = self.ari_client(&pbx, &secrets, &ari_config)?;
        let ami_config = ami_config(&pbx, &secrets);
        let waiting_max = [ami_config.events_max, ari_config.events_max, INBOX_INPUTS];
        let ami = (!ari_alone).then(|| aimg_ami::Client::start(ami_config));
        let (tenants, other_tenants) = watch::channel(tenants);
        let (tenant, name) = (pbx.tenant, pbx.name.clone());
        let (ami_client, ari_client) = (ami.as_ref().map(|(client, _)| client.clone()), ari.0.clone());
        let shown = LinkWatch { tenant, name, ami: ami_client, ari: ari_client, report: watched.clone(), waiting_max };
        self.monitor.add_link(pbx.id, shown);
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let hands = Hands::new(control::Parts {
            tenant: pbx.tenant,
            node: self.config.node.clone(),
            ami: ami.as_ref().map(|(client, _)| client.clone()),
            ari: ari.0.clone(),
            asks,
            media_hosts: self.control.media_hosts(),
            seed: self.id_seed,
        });
        self.control.linked(pbx.id, hands.clone());
        let link = Link {
            board,
            ami,
            ari,
            ari_config,
            media: self.studio.media.clone(),
            captures,
            inbox: (inbox, inputs),
            tenants: other_tenants,
            journal: self.studio.journal.clone(),
            instruments: self.studio.instruments.clone(),
            clock: self.studio.clock,
            report,
            drain_timeout: self.config.drain_timeout,
            control: self.control.clone(),
            hands,
            asks: asked,
            pbx,
        };
        let (terms, task) = (wanted.terms.clone(), tokio::spawn(link.run(stopped)));
        Ok(Running { row_of, terms, tenants, stop, report: watched, task })
    }

    fn ari_client(
        &self,
        pbx: &Pbx,
        secrets: &PbxSecrets,
        config: &aimg_ari::Config,
    ) -> Result<(aimg_ari::Client, aimg_ari::Events), Error> {
        if pbx.ari_link == AriLink::Connect {
            return Ok(aimg_ari::Client::start(config.clone())?);
        }
        let no_listener = || Error::NoAriListener { pbx: pbx.name.clone() };
        let (listener, entrance) = (self.ari_listener.as_ref().ok_or_else(no_listener)?, ari_entrance(pbx, secrets));
        let client = aimg_ari::Client::accept(config.clone(), listener, &entrance)?;
        tracing::info!(pbx.id = %pbx.id, pbx = pbx.name, address = %listener.address(), path = entrance.path,
            "Asterisk is expected to open ARI's event stream");
        Ok(client)
    }
}

async fn listen_for_pbxs(listen: &AriListen) -> Result<aimg_ari::Listener, Error> {
    let address = listen.address;
    let tls = listen.tls.as_ref().map(|[certificate, key]| aimg_tls::server_config(certificate, key)).transpose()?;
    aimg_ari::Listener::bind(address, tls).await.map_err(|source| Error::AriListen { address, source })
}

/// Where the ends of spools are in memory.
fn live_dir(config: &Config) -> Option<PathBuf> {
    let base = config.memory_dir.as_deref()?;
    let dir = aimg_media::live_dir(base, &config.spool_dir);
    dir.inspect_err(|error| tracing::warn!(%error, "a disk that hangs will cost packets: spools cannot be in memory"))
        .ok()
}

/// Removes the memory of a gateway that has stopped, but for what is not on the disk yet.
fn give_back(live_dir: &Path) {
    let files = std::fs::read_dir(live_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for batch in files.filter(|path| path.extension().is_some_and(|e| e == "batch")) {
        let _ = std::fs::remove_file(batch);
    }
    // Refused while the end of a spool is in it.
    let _ = std::fs::remove_dir(live_dir);
}

/// Takes the spool directory for this process. One that was killed a moment ago may not have let go of it yet.
pub(crate) async fn take_spool(spool_dir: &Path) -> Result<SpoolLock, Error> {
    let until = Instant::now() + SPOOL_PATIENCE;
    loop {
        match SpoolLock::acquire(spool_dir) {
            Err(aimg_recording::Error::SpoolTaken { .. }) if Instant::now() < until => {
                tokio::time::sleep(LOOK_EVERY / 10).await;
            }
            taken => return Ok(taken?),
        }
    }
}
