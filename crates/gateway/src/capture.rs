//! Captures: the flows of one part of a session, from their opening to the finished recording.
//!
//! Each capture is one task that owns its state. The first audio can be a few milliseconds away when it begins, so nothing
//! that may wait for the disk stands between the command and the open flows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aimg_core::{CaptureOrder, Codec, Direction, FlowId, QuotaKind, SessionId, SessionRow, Timestamp, Uniqueid};
use aimg_media::{Clock, FlowSpec, LeftSpool, Media, SNAPSHOT_AGE_MAX};
use aimg_recording::{Finished, Manifest, PartDir};
use aimg_rtp::Ledger;
use aimg_session::Input;
use aimg_store::{Change, RecordingRow};
use tokio::sync::{Semaphore, mpsc};

use crate::backlog::Backlog;
use crate::disk::Disks;
use crate::ears::Ears;
use crate::inbox::{Inbox, Routes, SessionClass};
use crate::journal::Journal;
use crate::monitor::Instruments;
use crate::quota::{QuotaKeeper, Slot};
use crate::scribe::Scribe;

/// How often the ledgers of a running capture are written down for those who watch.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// A source that has sent nothing for so long has stopped: five packets' time, on top of how old what is shown may be.
const STOPPED_AFTER: Duration = Duration::from_millis(100).saturating_add(SNAPSHOT_AGE_MAX);
/// How long a capture waits for its sources to stop, at most. Asterisk 16 alone takes up to 200 ms to delete a channel
/// (issue #362).
const STOPPING_TIME_MAX: Duration = Duration::from_secs(1);
/// How often it looks.
const STOPPING_LOOK_EVERY: Duration = Duration::from_millis(20);
/// Orders that one capture is ever given: answered, end.
const ORDERS: usize = 2;

/// What all captures of a node share.
#[derive(Clone, Debug)]
pub(crate) struct Studio {
    pub(crate) media: Media,
    pub(crate) journal: Journal,
    pub(crate) instruments: Instruments,
    /// Who listens is told of each part.
    pub(crate) ears: Ears,
    pub(crate) routes: Routes,
    pub(crate) clock: Clock,
    pub(crate) spool_dir: PathBuf,
    pub(crate) recordings_dir: PathBuf,
    /// Where the ends of spools are in memory, if they are.
    pub(crate) live_dir: Option<PathBuf>,
    /// Recordings finished at once: each reads and writes the disk as fast as it can.
    pub(crate) finishing: Arc<Semaphore>,
    pub(crate) disks: Disks,
    /// How much of it each tenant may have.
    pub(crate) quotas: QuotaKeeper,
    /// Recordings that the disk did not take.
    pub(crate) backlog: Backlog,
    /// Who makes text of it.
    pub(crate) scribe: Scribe,
}

/// What a capture is told while it runs.
#[derive(Debug)]
enum Order {
    Answered(Timestamp),
    End { at: Timestamp, call_over: bool, by: Option<CaptureOrder> },
}

/// The captures of one link.
#[derive(Debug)]
pub(crate) struct Captures {
    studio: Studio,
    codec: Codec,
    inbox: Inbox,
    running: HashMap<(SessionId, u16), mpsc::Sender<Order>>,
    /// Of each session that was captured here and is not over.
    slots: HashMap<SessionId, Slot>,
}

impl Captures {
    pub(crate) fn new(studio: Studio, codec: Codec, inbox: Inbox) -> Self {
        Self { studio, codec, inbox, running: HashMap::new(), slots: HashMap::new() }
    }

    /// Whether its tenant's quota lets a session be captured. One that once was may be again until it is over.
    pub(crate) fn admit(&mut self, session: &SessionRow) -> Result<(), QuotaKind> {
        if self.slots.contains_key(&session.id) {
            return Ok(());
        }
        let keeper = &self.studio.quotas;
        let slot = keeper.quotas.admit(Instant::now(), session.tenant, session.id).map_err(|denied| {
            if let Some(news) = denied.news {
                keeper.tell(news);
            }
            denied.quota
        })?;
        self.slots.insert(session.id, slot);
        Ok(())
    }

    /// The session is over.
    pub(crate) fn over(&mut self, session: SessionId) {
        self.slots.remove(&session);
        self.studio.ears.over(session);
    }

    /// Opens both flows; `Input::CaptureOpened` tells how that went.
    pub(crate) fn begin(
        &mut self,
        session: SessionRow,
        part: u16,
        channel: Uniqueid,
        adopted: bool,
        moved_at: Option<Timestamp>,
        by: Option<CaptureOrder>,
    ) {
        let (sender, orders) = mpsc::channel(ORDERS);
        self.running.retain(|_, capture| !capture.is_closed());
        self.running.insert((session.id, part), sender);
        let manifest = Manifest {
            tenant: session.tenant,
            pbx: session.pbx,
            session: session.id,
            part,
            node: session.node.clone(),
            channel: Some(channel),
            codec: self.codec,
            opened_at: self.studio.clock.now(),
            answered_at: session.answered_at,
            ended_at: None,
            adopted,
            moved_at,
            begun_by: by,
            ended_by: None,
        };
        tokio::spawn(run(self.studio.clone(), session, manifest, self.inbox.clone(), orders));
    }

    /// Goes on with a capture whose flows were taken over from an earlier process.
    pub(crate) fn resume(&mut self, manifest: Manifest) {
        let (sender, orders) = mpsc::channel(ORDERS);
        let slot = self.studio.quotas.quotas.keep(manifest.tenant, manifest.session);
        self.slots.insert(manifest.session, slot);
        self.running.insert((manifest.session, manifest.part), sender);
        self.studio.routes.insert(manifest.session, self.inbox.clone(), class_of(&manifest));
        self.studio.ears.opened(manifest.tenant, manifest.session, manifest.part, manifest.codec);
        tokio::spawn(carry_on(self.studio.clone(), manifest, self.inbox.clone(), orders));
    }

    pub(crate) fn answered(&mut self, session: SessionId, part: u16, at: Timestamp) {
        self.order(session, part, Order::Answered(at));
    }

    /// Closes both flows and finishes the recording; `Input::CaptureClosed` tells how that went.
    pub(crate) fn end(
        &mut self,
        session: SessionId,
        part: u16,
        at: Timestamp,
        call_over: bool,
        by: Option<CaptureOrder>,
    ) {
        self.order(session, part, Order::End { at, call_over, by });
        self.running.remove(&(session, part));
    }

    fn order(&mut self, session: SessionId, part: u16, order: Order) {
        if let Some(capture) = self.running.get(&(session, part)) {
            // No room means that the capture has ended by itself: it is never given more orders than fit.
            if capture.try_send(order).is_err() {
                self.studio.instruments.tallies.unclaimed_order();
            }
        }
    }
}

async fn run(studio: Studio, row: SessionRow, manifest: Manifest, inbox: Inbox, orders: mpsc::Receiver<Order>) {
    let (session, part) = (manifest.session, manifest.part);
    let dir = manifest.part_dir(&studio.spool_dir);
    studio.routes.insert(session, inbox.clone(), class_of(&manifest));
    match open(&studio, &manifest, &dir).await {
        Ok(addresses) => {
            studio.ears.opened(manifest.tenant, session, part, manifest.codec);
            studio.scribe.follow(row, part, manifest.codec);
            inbox.tell(Input::CaptureOpened { session, part, result: Ok(addresses) }).await;
        }
        Err(why) => {
            studio.routes.remove(session);
            return inbox.tell(Input::CaptureOpened { session, part, result: Err(why) }).await;
        }
    }
    store_manifest(&manifest, &dir).await;
    carry_on(studio, manifest, inbox, orders).await;
}

/// From the open flows to the finished recording.
async fn carry_on(studio: Studio, mut manifest: Manifest, inbox: Inbox, mut orders: mpsc::Receiver<Order>) {
    let (session, part) = (manifest.session, manifest.part);
    let dir = manifest.part_dir(&studio.spool_dir);
    attend(&studio, &mut manifest, &dir, &mut orders).await;
    run_dry(&studio, session, part).await;
    let ledgers = close(&studio, session, part).await;
    studio.ears.closed(session, part);
    studio.journal.push(live_change(&manifest, ledgers));
    store_manifest(&manifest, &dir).await;
    let result = finish(&studio, &manifest, dir).await;
    studio.routes.remove(session);
    inbox.tell(Input::CaptureClosed { session, part, result }).await;
}

async fn open(studio: &Studio, manifest: &Manifest, dir: &PartDir) -> Result<[SocketAddr; 2], String> {
    studio.disks.admit()?;
    dir.create().map_err(|e| e.to_string())?;
    let open = |direction| {
        let meta = aimg_spool::FlowMeta {
            tenant: manifest.tenant,
            pbx: manifest.pbx,
            session: manifest.session,
            part: manifest.part,
            direction,
            codec: manifest.codec,
            opened_at: manifest.opened_at,
        };
        let LeftSpool { path: spool_path, live_path } = spool_of(dir, direction, studio.live_dir.as_deref());
        studio.media.open(FlowSpec { meta, spool_path, live_path })
    };
    let (caller, callee) = tokio::join!(open(Direction::Caller), open(Direction::Callee));
    match (caller, callee) {
        (Ok(caller), Ok(callee)) => Ok([caller, callee]),
        (caller, callee) => {
            close(studio, manifest.session, manifest.part).await;
            // Nothing was received: an empty recording would only confuse.
            if let Err(error) = dir.discard() {
                tracing::warn!(session.id = %manifest.session, %error, "an unused spool could not be removed");
            }
            Err(caller.err().or(callee.err()).map_or_else(String::new, |e| e.to_string()))
        }
    }
}

/// Until the capture is to end. A link that is gone gives no orders any more: that ends it too.
async fn attend(studio: &Studio, manifest: &mut Manifest, dir: &PartDir, orders: &mut mpsc::Receiver<Order>) {
    let mut live = tokio::time::interval(LIVE_EVERY);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Answered(at)) => {
                    manifest.answered_at = Some(at);
                    store_manifest(manifest, dir).await;
                }
                Some(Order::End { at, call_over, by }) => {
                    manifest.ended_at = (call_over || by.is_some()).then_some(at);
                    manifest.ended_by = by;
                    return;
                }
                None => return,
            },
            _ = live.tick() => {
                let ledgers = Direction::BOTH.map(|direction| {
                    let flow = FlowId { session: manifest.session, part: manifest.part, direction };
                    studio.media.flow(flow).map(|snapshot| snapshot.ledger)
                });
                studio.journal.push(live_change(manifest, ledgers));
            }
        }
    }
}

/// Waits until Asterisk sends nothing more. The word of a hangup comes over another connection than the audio and can
/// overtake its last packets, and channels of ours that are being deleted send until they are.
async fn run_dry(studio: &Studio, session: SessionId, part: u16) {
    let until = Instant::now() + STOPPING_TIME_MAX;
    let stopped = |direction| {
        let flow = studio.media.flow(FlowId { session, part, direction });
        let last_packet_at = flow.and_then(|snapshot| snapshot.last_packet_at);
        last_packet_at.is_none_or(|at| studio.clock.now().since(at) >= STOPPED_AFTER)
    };
    while !Direction::BOTH.into_iter().all(stopped) && Instant::now() < until {
        tokio::time::sleep(STOPPING_LOOK_EVERY).await;
    }
}

fn live_change(manifest: &Manifest, [caller, callee]: [Option<Ledger>; 2]) -> Change {
    let ledgers = serde_json::json!({ "part": manifest.part, "caller": caller, "callee": callee });
    Change::Live { tenant: manifest.tenant, session: manifest.session, ledgers }
}

/// Closes both flows; their last ledgers, where they were open.
pub(crate) async fn close(studio: &Studio, session: SessionId, part: u16) -> [Option<Ledger>; 2] {
    let close = |direction| studio.media.close(FlowId { session, part, direction });
    let (caller, callee) = tokio::join!(close(Direction::Caller), close(Direction::Callee));
    [caller, callee].map(|closed| match closed {
        Ok(closed) => Some(closed.ledger),
        Err(aimg_media::Error::UnknownFlow { .. }) => None,
        Err(error) => {
            tracing::error!(session.id = %session, %error, "a flow did not close cleanly, what it received is kept");
            None
        }
    })
}

/// Writes the manifest. Should that fail, the recording is still made, from what the spool itself tells.
pub(crate) async fn store_manifest(manifest: &Manifest, dir: &PartDir) {
    let (manifest, dir) = (manifest.clone(), dir.clone());
    let session = manifest.session;
    match tokio::task::spawn_blocking(move || manifest.store(&dir)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(session.id = %session, %error, "the manifest of a capture could not be written")
        }
        Err(error) => tracing::error!(session.id = %session, %error, "writing a manifest broke off"),
    }
}

/// Why a recording could not be finished; its spool is there.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// One sentence.
    pub(crate) reason: String,
    /// Whether trying again may help.
    pub(crate) is_passing: bool,
}

/// Makes the recording, writes its row, and only then removes the spool.
async fn finish(studio: &Studio, manifest: &Manifest, dir: PartDir) -> Result<bool, String> {
    let finished = match make_recording(studio, dir.clone()).await {
        Ok(finished) => finished,
        Err(Unfinished { reason, is_passing: true }) => {
            studio.backlog.keep(dir, Some(manifest.clone()));
            return Err(format!("{reason}; it is tried again when the disk has room"));
        }
        Err(Unfinished { reason, .. }) => return Err(reason),
    };
    let complete = finished.certificate.complete;
    studio.journal.write(Change::Recording(recording_row(&finished, studio.clock.now()))).await;
    if let Err(error) = dir.discard() {
        tracing::warn!(session.id = %manifest.session, %error, "the spool of a finished recording could not be removed");
    }
    Ok(complete)
}

/// Puts all of a spool on the disk. A flow that closed well, and one that was never in memory, has it there.
fn bring_home(spool: &LeftSpool) -> Result<(), Unfinished> {
    let Some(live_path) = &spool.live_path else { return Ok(()) };
    aimg_media::bring_home(live_path, &spool.path).map_err(|e| Unfinished {
        reason: format!("the end of the spool {} is in memory and cannot be written: {e}", spool.path.display()),
        is_passing: true,
    })
}

/// Where the spool of a direction is.
pub(crate) fn spool_of(dir: &PartDir, direction: Direction, live_dir: Option<&Path>) -> LeftSpool {
    let name = || format!("{}.{}.{direction}.spool", dir.session(), dir.part());
    LeftSpool { path: dir.spool_path(direction), live_path: live_dir.map(|live| live.join(name())) }
}

/// Finishes one part directory on a thread that may wait for the disk.
pub(crate) async fn make_recording(studio: &Studio, dir: PartDir) -> Result<Finished, Unfinished> {
    let _waiting = Waiting::begin(&studio.instruments.finishing);
    let tallies = &studio.instruments.tallies;
    let made = recording_of(studio, dir).await;
    made.inspect(|finished| tallies.recording(finished)).inspect_err(|_| tallies.recording_failed())
}

async fn recording_of(studio: &Studio, dir: PartDir) -> Result<Finished, Unfinished> {
    let defect = |reason: String| Unfinished { reason, is_passing: false };
    let _place = studio.finishing.acquire().await.map_err(|e| defect(e.to_string()))?;
    let (recordings_dir, live_dir) = (studio.recordings_dir.clone(), studio.live_dir.clone());
    let made = tokio::task::spawn_blocking(move || {
        for direction in Direction::BOTH {
            bring_home(&spool_of(&dir, direction, live_dir.as_deref()))?;
        }
        aimg_recording::finish(&dir, &recordings_dir)
            .map_err(|e| Unfinished { is_passing: e.is_passing(), reason: e.to_string() })
    });
    made.await.map_err(|e| defect(e.to_string()))?
}

/// Counted for as long as it lives.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn class_of(manifest: &Manifest) -> SessionClass {
    SessionClass { tenant: manifest.tenant, pbx: manifest.pbx, codec: manifest.codec }
}

pub(crate) fn recording_row(finished: &Finished, created_at: Timestamp) -> RecordingRow {
    let certificate = &finished.certificate;
    RecordingRow {
        tenant: certificate.tenant,
        pbx: certificate.pbx,
        session: certificate.session,
        part: certificate.part,
        path: certificate.recording.clone(),
        certificate: serde_json::to_value(certificate).unwrap_or_default(),
        complete: certificate.complete,
        duration_ms: certificate.duration_ms,
        bytes: finished.bytes,
        created_at,
    }
}
