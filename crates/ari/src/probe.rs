//! A look at a PBX before it is used: is it there, may we, and has it what taps need?

use crate::config::Config;
use crate::error::Error;
use crate::http::Http;
use crate::model::BridgeId;
use crate::request;

/// A module that taps need, and what brings it.
struct NeededModule {
    name: &'static str,
    package: &'static str,
}

/// What a tap needs of Asterisk, beyond what answers the question itself.
const NEEDED: [NeededModule; 7] = [
    NeededModule { name: "chan_rtp.so", package: "Debian: package asterisk-modules; from source: Channel Drivers" },
    NeededModule {
        name: "res_stasis_snoop.so",
        package: "Debian: package asterisk-modules; from source: Resource Modules",
    },
    NeededModule { name: "app_stasis.so", package: "Debian: package asterisk-modules; from source: Applications" },
    NeededModule {
        name: "res_ari_channels.so",
        package: "Debian: package asterisk-modules; from source: Resource Modules",
    },
    NeededModule {
        name: "res_ari_bridges.so",
        package: "Debian: package asterisk-modules; from source: Resource Modules",
    },
    NeededModule {
        name: "res_ari_events.so",
        package: "Debian: package asterisk-modules; from source: Resource Modules",
    },
    NeededModule {
        name: "res_http_websocket.so",
        package: "Debian: package asterisk-modules; from source: Resource Modules",
    },
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
    /// The modules that taps need; all of them run.
    pub modules: Vec<ModuleCheck>,
}

/// One module that taps need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleCheck {
    /// Its file name.
    pub name: &'static str,
    /// Whether it is loaded and running.
    pub running: bool,
}

/// Looks at a PBX without changing anything on it. Fails with the first thing that would keep taps from working: not
/// reachable, wrong credentials, a read-only user, a module missing.
pub async fn probe(config: &Config) -> Result<Probe, Error> {
    let http = Http::new(config)?;
    let info = http.call(request::asterisk::info()).await?;
    may_write(&http).await?;
    let mut modules = Vec::with_capacity(NEEDED.len());
    for module in &NEEDED {
        modules.push(check(&http, module).await?);
    }
    let app_registered = match http.call(request::applications::one(config.app())).await {
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(error),
    };
    Ok(Probe { version: info.system.version, system_name: info.config.name, app_registered, modules })
}

/// A read-only user is refused before Asterisk looks whether the bridge exists.
async fn may_write(http: &Http) -> Result<(), Error> {
    match http.call(request::bridges::destroy(&BridgeId::new("aimg-probe"))).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

async fn check(http: &Http, module: &NeededModule) -> Result<ModuleCheck, Error> {
    let missing =
        || Error::ModuleMissing { host: http.host().to_owned(), module: module.name, package: module.package };
    match http.call(request::asterisk::module(module.name)).await {
        Ok(found) if found.is_running() => Ok(ModuleCheck { name: module.name, running: true }),
        Ok(_) => Err(missing()),
        Err(error) if error.is_not_found() => Err(missing()),
        Err(error) => Err(error),
    }
}
