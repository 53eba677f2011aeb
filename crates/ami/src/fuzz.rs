//! Fuzz targets as plain functions: for cargo-fuzz, and for tests over a corpus or random bytes.

use crate::{Event, Frame, Limits, Message, Parser};

/// Reads `data` as an AMI stream under tight limits, whole and byte by byte, and makes events of its messages.
///
/// # Panics
///
/// When the two readings differ or a limit is not kept: that is what a fuzzer looks for.
pub fn fuzz_frame(data: &[u8]) {
    let limits = Limits { line_bytes_max: 256, headers_max: 16, message_bytes_max: 1024 };
    let whole = read([data], limits);
    assert_eq!(whole, read(data.chunks(1), limits), "frames depend on how the bytes are split");
    for message in whole {
        assert!(message.headers().count() <= limits.headers_max, "too many headers");
        // A byte that is no UTF-8 becomes a replacement character of three.
        assert!(message.bytes() <= 3 * limits.message_bytes_max, "too long a message");
        let _ = Event::from(message);
    }
}

/// All messages up to the end or the first error.
fn read<'d>(pieces: impl IntoIterator<Item = &'d [u8]>, limits: Limits) -> Vec<Message> {
    let mut parser = Parser::new(limits);
    let mut messages = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(Frame::Message(message))) => messages.push(message),
                Ok(Some(Frame::Banner(_))) => {}
                Ok(None) => break,
                Err(_) => return messages,
            }
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_kept_corpus_holds() {
        let corpus: [&[u8]; 6] = [
            b"",
            b"\r\n\r\n",
            b"Asterisk Call Manager/",
            b"Asterisk Call Manager/11.0.0\r\nEvent: Newchannel\r\nUniqueid: 1\r\n\r\n",
            b"Asterisk Call Manager/11.0.0\nEvent: Hangup\nUniqueid: 1\nCause: 99999999999\nTimestamp: .\n\n",
            b"Asterisk Call Manager/11.0.0\r\nEvent: Newchannel\r\nUniqueid: \xff\r\nCallerIDName: \\\r\nDuration: ::\r\n\r\n",
        ];
        corpus.into_iter().for_each(fuzz_frame);
    }

    proptest! {
        #[test]
        fn random_bytes_hold(data in prop::collection::vec(any::<u8>(), 0..600), banner in any::<bool>()) {
            let head: &[u8] = if banner { b"Asterisk Call Manager/5.0.2\r\n" } else { b"" };
            fuzz_frame(&[head, &data].concat());
        }
    }
}
