//! NVIDIA Riva over gRPC: [`Recogniser`] and [`Voice`], set up by [`Settings`].
//!
//! What Riva forces on us: a stream that gets no audio for a minute is released, so silence is sent in long pauses; the
//! headers of an answer come with its first result, so that a refusal may come as the first thing heard; and pings of
//! HTTP/2 are taken for an attack by the usual gRPC server, so that a peer that is gone shows by the audio it no longer takes.

mod answer;
mod connection;
mod recogniser;
mod request;
mod settings;
mod status;
mod stream;
mod voice;

/// What `build.rs` makes of `proto/`.
#[allow(unreachable_pub, clippy::all)]
mod proto {
    tonic::include_proto!("nvidia.riva");
    pub mod asr {
        tonic::include_proto!("nvidia.riva.asr");
    }
    pub mod tts {
        tonic::include_proto!("nvidia.riva.tts");
    }
}

pub use recogniser::Recogniser;
pub use settings::{Address, Pairs, Settings, Unreadable};
pub use voice::Voice;
