//! A look at a PBX before it is used: is it there, may we, and has it what taps need?

use crate::config::Config;
use crate::error::Error;
use crate::http::Http;
use crate::model::BridgeId;
use crate::request;

/// Where all of them come from.
const PACKAGE: &str = "package asterisk-modules of Debian and Ubuntu";

/// What a tap needs of Asterisk, beyond what answers the question itself.
const NEEDED: [&str; 9] = [
    // The technology of externalMedia; it does not load without the multicast engine.
    "res_rtp_multicast.so",
    "chan_rtp.so",
    "res_rtp_asterisk.so",
    "res_stasis_snoop.so",
    "app_stasis.so",
    "res_ari_channels.so",
    "res_ari_bridges.so",
    "res_ari_events.so",
    "res_http_websocket.so",
];

/// What a look at a PBX found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Asterisk's version, such as `22.10.1`.
    pub version: String,
    /// `systemname` of asterisk.conf; empty where unset, and then Uniqueids of two PBXs may be the same.
    pub system_name: String,
    /// Whether a program has registered the application: if it is not this gateway, the name must be changed in one of them.
    pub app_registered: bool,
    /// The modules that were found running: all that taps need.
    pub modules: Vec<&'static str>,
}

/// Looks at a PBX without changing anything on it. Fails with the first thing that would keep taps from working: not
/// reachable, wrong credentials, a read-only user, a module missing.
pub async fn probe(config: &Config) -> Result<Probe, Error> {
    let http = Http::new(config)?;
    let info = http.call(request::asterisk::info()).await?;
    for module in NEEDED {
        must_run(&http, module).await?;
    }
    may_write(&http).await?;
    let app_registered = match http.call(request::applications::one(config.app())).await {
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(error),
    };
    Ok(Probe { version: info.system.version, system_name: info.config.name, app_registered, modules: NEEDED.to_vec() })
}

/// A read-only user is refused before Asterisk looks whether the bridge exists.
async fn may_write(http: &Http) -> Result<(), Error> {
    match http.call(request::bridges::destroy(&BridgeId::new("aimg-probe"))).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

async fn must_run(http: &Http, name: &'static str) -> Result<(), Error> {
    let missing = || Error::ModuleMissing { host: http.host().to_owned(), module: name, package: PACKAGE };
    match http.call(request::asterisk::module(name)).await {
        Ok(found) if found.is_running() => Ok(()),
        Ok(_) => Err(missing()),
        Err(error) if error.is_not_found() => Err(missing()),
        Err(error) => Err(error),
    }
}
