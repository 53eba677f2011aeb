//! What a flow's listeners hear: a ring of its latest packets, written by the shard and read by as many as like.
//!
//! The shard writes each packet once, whatever the number of listeners, and never waits for them: a packet takes the place
//! of the oldest ones. Who reads too slowly finds that out, and goes on with the newest packet (a sequence lock: what is
//! being written is announced before, and whoever has read asks afterwards whether it was still whole).
//!
//! There is no wake-up: to tell somebody costs a shard more than all of this. Listeners look as often as they need to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use aimg_core::Timestamp;

use crate::batch::DATAGRAM_BYTES;

/// What a ring holds: 6 seconds of µ-law, 1.9 of slin16.
pub const BROADCAST_BYTES: usize = RING_WORDS * 8;

/// Listeners that one flow may have.
pub const LISTENERS_MAX: usize = 64;

/// Eight bytes each; a power of two.
const RING_WORDS: usize = 8_192;

/// How often a listener that was overtaken tries to read the newest packet.
const READ_TRIES: usize = 4;

/// What stands before a packet's payload: its number among those said, the length of the payload in bytes, and the
/// fields of [`Heard`].
const HEAD_WORDS: usize = 6;

/// A packet that was heard, apart from its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its sequence number as [`aimg_rtp::Outcome`] extends it.
    pub extended: u64,
    /// The place of its first sample, as [`aimg_rtp::Axis`] has it.
    pub position: u64,
    /// When the kernel received it.
    pub at: Timestamp,
    /// When the sample at position 0 was spoken, as far as is known.
    pub began_at: Timestamp,
}

/// What a listener finds when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// The next packet, in order of arrival.
    Packet {
        /// What is known of it.
        heard: Heard,
        /// Packets between the one before and this one that the listener was too slow for.
        skipped: u64,
    },
    /// Nothing more at the moment.
    Nothing,
    /// The flow is closed, and everything was heard.
    Ended,
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Broadcast {
    words: Box<[AtomicU64]>,
    /// Words written since the beginning.
    written: AtomicU64,
    /// Up to where words are being written.
    writing: AtomicU64,
    /// Where the newest packet begins.
    newest: AtomicU64,
    /// Packets said.
    said: AtomicU64,
    listeners: AtomicUsize,
    ended: AtomicBool,
}

impl Default for Broadcast {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            words: std::iter::repeat_with(zero).take(RING_WORDS).collect(),
            written: zero(),
            writing: zero(),
            newest: zero(),
            said: zero(),
            listeners: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }
}

impl Broadcast {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        &self.words[at as usize % RING_WORDS]
    }

    /// Whether what begins `at` cannot have been written over. Asked after it was read.
    fn is_whole(&self, at: u64) -> bool {
        fence(Ordering::Acquire);
        self.writing.load(Ordering::Relaxed).wrapping_sub(at) <= RING_WORDS as u64
    }
}

/// The writing side of a flow's broadcast. There is one; it ends the broadcast when it is dropped.
#[derive(Debug)]
pub(crate) struct Voice(Arc<Broadcast>);

impl Voice {
    /// Of a broadcast that has no voice yet.
    pub(crate) const fn of(broadcast: Arc<Broadcast>) -> Self {
        Self(broadcast)
    }

    /// Lets listeners hear a packet. Without listeners nothing is done.
    pub(crate) fn say(&self, heard: Heard, payload: &[u8]) {
        let ring = &*self.0;
        if ring.listeners.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Heard { extended, position, at, began_at } = heard;
        let said = ring.said.load(Ordering::Relaxed);
        let head = [said, payload.len() as u64, extended, position, bits(at), bits(began_at)];
        let begin = ring.written.load(Ordering::Relaxed);
        let end = begin + (HEAD_WORDS + payload.len().div_ceil(8)) as u64;
        ring.writing.store(end, Ordering::Relaxed);
        fence(Ordering::Release);
        let words = head.into_iter().chain(payload.chunks(8).map(word_of));
        for (at, word) in (begin..).zip(words) {
            ring.word(at).store(word, Ordering::Relaxed);
        }
        ring.said.store(said + 1, Ordering::Relaxed);
        ring.newest.store(begin, Ordering::Release);
        ring.written.store(end, Ordering::Release);
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

/// Hears one flow, from where it joined. See [`crate::Media::listen`].
#[derive(Debug)]
pub struct Listener {
    ring: Arc<Broadcast>,
    /// The word to read next.
    at: u64,
    /// The number of the next packet; unknown before the first.
    number: Option<u64>,
}

impl Listener {
    /// A listener who hears what is said from here on; nothing where there are too many.
    pub(crate) fn join(ring: &Arc<Broadcast>) -> Option<Self> {
        let one_more = |listeners| (listeners < LISTENERS_MAX).then_some(listeners + 1);
        ring.listeners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self { ring: Arc::clone(ring), at: ring.written.load(Ordering::Acquire), number: None })
    }

    /// Takes the next packet; its payload replaces what is in `payload`. Never waits.
    pub fn next(&mut self, payload: &mut Vec<u8>) -> Sound {
        // Who is overtaken again and again while it reads finds nothing this time.
        for _ in 0..READ_TRIES {
            // Before looking for packets: what was said before the end is heard.
            let has_ended = self.ring.has_ended();
            if self.at >= self.ring.written.load(Ordering::Acquire) {
                return if has_ended { Sound::Ended } else { Sound::Nothing };
            }
            if let Some((said, heard, words)) = self.read(payload) {
                let skipped = self.number.map_or(0, |number| said.saturating_sub(number));
                self.number = Some(said + 1);
                self.at += words as u64;
                return Sound::Packet { heard, skipped };
            }
            self.at = self.ring.newest.load(Ordering::Acquire);
        }
        Sound::Nothing
    }

    /// The packet that begins where we are, its number, and how many words it is; nothing when it was written over.
    fn read(&self, payload: &mut Vec<u8>) -> Option<(u64, Heard, usize)> {
        let mut head = [0; HEAD_WORDS];
        for (at, word) in (self.at..).zip(&mut head) {
            *word = self.ring.word(at).load(Ordering::Relaxed);
        }
        let [said, bytes, extended, position, at, began_at] = head;
        // Of a packet that is being written over, anything can be read.
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= DATAGRAM_BYTES)?;
        payload.clear();
        for n in 0..bytes.div_ceil(8) {
            let word = self.ring.word(self.at + (HEAD_WORDS + n) as u64).load(Ordering::Relaxed);
            payload.extend(word.to_le_bytes());
        }
        payload.truncate(bytes);
        let heard = Heard { extended, position, at: time(at), began_at: time(began_at) };
        self.ring.is_whole(self.at).then_some((said, heard, HEAD_WORDS + bytes.div_ceil(8)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ring.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

const fn bits(time: Timestamp) -> u64 {
    time.as_micros().cast_unsigned()
}

const fn time(bits: u64) -> Timestamp {
    Timestamp::from_micros(bits.cast_signed())
}

/// Two packets fit, whatever their length: a listener at the newest one is not written over by the next.
const _: () = assert!(RING_WORDS.is_power_of_two() && RING_WORDS > 4 * (HEAD_WORDS + DATAGRAM_BYTES / 8));

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A packet whose every byte and field follow from its number.
    fn packet(number: u64) -> (Heard, Vec<u8>) {
        let at = Timestamp::from_micros(number.cast_signed() * 20_000);
        let heard = Heard { extended: number + 7, position: number * 160, at, began_at: Timestamp::from_micros(5) };
        // All lengths, those that fill no word among them.
        let bytes = (number * 37 % (DATAGRAM_BYTES as u64 + 1)) as usize;
        (heard, (0..bytes).map(|i| (number as usize * 31 + i) as u8).collect())
    }

    fn broadcast() -> (Voice, Arc<Broadcast>) {
        let ring = Arc::<Broadcast>::default();
        (Voice::of(Arc::clone(&ring)), ring)
    }

    fn say(voice: &Voice, numbers: std::ops::Range<u64>) {
        for (heard, payload) in numbers.map(packet) {
            voice.say(heard, &payload);
        }
    }

    /// Reads what is there; the numbers of the packets, each of which must be whole, and how many were skipped.
    fn hear(listener: &mut Listener) -> (Vec<u64>, u64, Sound) {
        let (mut numbers, mut all_skipped, mut payload) = (Vec::new(), 0, Vec::new());
        loop {
            match listener.next(&mut payload) {
                Sound::Packet { heard, skipped } => {
                    let number = heard.extended - 7;
                    assert!((heard, payload.clone()) == packet(number), "packet {number} is not as it was said");
                    numbers.push(number);
                    all_skipped += skipped;
                }
                end => return (numbers, all_skipped, end),
            }
        }
    }

    #[test]
    fn each_listener_hears_from_where_it_joined_to_the_end() {
        let (voice, ring) = broadcast();
        say(&voice, 0..3);
        let mut first = Listener::join(&ring).unwrap();
        say(&voice, 3..8);
        let mut second = Listener::join(&ring).unwrap();
        say(&voice, 8..12);
        assert_eq!(hear(&mut first), ((3..12).collect(), 0, Sound::Nothing));
        assert_eq!(hear(&mut second), ((8..12).collect(), 0, Sound::Nothing));
        say(&voice, 12..14);
        drop(voice);
        assert_eq!(hear(&mut second), ((12..14).collect(), 0, Sound::Ended));
        assert_eq!(hear(&mut second), (vec![], 0, Sound::Ended));
        assert_eq!(hear(&mut first), ((12..14).collect(), 0, Sound::Ended));
    }

    #[test]
    fn a_listener_that_lags_goes_on_with_the_newest_and_knows_how_much_it_missed() {
        let (voice, ring) = broadcast();
        let (mut slow, mut fast) = (Listener::join(&ring).unwrap(), Listener::join(&ring).unwrap());
        say(&voice, 0..2);
        assert_eq!(hear(&mut slow).0, [0, 1]);
        for number in 2..1_000 {
            say(&voice, number..number + 1);
            let expected = if number == 2 { vec![0, 1, 2] } else { vec![number] };
            assert_eq!(hear(&mut fast), (expected, 0, Sound::Nothing));
        }
        assert_eq!(hear(&mut slow), (vec![999], 997, Sound::Nothing));
        say(&voice, 1_000..1_002);
        assert_eq!(hear(&mut slow), (vec![1_000, 1_001], 0, Sound::Nothing));
    }

    #[test]
    fn nothing_is_written_for_nobody_and_there_is_a_bound_on_listeners() {
        let (voice, ring) = broadcast();
        say(&voice, 0..10);
        assert_eq!(ring.written.load(Ordering::Relaxed), 0);
        let mut listeners: Vec<_> = (0..LISTENERS_MAX).map(|_| Listener::join(&ring).unwrap()).collect();
        assert!(Listener::join(&ring).is_none());
        listeners.pop();
        assert!(Listener::join(&ring).is_some());
        listeners.clear();
        say(&voice, 0..10);
        assert_eq!(ring.written.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_hears_half_a_packet_however_fast_they_come() {
        const PACKETS: u64 = 300_000;
        let (voice, ring) = broadcast();
        let listeners: Vec<_> = (0..3).map(|_| Listener::join(&ring).unwrap()).collect();
        let heard: Vec<_> = thread::scope(|scope| {
            scope.spawn(move || {
                say(&voice, 0..PACKETS);
                drop(voice);
            });
            let listen = |mut listener: Listener| {
                let (mut last, mut count, mut all_skipped) = (None, 0, 0);
                loop {
                    let (numbers, skipped, end) = hear(&mut listener);
                    assert!(numbers.is_sorted() && numbers.first().copied() > last || numbers.is_empty());
                    last = numbers.last().copied().or(last);
                    count += numbers.len() as u64;
                    all_skipped += skipped;
                    if end == Sound::Ended {
                        return (last, count, all_skipped);
                    }
                }
            };
            let threads: Vec<_> = listeners.into_iter().map(|l| scope.spawn(move || listen(l))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (last, count, skipped) in heard {
            assert_eq!(last, Some(PACKETS - 1));
            // Those before the first that it heard are not known to it.
            assert!(count > 0 && count + skipped <= PACKETS, "{count} heard, {skipped} skipped");
        }
    }
}
