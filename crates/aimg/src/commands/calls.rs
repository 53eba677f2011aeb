//! `aimg calls`.

use std::time::{Duration, SystemTime};

use aimg_core::{TenantScope, Timestamp};
use aimg_store::{SessionFilter, Store, StoredSession};

use super::read_store;
use crate::cli::Calls;
use crate::output::{Output, table};
use crate::settings::Settings;

/// How often the live table is drawn.
const REDRAW_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(settings: &Settings, output: Output, which: Calls) -> anyhow::Result<()> {
    let store = read_store(settings).await?;
    let filter = SessionFilter { active: !which.all, limit: Some(which.limit), ..SessionFilter::default() };
    if which.once || !output.is_live() {
        let calls = store.sessions(TenantScope::Operator, filter).await?;
        return output.print(&calls, |calls| shown(calls, now()));
    }
    tokio::select! {
        result = watch(&store, output, filter) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn watch(store: &Store, output: Output, filter: SessionFilter) -> anyhow::Result<()> {
    loop {
        let calls = store.sessions(TenantScope::Operator, filter.clone()).await?;
        // Home, then clear to the end of the screen: no flicker, and nothing of the last picture stays.
        output.print(&calls, |calls| {
            format!("\x1b[H\x1b[J{}\n\n{} calls; Ctrl-C ends", shown(calls, now()), calls.len())
        })?;
        tokio::time::sleep(REDRAW_EVERY).await;
    }
}

fn shown(calls: &[StoredSession], now: Timestamp) -> String {
    if calls.is_empty() {
        return "no calls".to_owned();
    }
    let rows = calls.iter().map(|call| {
        let row = &call.row;
        let length = row.ended_at.unwrap_or(now).since(row.started_at);
        [
            row.id.to_string(),
            row.state.to_string(),
            row.caller_number.clone().unwrap_or_default(),
            row.dialled_number.clone().unwrap_or_default(),
            format!("{}:{:02}", length.as_secs() / 60, length.as_secs() % 60),
            ledger(call, "caller"),
            ledger(call, "callee"),
        ]
    });
    table(["SESSION", "STATE", "FROM", "TO", "LENGTH", "CALLER", "CALLEE"], rows)
}

/// `1234 packets`, and what is missing, if anything.
fn ledger(call: &StoredSession, direction: &str) -> String {
    let count = |name: &str| call.live.as_ref().and_then(|l| l[direction][name].as_u64());
    let Some(received) = count("received") else { return String::new() };
    let missing: u64 = ["lost", "kernel_dropped", "dropped_by_us"].into_iter().filter_map(count).sum();
    if missing == 0 { format!("{received} packets") } else { format!("{received} packets, {missing} missing") }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::default() + since
}
