//! Executes the reducer's requests on one PBX.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use aimg_ari::{BridgeId, Client, Error, ExternalMedia, HangupReason, Spy};
use aimg_core::{Codec, Direction, Minted, Uniqueid};
use aimg_session::{Outcome, Request};

/// One PBX, to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Asterisk {
    pub(crate) ari: Client,
    pub(crate) codec: Codec,
}

impl Asterisk {
    /// Asks, and says how it went. Never fails: what went wrong is the outcome.
    pub(crate) async fn ask(&self, request: &Request) -> Outcome {
        match request {
            Request::Bridge { id } => outcome(self.ari.create_bridge(&bridge_id(id)).await),
            Request::Snoop { id, target } => {
                let spy = match id.what.direction() {
                    Direction::Caller => Spy::In,
                    Direction::Callee => Spy::Out,
                };
                outcome(self.ari.snoop(target, &channel_id(id), spy).await)
            }
            Request::ExternalMedia { id, to } => self.external_media(id, *to).await,
            Request::Join { bridge, channels } => {
                let [snoop, media] = channels.each_ref().map(channel_id);
                outcome(self.ari.add_channels(&bridge_id(bridge), &[&snoop, &media]).await)
            }
            Request::Remove { id } if id.what.is_bridge() => outcome(self.ari.destroy_bridge(&bridge_id(id)).await),
            Request::Remove { id } => outcome(self.ari.hangup(&channel_id(id), HangupReason::Normal).await),
            Request::Look { channel } => outcome(self.ari.channel(channel).await),
            Request::Continue { channel } => match self.ari.continue_in_dialplan(channel, None).await {
                // It has left the hook already.
                Err(Error::NotInStasis { .. } | Error::Conflict { .. }) => Outcome::Gone,
                other => outcome(other),
            },
        }
    }

    async fn external_media(&self, id: &Minted, to: SocketAddr) -> Outcome {
        let media = ExternalMedia {
            id: channel_id(id),
            app: self.ari.app().to_owned(),
            external_host: to,
            format: self.codec,
            variables: BTreeMap::new(),
        };
        match self.ari.external_media(&media).await {
            Ok(channel) => Outcome::Done { rtp_source: channel.rtp_source() },
            Err(e) => failed(&e),
        }
    }
}

fn bridge_id(id: &Minted) -> BridgeId {
    BridgeId::new(id.to_string())
}

fn channel_id(id: &Minted) -> Uniqueid {
    Uniqueid::new(id.to_string())
}

fn outcome<T>(result: Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::DONE,
        Err(e) => failed(&e),
    }
}

fn failed(error: &Error) -> Outcome {
    match error {
        Error::NotFound { .. } => Outcome::Gone,
        // Asterisk answered, or may have done it without an answer that we understand.
        Error::MaybeDone { .. } | Error::Answer { .. } | Error::Server { .. } => Outcome::Unknown(error.to_string()),
        other => Outcome::Refused(other.to_string()),
    }
}
