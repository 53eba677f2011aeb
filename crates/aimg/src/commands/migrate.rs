//! `aimg migrate`.

use aimg_store::{Config, Store};

use crate::output::{Output, table};
use crate::settings::Settings;

pub(crate) async fn run(settings: &Settings, output: Output, status: bool) -> anyhow::Result<()> {
    let config = Config::new(&settings.database_path);
    if status {
        let states = Store::migration_status(&config).await?;
        return output.print(&states, |states| {
            let word = |applied| if applied { "applied" } else { "pending" };
            table(["MIGRATION", "STATE"], states.iter().map(|s| [s.name.clone(), word(s.applied).to_owned()]))
        });
    }
    let applied = Store::migrate(&config).await?;
    output.print(&applied, |applied| match applied.as_slice() {
        [] => format!("{} is up to date", settings.database_path.display()),
        names => format!("{}: applied {}", settings.database_path.display(), names.join(", ")),
    })
}
