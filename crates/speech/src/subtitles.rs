//! What was said, as lines of text and as subtitles: SubRip, and WebVTT (<https://www.w3.org/TR/webvtt1/>).

use std::fmt::Write as _;

/// One utterance to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Where it begins, in milliseconds from where the text's times are counted.
    pub start_ms: u64,
    /// Where it ends, likewise.
    pub end_ms: u64,
    /// Who says it, where there is more than one.
    pub speaker: Option<&'a str>,
    /// What is said.
    pub text: &'a str,
}

/// A line for each utterance: when, who, what.
pub fn lines<'a>(said: impl IntoIterator<Item = Line<'a>>) -> String {
    said.into_iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "[{}] {}{}", clock(line.start_ms, '.'), line.named(), on_one_line(line.text));
        text
    })
}

/// SubRip.
pub fn srt<'a>(said: impl IntoIterator<Item = Line<'a>>) -> String {
    said.into_iter().zip(1u32..).fold(String::new(), |mut text, (line, number)| {
        let [start, end] = [line.start_ms, line.end_ms].map(|ms| clock(ms, ','));
        let _ = write!(text, "{number}\n{start} --> {end}\n{}{}\n\n", line.named(), on_one_line(line.text));
        text
    })
}

/// WebVTT, with the speaker as a voice.
pub fn vtt<'a>(said: impl IntoIterator<Item = Line<'a>>) -> String {
    said.into_iter().fold("WEBVTT\n\n".to_owned(), |mut text, line| {
        let [start, end] = [line.start_ms, line.end_ms].map(|ms| clock(ms, '.'));
        let voice = line.speaker.map(|speaker| format!("<v {speaker}>")).unwrap_or_default();
        let said = on_one_line(line.text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(text, "{start} --> {end}\n{voice}{said}\n\n");
        text
    })
}

impl Line<'_> {
    fn named(&self) -> String {
        self.speaker.map(|speaker| format!("{speaker}: ")).unwrap_or_default()
    }
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
    use super::*;

    fn line<'a>(speaker: Option<&'a str>, start_ms: u64, text: &'a str) -> Line<'a> {
        Line { start_ms, end_ms: start_ms + 1_500, speaker, text }
    }

    #[test]
    fn subtitles_are_as_players_read_them() {
        let said = [line(Some("caller"), 0, "Hallo"), line(Some("callee"), 3_661_007, "1 < 2 &\n\n\n3 --> 4")];
        assert_eq!(lines(said), "[00:00:00.000] caller: Hallo\n[01:01:01.007] callee: 1 < 2 & 3 --> 4\n");
        assert_eq!(
            srt(said),
            "1\n00:00:00,000 --> 00:00:01,500\ncaller: Hallo\n\n2\n01:01:01,007 --> 01:01:02,507\ncallee: 1 < 2 & 3 --> 4\n\n"
        );
        assert_eq!(
            vtt(said),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v caller>Hallo\n\n\
             01:01:01.007 --> 01:01:02.507\n<v callee>1 &lt; 2 &amp; 3 --&gt; 4\n\n"
        );
    }

    #[test]
    fn who_speaks_alone_is_not_named() {
        let said = [line(None, 0, "Hallo")];
        assert_eq!(lines(said), "[00:00:00.000] Hallo\n");
        assert_eq!(srt(said), "1\n00:00:00,000 --> 00:00:01,500\nHallo\n\n");
        assert_eq!(vtt(said), "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHallo\n\n");
    }
}
