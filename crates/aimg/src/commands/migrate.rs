//! `aimg migrate`.

use aimg_store::Store;

use crate::output::{Output, table};
use crate::settings::Settings;

pub(crate) async fn run(settings: &Settings, output: Output, status: bool) -> anyhow::Result<()> {
    let config = super::store_config(settings);
    if status {
        let states = Store::migration_status(&config).await?;
        return output.print(&states, |states| {
            let word = |applied| if applied { "applied" } else { "pending" };
            table(["MIGRATION", "STATE"], states.iter().map(|s| [s.name.clone(), word(s.applied).to_owned()]))
        });
    }
    let applied = Store::migrate(&config).await?;
    output.print(&applied, |applied| match applied.as_slice() {
        [] => format!("{} is up to date", settings.database),
        names => format!("{}: applied {}", settings.database, names.join(", ")),
    })
}
