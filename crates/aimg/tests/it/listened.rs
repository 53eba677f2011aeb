//! Who listens to a call hears what its recording holds, from the moment of joining to the end of the call.

use std::io::Cursor;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimg_audio::correlate::locate;
use aimg_audio::linear;
use aimg_audio::wav::{Encoding, Format, WavReader};
use aimg_core::{SessionId, TapMode};
use aimg_testbed::{Context, Version};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::bench::{Bench, all_went_well, callee};
use crate::stereo::{SAMPLE_US, Stereo, samples};
use crate::waiting::PATIENCE;

const PASSWORD: &str = "correct horse battery";
const TALK: Duration = Duration::from_secs(6);
/// Samples of a frame.
const FRAME: usize = 160;
/// Bytes before a frame on the WebSocket.
const HEADER_BYTES: usize = 32;
/// The call lasts that much longer than listeners take to join, a busy machine included.
const HEARD_MIN: usize = 2 * 8_000;
/// What is left of the recording when a stream ends: less than a frame of each side, and where the sides lie to each other.
const LEFT_MAX: usize = 2 * FRAME;
/// How a place that a listener is told may differ from that in the recording, which looks ahead to find it.
const PLACE_WRONG_MAX: usize = 80;
/// How alike speech at another rate is to itself.
const LIKENESS_MIN: f64 = 0.99;

struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// A frame of the WebSocket, and when it came.
struct Frame {
    came_us: i64,
    flags: u8,
    sequence: u32,
    position: u64,
    audio: Vec<u8>,
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

impl Client {
    async fn log_in(base: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let body = json!({ "name": "root", "password": PASSWORD });
        let answer = http.post(format!("http://{base}/api/v1/auth/login")).json(&body).send().await.unwrap();
        let tokens: Value = answer.json().await.unwrap();
        Self { http, base, token: tokens["access_token"].as_str().unwrap().to_owned() }
    }

    async fn listen(&self, session: SessionId, query: &str) -> Response {
        let url = format!("http://{}/api/v1/call-sessions/{session}/audio.wav?{query}", self.base);
        self.http.get(url).bearer_auth(&self.token).send().await.unwrap()
    }

    /// All that is heard until the call ends.
    async fn hear(&self, session: SessionId, query: &str) -> Vec<u8> {
        let mut answer = self.listen(session, query).await;
        assert_eq!(
            (answer.status(), answer.headers()["content-type"].to_str().unwrap()),
            (StatusCode::OK, "audio/wav")
        );
        let mut bytes = Vec::new();
        while let Some(chunk) = timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap() {
            bytes.extend(chunk);
        }
        bytes
    }

    /// The same over the WebSocket.
    async fn watch(&self, session: SessionId, topic: &str) -> Vec<Frame> {
        let mut request = format!("ws://{}/api/v1/ws", self.base).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        let mut socket = tokio_tungstenite::connect_async(request).await.unwrap().0;
        let subscribe = json!({ "type": "subscribe", "topics": [topic] });
        socket.send(Message::text(subscribe.to_string())).await.unwrap();
        let mut frames = Vec::new();
        loop {
            match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
                Message::Binary(bytes) => {
                    assert_eq!((bytes[0], &bytes[16..HEADER_BYTES]), (1, &session.as_uuid().as_bytes()[..]));
                    frames.push(Frame {
                        came_us: now_us(),
                        flags: bytes[1],
                        sequence: u32::from_le_bytes(bytes[4..8].try_into().unwrap()),
                        position: u64::from_le_bytes(bytes[8..16].try_into().unwrap()),
                        audio: bytes[HEADER_BYTES..].to_vec(),
                    });
                }
                Message::Text(text) => {
                    let said: Value = serde_json::from_str(&text).unwrap();
                    match said["type"].as_str().unwrap() {
                        "audio_ended" => return frames,
                        kind => assert!(["welcome", "subscribed"].contains(&kind), "{said}"),
                    }
                }
                _ => {}
            }
        }
    }
}

/// The samples of a WAV file, which must be of this format.
fn samples_of(wav: Vec<u8>, format: Format) -> Vec<u8> {
    let reader = WavReader::new(Cursor::new(wav)).unwrap();
    assert_eq!(reader.format(), format);
    reader.into_bytes().unwrap()
}

/// Where in a channel of the recording begins what was heard, all of which must be there to the end.
#[track_caller]
fn place_in(channel: &[i16], heard: &[i16]) -> usize {
    assert!(heard.len() >= HEARD_MIN, "{} samples were heard", heard.len());
    let found = channel.windows(8_000).position(|window| *window == heard[..8_000]);
    let from = found.expect("what was heard is in the recording");
    // The last frame may be filled up with silence, and one side go on a little after the other.
    let both = heard.len().min(channel.len() - from);
    let different = (0..both).find(|&n| heard[n] != channel[from + n]);
    assert!(different.is_none_or(|n| n + LEFT_MAX >= both), "different {different:?} of {both} samples after {from}");
    assert!(
        channel.len() - from - both <= LEFT_MAX,
        "{} samples of the recording were not heard",
        channel.len() - from - both
    );
    from
}

#[test]
fn what_is_heard_is_what_is_recorded() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let mut create = bench.home.aimg(&["createsuperuser", "--name", "root"]);
    create.env("AIMG_SUPERUSER_PASSWORD", PASSWORD);
    bench.home.run(create).succeeded();
    let gateway = bench.home.serve_linked();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client = runtime.block_on(Client::log_in(gateway.http().to_string()));
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(TALK).start().unwrap();
    bench.wait_until_captured(1);
    let session = bench.home.live_calls()[0].id;

    let topic = format!("audio:{session}:both:8000:pcm16");
    let (left, right, wide, frames, unread) = runtime.block_on(async {
        // One who never reads costs the others nothing.
        let unread = client.listen(session, "side=both&rate=16000").await;
        let (left, right, wide, frames) = tokio::join!(
            client.hear(session, "side=caller&encoding=ulaw"),
            client.hear(session, "side=callee&encoding=ulaw"),
            client.hear(session, "side=caller&rate=16000"),
            client.watch(session, &topic),
        );
        (left, right, wide, frames, unread)
    });
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    let [recording] = &call.recordings[..] else { panic!("one recording: {:?}", call.recordings) };
    assert!(recording.complete, "{:?}", recording.certificate);
    let stereo = Stereo::read(&bench.home.recording_path(recording));
    let recorded = [samples(&stereo.left), samples(&stereo.right)];

    let narrow = Format::mono(Encoding::Ulaw, 8_000);
    let [left, right] = [left, right].map(|wav| samples(&samples_of(wav, narrow)));
    place_in(&recorded[0], &left);
    place_in(&recorded[1], &right);

    let wide = samples_of(wide, Format::mono(Encoding::Pcm16, 16_000));
    // Every other sample is where one of the recording is.
    let wide: Vec<i16> = linear::from_wav(&wide).step_by(2).collect();
    let found = locate(&wide[8_000..16_000], &recorded[0]).expect("speech is no silence");
    assert!(found.peak >= LIKENESS_MIN, "{found:?}");

    assert!(frames.iter().enumerate().all(|(n, frame)| frame.sequence == n as u32 && frame.flags & !2 == 0));
    assert!(frames.windows(2).all(|pair| pair[1].position == pair[0].position + FRAME as u64));
    let heard: Vec<i16> = frames.iter().flat_map(|f| linear::from_wav(&f.audio).collect::<Vec<_>>()).collect();
    for (side, channel) in recorded.iter().enumerate() {
        let side: Vec<i16> = heard.iter().skip(side).step_by(2).copied().collect();
        let place = place_in(channel, &side);
        assert!(place.abs_diff(frames[0].position as usize) <= PLACE_WRONG_MAX, "{place}, not {}", frames[0].position);
    }

    // From the moment when the last sample of a frame had been spoken, as the recording has it.
    let firsts = [&recording.certificate.caller, &recording.certificate.callee].map(|f| f.first_packet_at.unwrap());
    let begin_us = firsts.into_iter().min().unwrap().as_micros() - 20_000;
    let spoken_us = |frame: &Frame| begin_us + (frame.position as i64 + FRAME as i64) * SAMPLE_US;
    let mut delays_us: Vec<i64> = frames.iter().map(|frame| frame.came_us - spoken_us(frame)).collect();
    delays_us.sort_unstable();
    let [half, most] = [delays_us.len() / 2, delays_us.len() * 99 / 100].map(|n| delays_us[n] / 1_000);
    println!("heard {half} ms after it was spoken (p50), {most} ms (p99), of {} frames", delays_us.len());
    assert!(half <= 200, "{half} ms");

    let gone = runtime.block_on(client.listen(session, ""));
    assert_eq!(gone.status(), StatusCode::CONFLICT);
    drop(unread);
    gateway.terminate_without_complaint();
}
