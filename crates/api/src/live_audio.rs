//! `/call-sessions/{id}/audio.wav`: what is being said in a call, as a WAV file that goes on for as long as the call does.
//!
//! Such an answer is not of the common kind: it lasts. It takes a place among the long answers and gives back that of its
//! connection, so that those who listen leave room for everybody else ([`Seat`]); it ends when the service stops; and a
//! client that does not read is skipped ahead, and cut off by the connection's own bound.

use aimg_core::{Permission, SessionId};
use aimg_gateway::{Hearing, ListenError, ListenSpec, Rate, SampleFormat, Side};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Path, Query};
use crate::caller::Caller;
use crate::connections::Seat;
use crate::guard::needs;
use crate::problem::{Code, Problem};
use crate::server::Desk;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(needs(Permission::CallsListen, routes!(audio)))
}

/// Which side of a call is heard.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AudioSide {
    /// What comes from the session's first channel.
    Caller,
    /// What goes to it.
    Callee,
    /// Both: caller left, callee right.
    #[default]
    Both,
    /// Both in one channel.
    Mixed,
}

/// Samples a second.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
enum AudioRate {
    /// 8 kHz.
    #[default]
    #[serde(rename = "8000")]
    Hz8000,
    /// 16 kHz.
    #[serde(rename = "16000")]
    Hz16000,
}

/// How samples are written down.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AudioEncoding {
    /// G.711 µ-law, one byte a sample.
    Ulaw,
    /// 16-bit linear, little-endian.
    #[default]
    Pcm16,
}

/// What is heard, and how.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AudioQuery {
    /// Which side of the call.
    #[param(inline, required = false)]
    side: AudioSide,
    /// Samples a second.
    #[param(inline, required = false)]
    rate: AudioRate,
    /// How samples are written down.
    #[param(inline, required = false)]
    encoding: AudioEncoding,
}

impl AudioQuery {
    fn spec(self) -> ListenSpec {
        ListenSpec {
            side: match self.side {
                AudioSide::Caller => Side::Caller,
                AudioSide::Callee => Side::Callee,
                AudioSide::Both => Side::Both,
                AudioSide::Mixed => Side::Mixed,
            },
            samples: match self.encoding {
                AudioEncoding::Ulaw => SampleFormat::Ulaw,
                AudioEncoding::Pcm16 => SampleFormat::Pcm16,
            },
            rate: match self.rate {
                AudioRate::Hz8000 => Rate::Hz8000,
                AudioRate::Hz16000 => Rate::Hz16000,
            },
        }
    }
}

/// Listen to a call
///
/// What is said from now on, as a WAV file without an end that players and ffmpeg play while it comes; it ends with the
/// call. A page can name it in an `audio` element: the session cookie is enough. A client that reads too slowly is skipped
/// ahead.
#[utoipa::path(
    get,
    path = "/call-sessions/{id}/audio.wav",
    tag = "call-sessions",
    params(("id" = Uuid, Path, description = "The call session"), AudioQuery),
    responses(
        (status = 200, description = "The audio, for as long as the call lasts", content_type = "audio/wav", body = String),
        (status = 404, description = "There is no such session", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "The session is not being captured (any more)", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "A parameter is not allowed", content_type = "application/problem+json", body = Problem),
    )
)]
async fn audio(
    State(desk): State<Desk>,
    caller: Caller,
    Extension(seat): Extension<Seat>,
    Path(id): Path<Uuid>,
    Query(query): Query<AudioQuery>,
) -> Result<Response, Problem> {
    let session = SessionId::from_uuid(id);
    let hearing = match desk.ears.listen(caller.scope(), session, query.spec()).await {
        Ok(hearing) => hearing,
        Err(error) => {
            if matches!(error, ListenError::NotCaptured { .. }) {
                desk.store.session(caller.scope(), session).await?;
            }
            return Err(error.into());
        }
    };
    if !seat.lengthen() {
        return Err(Problem::new(Code::TooManyRequests, "too many listen over HTTP already; end one of them"));
    }
    let head = Bytes::from(aimg_gateway::endless_wav_header(query.spec()));
    // The connection is no other's afterwards: its place was given back.
    let headers =
        [(CONTENT_TYPE, "audio/wav"), (CACHE_CONTROL, "no-store"), (ACCEPT_RANGES, "none"), (CONNECTION, "close")];
    Ok((headers, body(head, hearing, desk.stopped)).into_response())
}

/// The head, and what is heard, until there is nothing more to hear or the service stops.
fn body(head: Bytes, hearing: Hearing, stopped: watch::Receiver<bool>) -> Body {
    let begin = (Some(head), hearing, stopped);
    Body::from_stream(stream::unfold(begin, async |(mut head, mut hearing, mut stopped)| {
        let bytes = match head.take() {
            Some(head) => head,
            None => tokio::select! {
                frame = hearing.next() => Bytes::from(frame?.audio),
                _ = stopped.wait_for(|stop| *stop) => return None,
            },
        };
        Some((Ok::<_, std::convert::Infallible>(bytes), (head, hearing, stopped)))
    }))
}

impl From<ListenError> for Problem {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::Full { .. } => Self::new(Code::TooManyRequests, error),
            // A flow that closes at this very moment is another name for the same thing.
            other => Self::new(Code::WrongState, other),
        }
    }
}
