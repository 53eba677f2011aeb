//! `aimg transcribe`: a file with known words becomes a transcript.

use std::f64::consts::TAU;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aimg_audio::linear;
use aimg_audio::wav::{Encoding, Format, WavWriter};
use aimg_testbed::{Prompt, WordErrors};
use serde_json::Value;

use crate::home::Home;
use crate::site::{respond, site};
use crate::transcripts::models_dir;

/// One prompt on the left, a second of silence and the other on the right.
const PROMPTS: [&str; 2] = ["vm-dialout", "cannot-complete-as-dialed"];
const RATE_HZ: u32 = 8_000;

fn write_wav(path: &Path, format: Format, samples: &[i16]) {
    let mut bytes = Vec::new();
    linear::to_wav(samples, &mut bytes);
    let mut wav = WavWriter::new(File::create(path).unwrap(), format).unwrap();
    wav.write(&bytes).unwrap();
    wav.finish().unwrap();
}

/// Writes both prompts as a stereo file; gives where the second begins, in ms.
fn write_talk(path: &Path) -> u64 {
    let [mut left, second] = PROMPTS.map(|name| Prompt::named(name).unwrap().samples().unwrap());
    let begins = left.len() + RATE_HZ as usize;
    let mut right = vec![0; begins];
    right.extend(second);
    left.resize(right.len(), 0);
    let both: Vec<i16> = left.into_iter().zip(right).flat_map(|(left, right)| [left, right]).collect();
    write_wav(path, Format::stereo(Encoding::Pcm16, RATE_HZ), &both);
    begins as u64 * 1_000 / u64::from(RATE_HZ)
}

#[test]
fn each_channel_is_a_speaker_whose_words_are_known() {
    let home = Home::new();
    fs::create_dir_all(home.data("")).unwrap();
    let file = home.data("talk.wav");
    let second_at_ms = write_talk(&file);
    let models = models_dir();
    let transcribe = |more: &[&str]| {
        let mut command = home.aimg(&[&["transcribe", file.to_str().unwrap()], more].concat());
        command.env("AIMG_SPEECH_LOCAL_MODELS_DIR", &models).env("AIMG_SPEECH_LOCAL_WORKERS", "1");
        command
    };
    let json = |command: Command| -> Value { serde_json::from_str(&home.run(command).succeeded().stdout).unwrap() };

    let heard = json(transcribe(&["--json"]));
    assert_eq!(
        (&heard["provider"], &heard["is_cached"], &heard["channels"]),
        (&"local".into(), &false.into(), &2.into())
    );
    let segments = heard["segments"].as_array().unwrap();
    for (channel, name) in (1..).zip(PROMPTS) {
        let of_channel = segments.iter().filter(|said| said["channel"] == channel);
        let text: Vec<&str> = of_channel.clone().map(|said| said["text"].as_str().unwrap()).collect();
        let errors = WordErrors::between(&Prompt::named(name).unwrap().text, &text.join(" "));
        assert!(errors.errors <= 1, "{name}: {text:?}");
        let begin_ms = of_channel.clone().next().unwrap()["words"][0]["start_ms"].as_u64().unwrap();
        let expected_ms = if channel == 1 { 0 } else { second_at_ms };
        // A prompt begins with some silence of its own.
        assert!((expected_ms..expected_ms + 700).contains(&begin_ms), "{name}: {begin_ms} ms");
    }

    // What was made is not made again, whatever it is to look like; unless that is wanted.
    let srt = home.run(transcribe(&["--format", "srt"])).succeeded();
    assert!(srt.stdout.starts_with("1\n00:00:00,") && srt.stdout.contains("\nspeaker 2: "), "{}", srt.stdout);
    assert!(!srt.stderr.contains("transcribing"), "it was kept: {}", srt.stderr);
    assert!(home.run(transcribe(&["--format", "vtt"])).succeeded().stdout.starts_with("WEBVTT\n\n00:00:0"));
    assert_eq!(json(transcribe(&["--format", "json"]))["is_cached"], true);
    assert_eq!(json(transcribe(&["--json", "--fresh"]))["segments"], heard["segments"]);
    let other_way = |name: &str, value: &str| {
        let mut command = transcribe(&["--json"]);
        command.env(name, value);
        json(command)["is_cached"].clone()
    };
    assert_eq!(other_way("AIMG_SPEECH_LOCAL_STREAMS_MAX", "2"), false, "settings decide");
    assert_eq!(other_way("TRANSCRIPTION_CACHE_TTL", "0"), false);
    assert_eq!(fs::read_dir(home.data("transcripts")).unwrap().count(), 0, "nothing may be kept");
}

#[test]
fn what_cannot_be_transcribed_is_told() {
    let home = Home::new();
    fs::create_dir_all(home.data("")).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let address = site(move |request, stream| {
        assert!(request.starts_with("POST /v1/audio/transcriptions "), "{request}");
        match counts.fetch_add(1, Ordering::Relaxed) {
            0 => respond(stream, 503, b""),
            1 => respond(stream, 200, br#"{"text": "Two four six."}"#),
            _ => respond(stream, 401, br#"{"error": {"message": "no more"}}"#),
        }
    });
    let file = home.data("file.wav");
    let transcribe = |more: &[&str]| {
        let mut command = home.aimg(&[&["transcribe", file.to_str().unwrap()], more].concat());
        command.env("AIMG_SPEECH_HTTP_URL", format!("http://{address}/v1"));
        command
    };
    let run = |more: &[&str]| home.run(transcribe(more));

    run(&[]).failed_with(66, &["file.wav cannot be read"]);
    fs::write(&file, "ID3 and so on, for it is an MP3").unwrap();
    run(&[]).failed_with(65, &["not a WAV file", "convert it to WAV first"]);
    // A low tone: the detector of voice takes it for voice.
    let loud = |samples: u32| (0..samples).map(|n| ((f64::from(n) * 440.0 * TAU / 8_000.0).sin() * 8_000.0) as i16);
    let loud = |samples: u32| loud(samples).collect::<Vec<i16>>();
    write_wav(&file, Format::mono(Encoding::Pcm16, 11_025), &loud(11_025));
    run(&[]).failed_with(64, &["11025 Hz cannot be resampled"]);
    write_wav(&file, Format::mono(Encoding::Pcm16, u32::MAX), &loud(8_000));
    run(&[]).failed_with(64, &["4294967295 samples a second, not 4000 to 192000"]);
    write_wav(&file, Format::mono(Encoding::Pcm16, 8_000), &loud(8_000));
    let mut small = transcribe(&[]);
    small.env("TRANSCRIPTION_MAX_AUDIO_SIZE", "16000");
    home.run(small).failed_with(64, &["bytes, more than 16000", "raise TRANSCRIPTION_MAX_AUDIO_SIZE"]);
    run(&["--provider", "local"]).failed_with(66, &["aimg models pull whisper-tiny.en"]);
    run(&["--provider", "siri"]).failed_with(64, &["no recogniser `siri`", "those that are: http"]);
    run(&["--json", "--format", "srt"]).failed_with(64, &["name one of them"]);
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    let heard = run(&[]).succeeded();
    assert_eq!(heard.stdout, "[00:00:00.000] Two four six.\n");
    assert!(heard.stderr.contains("failed attempts of http: 1"), "{}", heard.stderr);
    run(&[]).succeeded();
    assert_eq!(asked.load(Ordering::Relaxed), 2, "it was kept");
    run(&["--language", "de"]).failed_with(77, &["no more"]);
}
