//! Live audio of calls on a WebSocket: binary messages, each a header and 20 ms of a session.
//!
//! Each topic has a task that listens, and hands on a few frames at most: while the socket does not take them, it does not
//! listen, and skips ahead afterwards.

use aimg_core::{SessionId, TenantScope};
use aimg_gateway::{Ears, Frame, Hearing, ListenError, ListenSpec};
use axum::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes before the samples. The AsyncAPI document says what they are.
pub(crate) const HEADER_BYTES: usize = 32;
/// What a header begins with.
const VERSION: u8 = 1;
/// Frames that may wait for the socket: 160 ms of one topic.
const FRAMES_MAX: usize = 8;

/// What a topic brings.
#[derive(Debug)]
pub(super) enum Said {
    /// A binary message.
    Frame(Bytes),
    /// The call, or its capture, has ended.
    Ended(SessionId),
}

/// The audio topics of a connection.
#[derive(Debug)]
pub(super) struct Audio {
    feeds: Vec<Feed>,
    sender: mpsc::Sender<Said>,
    pub(super) said: mpsc::Receiver<Said>,
}

/// One of them; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Feed {
    session: SessionId,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Audio {
    fn default() -> Self {
        let (sender, said) = mpsc::channel(FRAMES_MAX);
        Self { feeds: Vec::new(), sender, said }
    }
}

impl Audio {
    /// Begins to listen; nothing is kept until [`Audio::keep`].
    pub(super) async fn listen(
        &self,
        ears: &Ears,
        scope: TenantScope,
        session: SessionId,
        spec: ListenSpec,
    ) -> Result<Feed, ListenError> {
        let hearing = ears.listen(scope, session, spec).await?;
        Ok(Feed { session, task: tokio::spawn(feed(hearing, session, self.sender.clone())) })
    }

    pub(super) fn keep(&mut self, feeds: Vec<Feed>) {
        self.feeds.extend(feeds);
    }

    /// Ends those of which this is not true.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(SessionId) -> bool) {
        self.feeds.retain(|feed| is_wanted(feed.session));
    }
}

async fn feed(mut hearing: Hearing, session: SessionId, out: mpsc::Sender<Said>) {
    let mut sequence = 0;
    while let Some(frame) = hearing.next().await {
        if out.send(Said::Frame(message(session, sequence, &frame))).await.is_err() {
            return;
        }
        sequence = sequence.wrapping_add(1);
    }
    let _ = out.send(Said::Ended(session)).await;
}

/// A frame as it is sent.
fn message(session: SessionId, sequence: u32, frame: &Frame) -> Bytes {
    let marks = frame.marks;
    let flags = u8::from(marks.lost) | u8::from(marks.silent) << 1 | u8::from(marks.skipped) << 2;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + frame.audio.len());
    bytes.extend([VERSION, flags]);
    bytes.extend(frame.part.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(frame.position.to_le_bytes());
    bytes.extend(session.as_uuid().as_bytes());
    bytes.extend(&frame.audio);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use aimg_gateway::Marks;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_header_is_laid_out_as_the_document_says() {
        let session = SessionId::from_uuid(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
        let marks = Marks { lost: true, silent: false, skipped: true };
        let frame = Frame { part: 0x0201, position: 0x0807_0605_0403_0201, marks, audio: vec![9, 8, 7] };
        let bytes = message(session, 0x0403_0201, &frame);
        assert_eq!(bytes[..4], [1, 0b101, 1, 2]);
        assert_eq!(bytes[4..8], [1, 2, 3, 4]);
        assert_eq!(bytes[8..16], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[16..HEADER_BYTES], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(bytes[HEADER_BYTES..], [9, 8, 7]);
    }
}
