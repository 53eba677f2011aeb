//! `aimg check`.

use aimg_store::{Place, Store};
use serde::Serialize;

use crate::output::{Output, table};
use crate::settings::Settings;

/// One setting as shown.
#[derive(Debug, Serialize)]
struct Line {
    setting: &'static str,
    value: String,
    origin: String,
}

pub(crate) async fn run(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let lines: Vec<Line> = settings
        .report()
        .iter()
        .map(|r| Line { setting: r.key, value: r.value.clone(), origin: r.origin.to_string() })
        .collect();
    output.print(&lines, |lines| {
        let value = |l: &Line| if l.value.is_empty() { "(not set)".to_owned() } else { l.value.clone() };
        let rows = lines.iter().map(|l| [l.setting.to_owned(), value(l), l.origin.clone()]);
        table(["SETTING", "VALUE", "ORIGIN"], rows)
    })?;
    for stranger in settings.strangers() {
        eprintln!("aimg: the environment has {stranger}, which is no setting");
    }
    for dir in [&settings.spool_dir, &settings.recordings_dir] {
        aimg_recording::check_writable(dir)?;
    }
    match Store::migration_status(&super::store_config(settings)).await {
        // A file that does not exist yet is made at the first start; a PostgreSQL database is not.
        Err(aimg_store::Error::NoDatabase { .. }) if matches!(settings.database, Place::Sqlite(_)) => Ok(()),
        status => Ok(status.map(drop)?),
    }
}
