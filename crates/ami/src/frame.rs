//! Bytes to messages: the banner line, then messages of `Key: value` lines, each ended by an empty line.
//!
//! Knows nothing of what the messages mean (that is `event`) and does no IO. Each line is looked at once: where its key
//! and its value are is noted then. Messages that came together share their text and these notes, so that a message costs
//! no allocation of its own.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;

use crate::FrameError;

/// What the banner begins with; the version of the protocol follows.
const BANNER: &str = "Asterisk Call Manager/";

/// Bytes of an ordinary header, to make room for as many as there may be.
const HEADER_BYTES_TYPICAL: usize = 24;

/// Characters of a foreign first line that are kept for the error message.
const FOREIGN_LINE_CHARS_MAX: usize = 60;

/// How much a peer may send before it must have come to an end of line or message. Past a limit the stream is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a line, its CR included. Asterisk sends variables whole, so this bounds what a `VarSet` may show.
    pub line_bytes_max: usize,
    /// Lines of a message. Each line that a `Command` puts out is one.
    pub headers_max: usize,
    /// Bytes of a message.
    pub message_bytes_max: usize,
}

impl Default for Limits {
    /// 64 KiB a line, 16,384 lines, 1 MiB a message: far above what Asterisk sends by itself, and enough for what a
    /// `Command` puts out, which comes as one message.
    fn default() -> Self {
        Self { line_bytes_max: 64 * 1024, headers_max: 16 * 1024, message_bytes_max: 1024 * 1024 }
    }
}

/// What the parser finds in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first line: the version of the protocol, such as `11.0.0`.
    Banner(String),
    /// A response or an event.
    Message(Message),
}

/// One message: its headers in the order they came. What came with it in one read stays in memory as long as it does.
#[derive(Clone)]
pub struct Message {
    shared: Arc<Shared>,
    /// Which of the shared headers are its own; at least one.
    own: Range<usize>,
}

/// Messages that came together.
struct Shared {
    text: String,
    headers: Vec<Header>,
}

/// Where in the text a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    start: u32,
    colon: u32,
    /// Behind the value.
    end: u32,
}

impl Header {
    /// The header in `line`, its end of line left out; nothing for a line without a key.
    fn find(text: &[u8], line: Range<usize>) -> Option<Self> {
        // Keys are short: this is faster than a search many bytes at a time.
        let colon = line.start + text[line.clone()].iter().position(|b| *b == b':').filter(|at| *at > 0)?;
        let offset = |at: usize| u32::try_from(at).ok();
        Some(Self { start: offset(line.start)?, colon: offset(colon)?, end: offset(line.end)? })
    }

    fn key(self, text: &str) -> &str {
        &text[self.start as usize..self.colon as usize]
    }

    fn value(self, text: &str) -> &str {
        let value = &text[self.colon as usize + 1..self.end as usize];
        value.strip_prefix(' ').unwrap_or(value)
    }
}

impl Message {
    /// Keys and values, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = &*self.shared.text;
        self.own().iter().map(|header| (header.key(text), header.value(text)))
    }

    /// The value of the first header named `key`, in whatever case.
    pub fn first(&self, key: &str) -> Option<&str> {
        let text = &*self.shared.text;
        let header = self.own().iter().find(|header| is_same_key(header.key(text), key))?;
        Some(header.value(text))
    }

    /// The values of all headers named `key`, in whatever case, in order.
    pub fn all<'m>(&'m self, key: &'m str) -> impl Iterator<Item = &'m str> {
        self.headers().filter(move |(k, _)| is_same_key(k, key)).map(|(_, value)| value)
    }

    /// Bytes that the message takes in memory.
    pub fn bytes(&self) -> usize {
        let own = self.own();
        let text = own.first().zip(own.last()).map_or(0, |(first, last)| (last.end - first.start) as usize);
        text + size_of_val(own)
    }

    fn own(&self) -> &[Header] {
        &self.shared.headers[self.own.clone()]
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.headers().eq(other.headers())
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    /// Values are left out: they hold phone numbers, and whatever a dialplan puts into variables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message")?;
        let telling = ["Event", "Response", "ActionID"];
        f.debug_map()
            .entries(self.headers().map(|(key, value)| (key, if telling.contains(&key) { value } else { "…" })))
            .finish()
    }
}

/// Whether two keys are the same, in whatever case. Asterisk nearly always writes the case that we ask for.
pub(crate) fn is_same_key(a: &str, b: &str) -> bool {
    a.len() == b.len() && (a == b || a.eq_ignore_ascii_case(b))
}

/// Cuts a stream into frames, however its bytes are split.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// What came since the end of the last message.
    text: Vec<u8>,
    /// The headers in it.
    headers: Vec<Header>,
    /// The messages in it that have ended, by their headers.
    ended: Vec<Range<usize>>,
    /// Where in `text` the message being read begins.
    message_start: usize,
    /// Where in `text` the line being read begins.
    line_start: usize,
    /// Lines of the message so far, skipped ones included.
    lines: usize,
    banner_seen: bool,
    /// What was found and not asked for yet.
    ready: VecDeque<Frame>,
    failed: Option<FrameError>,
    skipped_lines: u64,
}

impl Parser {
    /// A parser at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            text: Vec::new(),
            headers: Vec::new(),
            ended: Vec::new(),
            message_start: 0,
            line_start: 0,
            lines: 0,
            banner_seen: false,
            ready: VecDeque::new(),
            failed: None,
            skipped_lines: 0,
        }
    }

    /// The next frame. When none is left of what was taken before, takes all of `input`; `None` means that more is needed.
    /// An error is final: the stream has no beginning of a message any more that one could wait for.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.ready.is_empty() && self.failed.is_none() {
            self.failed = self.read(std::mem::take(input)).err();
        }
        match (self.ready.pop_front(), &self.failed) {
            (None, Some(error)) => Err(error.clone()),
            (frame, _) => Ok(frame),
        }
    }

    /// Lines without a key that were left out of their messages. A line feed in a value that Asterisk does not escape
    /// makes such a line; one caller's odd variable must not cost the link.
    pub fn skipped_lines(&self) -> u64 {
        self.skipped_lines
    }

    fn read(&mut self, input: &[u8]) -> Result<(), FrameError> {
        let searched = self.text.len();
        self.text.extend_from_slice(input);
        self.headers.reserve(input.len() / HEADER_BYTES_TYPICAL);
        let outcome = self.read_lines(searched);
        // Those that ended before an error are whole.
        self.hand_over();
        outcome
    }

    /// Reads the lines that end behind `searched`.
    fn read_lines(&mut self, mut searched: usize) -> Result<(), FrameError> {
        while let Some(at) = memchr(b'\n', &self.text[searched..]) {
            let line = self.line_start..searched + at;
            searched = line.end + 1;
            self.line_start = searched;
            self.check_line(line.len())?;
            self.end_line(without_cr(&self.text, line))?;
        }
        self.check_line(self.text.len() - self.line_start)
    }

    const fn check_line(&self, bytes: usize) -> Result<(), FrameError> {
        if bytes > self.limits.line_bytes_max {
            return Err(FrameError::LineTooLong { bytes_max: self.limits.line_bytes_max });
        }
        Ok(())
    }

    /// Judges a line that has become whole.
    fn end_line(&mut self, line: Range<usize>) -> Result<(), FrameError> {
        if line.is_empty() {
            self.end_message();
            return Ok(());
        }
        if !self.banner_seen {
            self.banner_seen = true;
            self.message_start = self.line_start;
            self.ready.push_back(banner(&self.text[line])?);
            return Ok(());
        }
        self.lines += 1;
        if self.lines > self.limits.headers_max {
            return Err(FrameError::TooManyHeaders { headers_max: self.limits.headers_max });
        }
        if self.line_start - self.message_start > self.limits.message_bytes_max {
            return Err(FrameError::MessageTooLong { bytes_max: self.limits.message_bytes_max });
        }
        match Header::find(&self.text, line) {
            Some(header) => self.headers.push(header),
            None => self.skipped_lines += 1,
        }
        Ok(())
    }

    /// An empty line: the end of a message, or nothing where there was none.
    fn end_message(&mut self) {
        let own = self.ended_headers()..self.headers.len();
        if !own.is_empty() {
            self.ended.push(own);
        }
        self.message_start = self.line_start;
        self.lines = 0;
    }

    /// How many of the headers belong to messages that have ended.
    fn ended_headers(&self) -> usize {
        self.ended.last().map_or(0, |last| last.end)
    }

    /// Makes the messages that have ended ready, and keeps what is behind them.
    fn hand_over(&mut self) {
        if self.message_start == 0 {
            return;
        }
        let mut headers = self.headers.split_off(self.ended_headers());
        let cut = self.message_start as u32;
        headers.iter_mut().for_each(|h| (h.start, h.colon, h.end) = (h.start - cut, h.colon - cut, h.end - cut));
        let text = self.text.split_off(self.message_start);
        let (text, headers) = (std::mem::replace(&mut self.text, text), std::mem::replace(&mut self.headers, headers));
        self.line_start -= self.message_start;
        self.message_start = 0;
        let shared = Arc::new(match String::from_utf8(text) {
            Ok(text) => Shared { text, headers },
            Err(e) => lossy(e.as_bytes(), &headers),
        });
        let message = |own| Frame::Message(Message { shared: Arc::clone(&shared), own });
        self.ready.extend(self.ended.drain(..).map(message));
    }
}

/// The same headers in a text of valid UTF-8: Asterisk passes names on as a phone sent them, in any encoding.
fn lossy(text: &[u8], headers: &[Header]) -> Shared {
    let mut valid = Shared { text: String::new(), headers: Vec::with_capacity(headers.len()) };
    for header in headers {
        let start = valid.text.len() as u32;
        let mut append = |from: u32, to: u32| {
            valid.text.push_str(&String::from_utf8_lossy(&text[from as usize..to as usize]));
            valid.text.len() as u32
        };
        let (colon, end) = (append(header.start, header.colon), append(header.colon, header.end));
        valid.headers.push(Header { start, colon, end });
    }
    valid
}

/// The line without its CR.
fn without_cr(text: &[u8], line: Range<usize>) -> Range<usize> {
    let cr = usize::from(text[line.clone()].ends_with(b"\r"));
    line.start..line.end - cr
}

/// The first line.
fn banner(line: &[u8]) -> Result<Frame, FrameError> {
    let line = String::from_utf8_lossy(line);
    let Some(version) = line.strip_prefix(BANNER) else {
        let line = line.chars().take(FOREIGN_LINE_CHARS_MAX).flat_map(char::escape_debug).collect();
        return Err(FrameError::NotAsterisk { line });
    };
    Ok(Frame::Banner(version.trim().to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The one message in `text`.
    pub(crate) fn message(text: &str) -> Message {
        let stream = format!("{BANNER}11.0.0\r\n{text}\r\n");
        match parse(&[stream.as_bytes()], Limits::default()).0.pop() {
            Some(Frame::Message(message)) => message,
            other => panic!("no message but {other:?}"),
        }
    }

    fn parse(pieces: &[&[u8]], limits: Limits) -> (Vec<Frame>, Option<FrameError>, u64) {
        let mut parser = Parser::new(limits);
        let mut frames = Vec::new();
        for mut piece in pieces.iter().copied() {
            loop {
                match parser.next(&mut piece) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error), parser.skipped_lines()),
                }
            }
        }
        (frames, None, parser.skipped_lines())
    }

    fn headers(frame: &Frame) -> Vec<(&str, &str)> {
        match frame {
            Frame::Banner(version) => vec![("banner", version)],
            Frame::Message(message) => message.headers().collect(),
        }
    }

    #[test]
    fn a_stream_becomes_messages() {
        type Headers = Vec<(&'static str, &'static str)>;
        let cases: [(&[u8], Vec<Headers>, u64); 7] = [
            (
                b"Event: A\r\nX: 1\r\n\r\nEvent: B\r\n\r\n",
                vec![vec![("Event", "A"), ("X", "1")], vec![("Event", "B")]],
                0,
            ),
            (b"Event: A\nX:1\n\n", vec![vec![("Event", "A"), ("X", "1")]], 0),
            (b"V: a: b\r\nV:  two\r\nV:\r\n\r\n", vec![vec![("V", "a: b"), ("V", " two"), ("V", "")]], 0),
            (b"\r\n\r\n\r\nEvent: A\r\n\r\n", vec![vec![("Event", "A")]], 0),
            (b"Event: A\r\njunk\r\n: no key\r\nB: 2\r\n\r\n", vec![vec![("Event", "A"), ("B", "2")]], 2),
            (b"Name: J\xfcrgen\r\n\r\n", vec![vec![("Name", "J\u{fffd}rgen")]], 0),
            (b"Event: not ended\r\n", vec![], 0),
        ];
        for (body, expected, skipped_lines) in cases {
            let stream = [b"Asterisk Call Manager/11.0.0\r\n", body].concat();
            let (frames, error, skipped) = parse(&[&stream], Limits::default());
            let shown = String::from_utf8_lossy(body);
            assert_eq!(headers(&frames[0]), [("banner", "11.0.0")], "{shown}");
            assert_eq!(frames[1..].iter().map(headers).collect::<Vec<_>>(), expected, "{shown}");
            assert_eq!((error, skipped), (None, skipped_lines), "{shown}");
        }
    }

    #[test]
    fn limits_end_the_stream() {
        let limits = Limits { line_bytes_max: 40, headers_max: 3, message_bytes_max: 60 };
        let line_too_long = FrameError::LineTooLong { bytes_max: 40 };
        let not_asterisk = |line: &str| FrameError::NotAsterisk { line: line.to_owned() };
        let cases = [
            ("Asterisk Call Manager/1\r\n".to_owned() + &"x".repeat(41), line_too_long.clone()),
            ("x".repeat(41), line_too_long),
            (
                "Asterisk Call Manager/1\r\nA: 1\r\nB: 2\r\njunk\r\nD: 4\r\n".to_owned(),
                FrameError::TooManyHeaders { headers_max: 3 },
            ),
            (
                format!("Asterisk Call Manager/1\r\nA: {0}\r\nB: {0}\r\n", "x".repeat(30)),
                FrameError::MessageTooLong { bytes_max: 60 },
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), not_asterisk("SSH-2.0-OpenSSH_9.2")),
            ("\u{1}\u{2}\n".to_owned(), not_asterisk("\\u{1}\\u{2}")),
        ];
        for (stream, expected) in cases {
            assert_eq!(parse(&[stream.as_bytes()], limits).1, Some(expected), "{stream:?}");
        }
    }

    #[test]
    fn an_error_stays() {
        let mut parser = Parser::new(Limits::default());
        let first = parser.next(&mut &b"HTTP/1.1 400\r\n"[..]).unwrap_err();
        assert_eq!(parser.next(&mut &b"Asterisk Call Manager/1\r\n"[..]), Err(first));
    }

    #[test]
    fn keys_are_found_in_any_case_and_may_repeat() {
        let m = message("Event: X\r\nchanvariable: a=1\r\nChanVariable: b=2\r\n");
        assert_eq!(m.first("EVENT"), Some("X"));
        assert_eq!(m.all("ChanVariable").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(m.first("Absent"), None);
    }

    #[test]
    fn debug_keeps_values_to_itself() {
        let shown = format!("{:?}", message("Event: Newchannel\r\nCallerIDNum: 4930123456\r\n"));
        assert!(
            shown.contains("Newchannel") && shown.contains("CallerIDNum") && !shown.contains("4930123456"),
            "{shown}"
        );
    }

    /// Streams that are nearly AMI: the bytes that matter are likely, and so are whole headers.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b": ".to_vec()),
            "[A-Z][a-z]{1,8}: [ -~]{0,20}\r\n".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..12),
        ];
        (any::<bool>(), prop::collection::vec(token, 0..60)).prop_map(|(banner, tokens)| {
            let mut stream = if banner { b"Asterisk Call Manager/7.0.3\r\n".to_vec() } else { Vec::new() };
            stream.extend(tokens.concat());
            stream
        })
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_how_bytes_are_split(
            stream in stream(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let limits = Limits { line_bytes_max: 64, headers_max: 12, message_bytes_max: 300 };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(parse(&pieces, limits), parse(&[&stream], limits));
        }

        #[test]
        fn headers_come_back_as_they_were_sent(
            sent in prop::collection::vec(("[A-Za-z][A-Za-z0-9()-]{0,15}", "[^\r\n]{0,40}"), 1..30)
        ) {
            let text: String = sent.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
            let parsed = message(&text);
            let got: Vec<_> = parsed.headers().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(got, sent);
        }
    }
}
