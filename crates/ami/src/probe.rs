//! One look at a server, for somebody who is setting it up.

use std::sync::Arc;

use crate::client::Up;
use crate::connection::{Connection, Wanted};
use crate::counters::Counters;
use crate::desk::{self, Desk};
use crate::resync::resync;
use crate::{Config, Error};

/// Connects, logs in, asks for everything that a link needs, and leaves; that it could be had proves the write classes.
/// What it cannot find out is whether the user may read events of class `call`: Asterisk tells nobody.
pub async fn probe(config: Config) -> Result<Up, Error> {
    let config = Arc::new(config);
    let counters = Arc::new(Counters::default());
    let connection = Connection::open(&config, Wanted::Answers, &counters).await?;
    let ami_version = connection.ami_version.clone();
    let (desk, requests) = Desk::new(Arc::clone(&config));
    tokio::select! {
        biased;
        error = desk::serve(connection, requests, Arc::clone(&config), counters) => Err(error),
        up = resync(&desk, ami_version, &config) => up,
    }
}
