//! What was said, as lines of text and as subtitles: SubRip, and WebVTT (<https://www.w3.org/TR/webvtt1/>).

use std::fmt::Write as _;

use aimg_store::SegmentRow;

/// A line for each utterance: when, who, what.
pub(crate) fn lines(said: &[SegmentRow]) -> String {
    said.iter().fold(String::new(), |mut text, segment| {
        let _ =
            writeln!(text, "[{}] {}: {}", clock(segment.start_ms, '.'), segment.speaker, on_one_line(&segment.text));
        text
    })
}

/// SubRip.
pub(crate) fn srt(said: &[SegmentRow]) -> String {
    said.iter().zip(1u32..).fold(String::new(), |mut text, (segment, number)| {
        let times = [segment.start_ms, segment.end_ms].map(|ms| clock(ms, ','));
        let said = on_one_line(&segment.text);
        let _ = write!(text, "{number}\n{} --> {}\n{}: {said}\n\n", times[0], times[1], segment.speaker);
        text
    })
}

/// WebVTT, with the speaker as a voice.
pub(crate) fn vtt(said: &[SegmentRow]) -> String {
    said.iter().fold("WEBVTT\n\n".to_owned(), |mut text, segment| {
        let times = [segment.start_ms, segment.end_ms].map(|ms| clock(ms, '.'));
        let said = on_one_line(&segment.text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(text, "{} --> {}\n<v {}>{said}\n\n", times[0], times[1], segment.speaker);
        text
    })
}

/// An empty line would end an utterance.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn clock(ms: u64, point: char) -> String {
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    format!("{:02}:{:02}:{:02}{point}{ms:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use aimg_core::{Direction, SessionId, TenantId, Timestamp, TranscriptId};
    use uuid::Uuid;

    use super::*;

    fn segment(speaker: Direction, start_ms: u64, text: &str) -> SegmentRow {
        SegmentRow {
            tenant: TenantId::from_uuid(Uuid::nil()),
            session: SessionId::from_uuid(Uuid::nil()),
            transcript: TranscriptId::from_uuid(Uuid::nil()),
            number: 0,
            speaker,
            at: Timestamp::default(),
            start_ms,
            end_ms: start_ms + 1_500,
            text: text.to_owned(),
            confidence: None,
            words: None,
            is_final: true,
        }
    }

    #[test]
    fn subtitles_are_as_players_read_them() {
        let said =
            [segment(Direction::Caller, 0, "Hallo"), segment(Direction::Callee, 3_661_007, "1 < 2 &\n\n\n3 --> 4")];
        assert_eq!(lines(&said), "[00:00:00.000] caller: Hallo\n[01:01:01.007] callee: 1 < 2 & 3 --> 4\n");
        assert_eq!(
            srt(&said),
            "1\n00:00:00,000 --> 00:00:01,500\ncaller: Hallo\n\n2\n01:01:01,007 --> 01:01:02,507\ncallee: 1 < 2 & 3 --> 4\n\n"
        );
        assert_eq!(
            vtt(&said),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v caller>Hallo\n\n\
             01:01:01.007 --> 01:01:02.507\n<v callee>1 &lt; 2 &amp; 3 --&gt; 4\n\n"
        );
    }
}
