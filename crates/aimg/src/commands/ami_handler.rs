//! `aimg ami-handler`.

use std::thread;
use std::time::Duration;

use aimg_gateway::{Seen, Watch, WatchConfig};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{named_tenants, open_store, worker};
use crate::cli::OfTenants;
use crate::output::Output;
use crate::settings::Settings;

/// How long the last lines may take to be printed.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What the first line of output says.
#[derive(Debug, Serialize)]
struct Ready {
    event: &'static str,
    node: String,
    database: String,
}

pub(crate) async fn run(settings: &Settings, output: Output, of: &OfTenants) -> anyhow::Result<()> {
    worker::init_log(settings);
    let store = open_store(settings).await?;
    let node = settings.node.clone().map_or_else(|| crate::node::name(&settings.data_dir), Ok)?;
    let config = WatchConfig {
        node: node.clone(),
        tenants: named_tenants(&store, of).await?,
        spool_dir: settings.spool_dir.clone(),
        pbxs_every: worker::PBXS_EVERY,
    };
    let (watch, seen) = Watch::start(config, store, rand::random()).await?;
    let ready = Ready { event: "ready", node: node.to_string(), database: settings.database.to_string() };
    output.print(&ready, |r| format!("aimg follows AMI alone: node {}, database {}", r.node, r.database))?;
    let (all_shown, shown) = oneshot::channel();
    thread::spawn(move || {
        print(output, seen);
        let _ = all_shown.send(());
    });
    let [mut terminate, mut interrupt] = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let missed = watch.run(stop).await?;
    // Whoever reads may have stopped reading.
    let _ = timeout(LAST_LINES, shown).await;
    if missed > 0 {
        eprintln!("aimg: {missed} events were not shown, because nobody took them; they are stored");
    }
    Ok(())
}

/// Prints in a thread of its own, which a reader that is slow holds up alone.
fn print(output: Output, mut seen: mpsc::Receiver<Seen>) {
    while let Some(seen) = seen.blocking_recv() {
        let line = |s: &Seen| format!("{} {} {} {}", s.event.at, s.pbx_name, s.event.session, s.event.kind);
        if output.print(&seen, line).is_err() {
            return;
        }
    }
}
