//! The state of Asterisk, asked for whole.

use crate::client::{Server, Up};
use crate::desk::Desk;
use crate::{Action, ActionError, BridgeSnapshot, Config, Error, ListedChannel};

/// Asks for the server, its channels and its bridges. The events must already be read.
pub(crate) async fn resync(desk: &Desk, ami_version: String, config: &Config) -> Result<Up, Error> {
    let asked = async {
        tokio::try_join!(
            desk.send(Action::core_settings()),
            desk.send(Action::core_status()),
            desk.list(Action::core_show_channels()),
            desk.list(Action::bridge_list()),
        )
    };
    let (settings, status, channels, bridges) = asked.await.map_err(|error| explain(error, config))?;
    let setting = |key| settings.first(key).unwrap_or_default().to_owned();
    let started = |key| status.first(key).unwrap_or_default();
    Ok(Up {
        server: Server {
            ami_version,
            asterisk_version: setting("AsteriskVersion"),
            system_name: setting("SystemName"),
            started_at: format!("{} {}", started("CoreStartupDate"), started("CoreStartupTime")),
        },
        channels: channels.iter().filter_map(ListedChannel::read).collect(),
        bridges: bridges.iter().filter_map(BridgeSnapshot::read).collect(),
    })
}

/// A rejection here is a user without the classes that it needs.
fn explain(error: ActionError, config: &Config) -> Error {
    let peer = config.peer();
    match error {
        ActionError::Rejected { action, reason } => Error::Refused { peer, user: config.user.clone(), action, reason },
        source => Error::Resync { peer, source },
    }
}
