//! One part of a capture as it is heard from its first packet on, by the gateway itself: no listener's place is taken.

use std::time::Duration;

use aimg_core::{Codec, Direction, SessionId, Timestamp};
use aimg_media::Media;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::playing::{Playing, Sides};

/// How often it is looked whether something came.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Both directions of a part. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct PartEar {
    media: Media,
    playing: Playing,
    look: Interval,
}

/// 20 ms of both directions, linear, at the codec's rate.
#[derive(Debug)]
pub(crate) struct HeardPart {
    /// The first sample's place in the recording of the part.
    pub(crate) position: u64,
    /// Audio before it was skipped, because it was listened to too seldom.
    pub(crate) skipped: bool,
    /// The samples, in the order of [`Direction::BOTH`].
    pub(crate) sides: [Vec<i16>; 2],
}

impl PartEar {
    pub(super) async fn begin(
        media: Media,
        session: SessionId,
        part: u16,
        codec: Codec,
    ) -> Result<Self, aimg_media::Error> {
        let playing = Playing::begin(media.clone(), session, part, codec, &Direction::BOTH).await?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { media, playing, look })
    }

    /// Waits for the next frame; nothing once both flows are closed and all was heard.
    pub(crate) async fn next(&mut self) -> Option<HeardPart> {
        loop {
            let now = self.media.clock().now();
            if let Some(Sides { position, marks, samples }) = self.playing.frame(now) {
                let sides = samples.try_into().ok()?;
                return Some(HeardPart { position, skipped: marks.skipped, sides });
            }
            if self.playing.has_ended() {
                return None;
            }
            self.look.tick().await;
            self.playing.listen(self.media.clock().now());
        }
    }

    /// When the recording's first sample was spoken; known with the first frame.
    pub(crate) fn origin(&self) -> Option<Timestamp> {
        self.playing.origin()
    }
}
