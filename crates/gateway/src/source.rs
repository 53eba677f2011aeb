//! The one source that a flow takes its packets from.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aimg_core::FlowId;
use aimg_media::{Error, Media};

/// How long a source may be another flow's: longer than a capture that ends waits for its sources to stop, and shorter than an
/// attach may take.
const FREE_TIME_MAX: Duration = Duration::from_secs(3);
/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Returns when the flow takes packets from this source.
///
/// Asterisk gives a port away again as soon as its channel is deleted, which is mostly before the flow that heard it is closed:
/// the one is waited for, since until then its last packets may still come. Nothing is sent before this returns.
pub(crate) async fn expect(media: &Media, flow: FlowId, source: SocketAddr) -> Result<(), String> {
    let until = Instant::now() + FREE_TIME_MAX;
    loop {
        match media.expect(flow, source).await {
            Err(Error::SourceTaken { .. }) if Instant::now() < until => tokio::time::sleep(TRY_EVERY).await,
            result => return result.map_err(|e| e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::{Codec, Direction, SessionId, Timestamp};
    use aimg_media::FlowSpec;

    use super::*;

    #[tokio::test]
    async fn a_source_is_free_when_its_last_flow_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (media, _events) = Media::start(aimg_media::Config { port: 0, ..aimg_media::Config::default() }).unwrap();
        const ID: &str = "0198c1de-1111-7000-8000-000000000000";
        let session: SessionId = ID.parse().unwrap();
        let flow = |part| FlowId { session, part, direction: Direction::Caller };
        for part in [0, 1] {
            let meta = aimg_spool::FlowMeta {
                tenant: ID.parse().unwrap(),
                pbx: ID.parse().unwrap(),
                session,
                part,
                direction: Direction::Caller,
                codec: Codec::Ulaw,
                opened_at: Timestamp::default(),
            };
            let spool_path = dir.path().join(part.to_string());
            media.open(FlowSpec { meta, spool_path, live_path: None }).await.unwrap();
        }
        let source = ([127, 0, 0, 1], 20_000).into();
        expect(&media, flow(0), source).await.unwrap();
        let waiting = expect(&media, flow(1), source);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(TRY_EVERY * 5, &mut waiting).await;
        assert!(early.is_err(), "the source is another flow's: {early:?}");
        media.close(flow(0)).await.unwrap();
        waiting.await.unwrap();
    }
}
