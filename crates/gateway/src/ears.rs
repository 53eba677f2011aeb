//! Live audio: who listens to a session hears it while it is captured, a few milliseconds behind.
//!
//! [`Ears`] knows which sessions are being captured, lets in who may listen, and counts. What is heard comes as a
//! [`Hearing`]: frames of 20 ms in the order of the capture, from the moment of joining to the end of the call, over all
//! parts of its capture. A hearing does nothing while nobody asks it for frames; who asks too seldom skips ahead.
//!
//! Nothing here touches the capture itself: the media plane writes what is heard for all listeners once, and waits for none.

mod hearing;
mod part;
mod playing;
mod track;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aimg_audio::wav::{self, Encoding, Format};
use aimg_core::{Codec, Direction, SessionId, TenantId, TenantScope};
use aimg_media::{LISTENERS_MAX, Media};
use tokio::sync::watch;

use crate::ListenError;
pub use hearing::Hearing;
pub(crate) use part::PartEar;

/// Listeners of one session at most.
pub const SESSION_LISTENERS_MAX: usize = 32;
/// Listeners of one tenant's sessions at most.
pub const TENANT_LISTENERS_MAX: usize = 256;
/// Listeners of a node at most. Each costs a few kilobytes, and the processor about a thousandth of a core.
pub const NODE_LISTENERS_MAX: usize = 512;

/// How long a call may go on between two parts of its capture: who listens waits for the next one.
const NEXT_PART_PATIENCE: Duration = Duration::from_secs(5);

/// Every listener may hear both flows, and so may the gateway itself.
const _: () = assert!(SESSION_LISTENERS_MAX < LISTENERS_MAX);

/// Which side of a call is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What comes from the session's first channel.
    Caller,
    /// What goes to it.
    Callee,
    /// Both: caller left, callee right.
    Both,
    /// Both in one channel.
    Mixed,
}

impl Side {
    fn directions(self) -> &'static [Direction] {
        match self {
            Self::Caller => &[Direction::Caller],
            Self::Callee => &[Direction::Callee],
            Self::Both | Self::Mixed => &Direction::BOTH,
        }
    }
}

/// How the samples that are heard are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleFormat {
    /// G.711 µ-law, one byte a sample.
    Ulaw,
    /// 16-bit linear, little-endian.
    Pcm16,
}

/// The sample rate that is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// 8,000 samples a second.
    Hz8000,
    /// 16,000 samples a second.
    Hz16000,
}

impl Rate {
    /// Samples a second.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
        }
    }
}

/// What a listener wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// Whom.
    pub side: Side,
    /// How it is written down.
    pub samples: SampleFormat,
    /// At which rate.
    pub rate: Rate,
}

impl ListenSpec {
    /// The same in the words of WAV files.
    const fn wav_format(self) -> Format {
        let encoding = match self.samples {
            SampleFormat::Ulaw => Encoding::Ulaw,
            SampleFormat::Pcm16 => Encoding::Pcm16,
        };
        match self.side {
            Side::Both => Format::stereo(encoding, self.rate.hz()),
            Side::Caller | Side::Callee | Side::Mixed => Format::mono(encoding, self.rate.hz()),
        }
    }
}

/// What stands before the frames of a hearing in a WAV file that has no end yet.
pub fn endless_wav_header(spec: ListenSpec) -> Vec<u8> {
    wav::endless_header(spec.wav_format())
}

/// What is to be said of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Packets of it were lost: there is silence in their place.
    pub lost: bool,
    /// Nothing came for it: it is, at least in part, silence of ours.
    pub silent: bool,
    /// The listener was too slow: between the frame before and this one audio was skipped.
    pub skipped: bool,
}

impl Marks {
    fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost || other.lost,
            silent: self.silent || other.silent,
            skipped: self.skipped || other.skipped,
        }
    }
}

/// 20 ms of audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The part of the session's capture that it is from.
    pub part: u16,
    /// Its first sample's place in the recording of that part, in samples at the listener's rate: where the recording
    /// has that sample too, to within a few milliseconds, unless a source paused before.
    pub position: u64,
    /// What is to be said of it.
    pub marks: Marks,
    /// The samples, those of two channels by turns.
    pub audio: Vec<u8>,
}

/// What listeners came to since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarsCounts {
    /// Those who listen.
    pub listeners: u64,
    /// Frames that were taken by them.
    pub frames: u64,
    /// Packets that those who listen too slowly skipped.
    pub skipped: u64,
    /// Packets that came too late to be heard live.
    pub late: u64,
    /// Those who were not let in because there were too many.
    pub refused: u64,
}

/// Lets people and programs listen. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Ears(Arc<House>);

#[derive(Debug)]
struct House {
    media: Media,
    rooms: Mutex<Rooms>,
    frames: AtomicU64,
    skipped: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Rooms {
    sessions: HashMap<SessionId, Room>,
    /// Listeners by tenant.
    tenants: HashMap<TenantId, usize>,
    listeners: usize,
}

/// A session that can be heard.
#[derive(Debug)]
struct Room {
    tenant: TenantId,
    codec: Codec,
    stage: watch::Sender<Stage>,
    listeners: usize,
    changed: Instant,
}

/// Where a session's capture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stage {
    /// The part whose flows are open.
    part: Option<u16>,
    /// There will be no other part.
    is_over: bool,
}

impl Ears {
    pub(crate) fn new(media: Media) -> Self {
        let count = AtomicU64::default;
        let rooms = Mutex::default();
        Self(Arc::new(House { media, rooms, frames: count(), skipped: count(), late: count(), refused: count() }))
    }

    /// Listens to a session that is being captured, from here on.
    pub async fn listen(
        &self,
        scope: TenantScope,
        session: SessionId,
        spec: ListenSpec,
    ) -> Result<Hearing, ListenError> {
        let admitted = self.0.admit(scope, session);
        let (place, codec, stage) = admitted.inspect_err(|error| {
            if matches!(error, ListenError::Full { .. }) {
                self.0.refused.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Hearing::begin(place, codec, stage, spec).await
    }

    /// Hears a part whose flows are open, for the gateway itself.
    pub(crate) async fn part(&self, session: SessionId, part: u16, codec: Codec) -> Result<PartEar, aimg_media::Error> {
        PartEar::begin(self.0.media.clone(), session, part, codec).await
    }

    /// What listeners came to.
    pub fn counts(&self) -> EarsCounts {
        let House { frames, skipped, late, refused, .. } = &*self.0;
        let [frames, skipped, late, refused] = [frames, skipped, late, refused].map(|c| c.load(Ordering::Relaxed));
        EarsCounts { listeners: self.0.rooms().listeners as u64, frames, skipped, late, refused }
    }

    /// The flows of a part are open.
    pub(crate) fn opened(&self, tenant: TenantId, session: SessionId, part: u16, codec: Codec) {
        let mut rooms = self.0.rooms();
        // Where a link ended before its calls did, nobody says that they are over.
        rooms
            .sessions
            .retain(|_, room| room.stage.borrow().part.is_some() || room.changed.elapsed() < NEXT_PART_PATIENCE);
        let stage = Stage { part: Some(part), is_over: false };
        let room = rooms.sessions.entry(session).or_insert_with(|| Room {
            tenant,
            codec,
            stage: watch::Sender::new(stage),
            listeners: 0,
            changed: Instant::now(),
        });
        room.stage.send_modify(|now| now.part = now.part.max(Some(part)));
        room.changed = Instant::now();
    }

    /// The flows of a part are closed.
    pub(crate) fn closed(&self, session: SessionId, part: u16) {
        self.0.change(session, |stage| stage.part = stage.part.filter(|open| *open != part));
    }

    /// The session has ended: no other part will begin.
    pub(crate) fn over(&self, session: SessionId) {
        self.0.change(session, |stage| stage.is_over = true);
    }
}

impl House {
    /// Finds a place for one more listener.
    fn admit(
        self: &Arc<Self>,
        scope: TenantScope,
        session: SessionId,
    ) -> Result<(Place, Codec, watch::Receiver<Stage>), ListenError> {
        let mut rooms = self.rooms();
        let Rooms { sessions, tenants, listeners } = &mut *rooms;
        let found = sessions.get_mut(&session).filter(|room| scope.reaches(room.tenant));
        let room = found.ok_or(ListenError::NotCaptured { session })?;
        let of_tenant = tenants.entry(room.tenant).or_default();
        let bounds = [
            ("session", room.listeners, SESSION_LISTENERS_MAX),
            ("tenant", *of_tenant, TENANT_LISTENERS_MAX),
            ("gateway", *listeners, NODE_LISTENERS_MAX),
        ];
        if let Some((of, _, max)) = bounds.into_iter().find(|(_, now, max)| now >= max) {
            return Err(ListenError::Full { of, max });
        }
        room.listeners += 1;
        *of_tenant += 1;
        *listeners += 1;
        let place = Place { house: Arc::clone(self), tenant: room.tenant, session };
        Ok((place, room.codec, room.stage.subscribe()))
    }

    fn change(&self, session: SessionId, change: impl FnOnce(&mut Stage)) {
        let mut rooms = self.rooms();
        let Some(room) = rooms.sessions.get_mut(&session) else { return };
        room.stage.send_modify(change);
        room.changed = Instant::now();
        let Stage { part, is_over } = *room.stage.borrow();
        if is_over && part.is_none() {
            rooms.sessions.remove(&session);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a listener; free again when it is dropped.
#[derive(Debug)]
struct Place {
    house: Arc<House>,
    tenant: TenantId,
    session: SessionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rooms = self.house.rooms();
        rooms.listeners -= 1;
        if let Some(room) = rooms.sessions.get_mut(&self.session) {
            room.listeners = room.listeners.saturating_sub(1);
        }
        if let Some(listeners) = rooms.tenants.get_mut(&self.tenant) {
            *listeners -= 1;
            if *listeners == 0 {
                rooms.tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
#[path = "ears/tests.rs"]
mod tests;
