//! Listening without Asterisk: flows of our own, real UDP, and the clock.

use std::net::UdpSocket;
use std::time::Duration;

use aimg_audio::g711::{ulaw_decode, ulaw_encode};
use aimg_audio::linear;
use aimg_core::{FlowId, PbxId};
use aimg_media::{Config, FlowSpec};
use aimg_spool::FlowMeta;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const CALLER_ULAW: ListenSpec = ListenSpec { side: Side::Caller, samples: SampleFormat::Ulaw, rate: Rate::Hz8000 };

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n))
}

fn session(n: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(n))
}

/// A media plane, and senders that play Asterisk.
struct Stand {
    ears: Ears,
    media: Media,
    dir: tempfile::TempDir,
}

impl Stand {
    fn new() -> Self {
        let (media, events) =
            Media::start(Config { chunk_bytes: 64 << 10, flows_max: 64, ..Config::default() }).unwrap();
        tokio::spawn(async move {
            let mut events = events;
            while events.next().await.is_some() {}
        });
        Self { ears: Ears::new(media.clone()), media, dir: tempfile::tempdir().unwrap() }
    }

    /// Opens both flows of a part of tenant 1's session, and tells that.
    async fn part(&self, n: u128, part: u16) -> [Sender; 2] {
        let mut senders = Vec::new();
        for direction in Direction::BOTH {
            let meta = FlowMeta {
                tenant: tenant(1),
                pbx: PbxId::from_uuid(Uuid::from_u128(9)),
                session: session(n),
                part,
                direction,
                codec: Codec::Ulaw,
                opened_at: self.media.clock().now(),
            };
            let flow = meta.flow();
            let spec = FlowSpec { meta, spool_path: self.dir.path().join(format!("{flow}")), live_path: None };
            let to = self.media.open(spec).await.unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            self.media.expect(flow, socket.local_addr().unwrap()).await.unwrap();
            socket.connect(to).unwrap();
            senders.push(Sender { socket, next: 0 });
        }
        self.ears.opened(tenant(1), session(n), part, Codec::Ulaw);
        senders.try_into().unwrap()
    }

    async fn close(&self, n: u128, part: u16) {
        for direction in Direction::BOTH {
            self.media.close(FlowId { session: session(n), part, direction }).await.unwrap();
        }
        self.ears.closed(session(n), part);
    }

    async fn listen(&self, n: u128, spec: ListenSpec) -> Hearing {
        self.ears.listen(TenantScope::Tenant(tenant(1)), session(n), spec).await.unwrap()
    }
}

#[derive(Debug)]
struct Sender {
    socket: UdpSocket,
    next: u16,
}

impl Sender {
    /// Sends the next packet; its samples are the code that `code` gives for its number.
    fn send(&mut self, code: impl Fn(u16) -> u8) {
        let mut bytes = vec![0x80, 0];
        bytes.extend(self.next.to_be_bytes());
        bytes.extend((u32::from(self.next) * 160).to_be_bytes());
        bytes.extend([0, 0, 0, 1]);
        bytes.resize(12 + 160, code(self.next));
        self.socket.send(&bytes).unwrap();
        self.next += 1;
    }
}

/// Plays both sides at their pace, for so many packets.
async fn play(senders: &mut [Sender; 2], packets: usize) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..packets {
        pace.tick().await;
        senders[0].send(caller_code);
        senders[1].send(callee_code);
    }
}

/// Codes that name the packet; those of the two sides differ.
fn caller_code(n: u16) -> u8 {
    0x80 + (n % 60) as u8
}

fn callee_code(n: u16) -> u8 {
    (n % 60) as u8
}

async fn frames(hearing: &mut Hearing, count: usize) -> Vec<Frame> {
    let mut all = Vec::new();
    while all.len() < count
        && let Some(frame) = timeout(PATIENCE, hearing.next()).await.unwrap()
    {
        all.push(frame);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn all_listeners_hear_the_call_from_where_they_joined_to_its_end() {
    let stand = Stand::new();
    let mut senders = stand.part(1, 0).await;
    let mut early = stand.listen(1, CALLER_ULAW).await;
    play(&mut senders, 10).await;
    let stereo = ListenSpec { side: Side::Both, samples: SampleFormat::Pcm16, rate: Rate::Hz8000 };
    let mut late = stand.listen(1, stereo).await;
    play(&mut senders, 20).await;
    assert_eq!(stand.ears.counts().listeners, 2);
    stand.close(1, 0).await;
    stand.ears.over(session(1));

    let heard = frames(&mut early, usize::MAX).await;
    let expected: Vec<_> = (0..30).map(|n| vec![caller_code(n); 160]).collect();
    assert_eq!(heard.iter().map(|f| f.audio.clone()).collect::<Vec<_>>(), expected);
    assert!(heard.iter().all(|f| f.part == 0 && f.marks == Marks::default()));
    assert!(heard.windows(2).all(|pair| pair[1].position == pair[0].position + 160));

    let heard = frames(&mut late, usize::MAX).await;
    // As many as were sent, but for what is under way while it joins, and one more where one side began within a frame of
    // the other.
    assert!((19..=21).contains(&heard.len()), "{}", heard.len());
    let samples: Vec<i16> = heard.iter().flat_map(|f| linear::from_wav(&f.audio).collect::<Vec<_>>()).collect();
    // Where the two sides lie to each other is of their arrival: one may be silent in the first frame, the packets after it
    // are whole.
    for (side, code) in [(0, caller_code as fn(u16) -> u8), (1, callee_code)] {
        let heard: Vec<i16> = samples.iter().skip(side).step_by(2).copied().collect();
        let sent: Vec<i16> = (10..30).flat_map(|n| [ulaw_decode(code(n)); 160]).collect();
        let offset = sent.windows(1_600).position(|window| *window == heard[160..1_760]);
        assert!(offset.is_some_and(|offset| offset <= 320), "side {side}: {offset:?}");
    }
    drop((early, late));
    let counts = stand.ears.counts();
    assert_eq!((counts.listeners, counts.skipped, counts.late, counts.refused), (0, 0, 0, 0));
    assert!(counts.frames >= 49);
    let gone = stand.ears.listen(TenantScope::Operator, session(1), CALLER_ULAW).await;
    assert!(matches!(gone, Err(ListenError::NotCaptured { .. })), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rate_is_the_same_audio_at_the_same_place() {
    let stand = Stand::new();
    let mut senders = stand.part(1, 0).await;
    let wide = ListenSpec { side: Side::Caller, samples: SampleFormat::Pcm16, rate: Rate::Hz16000 };
    let (mut wide, mut narrow) = (stand.listen(1, wide).await, stand.listen(1, CALLER_ULAW).await);
    play(&mut senders, 25).await;
    stand.close(1, 0).await;
    stand.ears.over(session(1));
    let (wide, narrow) = (frames(&mut wide, usize::MAX).await, frames(&mut narrow, usize::MAX).await);
    assert_eq!((wide.len(), narrow.len()), (25, 25), "the resampler's end is heard too");
    for (wide, narrow) in wide.iter().zip(&narrow) {
        assert_eq!((wide.position, wide.audio.len()), (narrow.position * 2, 640));
        // In the middle of a packet, all of whose samples are the same, so is what is made of it.
        let middle = linear::from_wav(&wide.audio).nth(160).unwrap();
        let expected = ulaw_decode(narrow.audio[80]);
        assert!((i32::from(middle) - i32::from(expected)).abs() < 700, "{middle}, not {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_tenant_is_not_there() {
    let stand = Stand::new();
    stand.part(1, 0).await;
    for (scope, session) in [
        (TenantScope::Tenant(tenant(2)), session(1)),
        (TenantScope::Tenant(tenant(1)), session(2)),
        (TenantScope::Operator, session(2)),
    ] {
        let heard = stand.ears.listen(scope, session, CALLER_ULAW).await;
        assert!(matches!(heard, Err(ListenError::NotCaptured { .. })), "{heard:?}");
    }
    stand.ears.listen(TenantScope::Operator, session(1), CALLER_ULAW).await.unwrap();
    assert_eq!(stand.ears.counts(), EarsCounts::default(), "whoever is not let in takes no place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_does_not_read_skips_ahead_and_is_told() {
    let stand = Stand::new();
    let mut senders = stand.part(1, 0).await;
    let (mut asleep, mut awake) = (stand.listen(1, CALLER_ULAW).await, stand.listen(1, CALLER_ULAW).await);
    // More than the ring holds, faster than life: what is heard is in order all the same.
    play(&mut senders, 5).await;
    assert_eq!(frames(&mut asleep, 5).await.len(), 5);
    let mut heard = frames(&mut awake, 5).await.len();
    for _ in 0..60 {
        for _ in 0..10 {
            senders[0].send(caller_code);
        }
        heard += frames(&mut awake, 10).await.len();
    }
    assert_eq!(heard, 605);
    senders[0].send(caller_code);
    let next = frames(&mut asleep, 1).await.remove(0);
    assert!(next.marks.skipped && next.position > 500 * 160, "{} {:?}", next.position, next.marks);
    let number = u16::try_from(next.position / 160).unwrap();
    assert_eq!(next.audio, vec![caller_code(number); 160]);
    assert_eq!(frames(&mut awake, 1).await[0].marks, Marks::default());
    assert!(stand.ears.counts().skipped > 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_heard_goes_on_in_the_next_part_with_silence_between() {
    let stand = Stand::new();
    let mut senders = stand.part(1, 0).await;
    let mut hearing = stand.listen(1, CALLER_ULAW).await;
    play(&mut senders, 5).await;
    stand.close(1, 0).await;
    let between = frames(&mut hearing, 10).await;
    assert!(between[..5].iter().all(|f| !f.marks.silent) && between[5..].iter().all(|f| f.marks.silent));
    assert_eq!(between[9].audio, vec![ulaw_encode(0); 160]);
    let mut senders = stand.part(1, 1).await;
    let call = async {
        play(&mut senders, 5).await;
        stand.close(1, 1).await;
        stand.ears.over(session(1));
    };
    let (mut last, ()) = tokio::join!(frames(&mut hearing, usize::MAX), call);
    last.retain(|f| f.part == 1);
    let audio: Vec<_> = last.iter().map(|f| f.audio[0]).collect();
    // A part is noticed within a look; these packets come sooner than those of a capture do.
    let sent: Vec<_> = (0..5).map(caller_code).collect();
    assert!(sent.ends_with(&audio) && audio.len() >= 4, "{audio:?}");
    assert!(last[0].position < 400, "the next part's recording begins anew: {}", last[0].position);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_listeners_of_a_session_and_no_more() {
    let stand = Stand::new();
    stand.part(1, 0).await;
    let mut all = Vec::new();
    for _ in 0..SESSION_LISTENERS_MAX {
        all.push(stand.listen(1, CALLER_ULAW).await);
    }
    let one_more = stand.ears.listen(TenantScope::Operator, session(1), CALLER_ULAW).await;
    assert!(matches!(one_more, Err(ListenError::Full { of: "session", .. })), "{one_more:?}");
    assert_eq!(stand.ears.counts().refused, 1);
    all.pop();
    stand.listen(1, CALLER_ULAW).await;
}
