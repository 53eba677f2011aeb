//! `aimg serve`.

use std::time::Duration;

use aimg_gateway::{Config, Gateway};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::open_store;
use crate::output::Output;
use crate::settings::{LogFormat, Settings};

/// Captures at once on one PBX: with two RTP ports each, a fifth of Asterisk's default range of 10,000.
const TAPS_MAX: usize = 1_000;
/// How soon a PBX that was added is followed.
const PBXS_EVERY: Duration = Duration::from_secs(2);
/// How long a stop waits for captures to be taken down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What the first line of output says.
#[derive(Debug, Serialize)]
struct Ready {
    event: &'static str,
    node: String,
    audio: Vec<std::net::SocketAddr>,
    database: String,
}

pub(crate) async fn run(settings: Settings, output: Output) -> anyhow::Result<()> {
    init_log(&settings);
    let store = open_store(&settings).await?;
    let node = settings.node.clone().map_or_else(|| crate::node::name(&settings.data_dir), Ok)?;
    let config = Config {
        node: node.clone(),
        spool_dir: settings.spool_dir.clone(),
        recordings_dir: settings.recordings_dir.clone(),
        media: media_config(&settings),
        hook_timeout: settings.hook_timeout,
        taps_max: TAPS_MAX,
        pbxs_every: PBXS_EVERY,
        drain_timeout: DRAIN_TIMEOUT,
    };
    let gateway = Gateway::start(config, store, rand::random()).await?;
    let ready = Ready {
        event: "ready",
        node: node.to_string(),
        audio: gateway.media_addresses(),
        database: settings.database_path.display().to_string(),
    };
    output.print(&ready, |r| {
        let audio = r.audio.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("aimg is running: node {}, audio on {audio}, database {}", r.node, r.database)
    })?;
    gateway.run(stop_signal()?).await?;
    Ok(())
}

fn media_config(settings: &Settings) -> aimg_media::Config {
    let media = &settings.media;
    aimg_media::Config {
        bind: media.bind,
        advertise: media.advertise,
        port: media.port,
        shards: media.shards,
        recv_buffer_bytes: media.recv_buffer_bytes,
        flows_max: media.flows_max,
        ..aimg_media::Config::default()
    }
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: captures are taken down, their recordings finished");
    })
}

/// Logs go to standard error, so that standard output stays for programs.
fn init_log(settings: &Settings) {
    let filter = EnvFilter::new(&settings.log.filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log.format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}
