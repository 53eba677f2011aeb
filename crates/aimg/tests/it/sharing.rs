//! A real Asterisk that two tenants share, acme and rival, with the rules that tell their calls apart.

use aimg_core::{TapMode, TenantId, TenantScope};
use aimg_store::{Config, SessionDetail, SessionFilter, Store};
use aimg_testbed::{Asterisk, Caller, Context, Options, Sipp, Version};

use crate::bench::Bench;
use crate::home::Home;

/// Acme is known by its contexts, rival by its phones' names and by what the hook says.
pub(crate) const RULES: [(&str, &str); 4] =
    [("acme", "context:from-acme*"), ("rival", "endpoint:PJSIP/rival"), ("acme", "hook:acme"), ("rival", "hook:rival")];

/// The Asterisk, the installation beside it, and its two tenants.
pub(crate) struct Sharing {
    pub(crate) bench: Bench,
    pub(crate) acme: TenantId,
    pub(crate) rival: TenantId,
}

impl Sharing {
    /// All but the gateway's process: `bench.home.serve_linked()` starts it.
    pub(crate) fn new(tap: TapMode) -> Self {
        Self::with(Home::new(), tap, &RULES)
    }

    /// The same beside an installation, with the rules of these tenants.
    pub(crate) fn with(home: Home, tap: TapMode, rules: &[(&str, &str)]) -> Self {
        let asterisk = Asterisk::start(Version::V22, &Options::default().with_tenants()).unwrap();
        home.add_shared_pbx(asterisk.access(), tap);
        for (tenant, rule) in rules {
            home.run(home.aimg(&["pbx", "rules", "shared", "add", "--tenant", tenant, rule])).succeeded();
        }
        let tenants: Vec<serde_json::Value> = home.json(&["tenant", "list", "--json"]);
        let id = |name: &str| {
            let tenant = tenants.iter().find(|tenant| tenant["name"] == name).unwrap();
            tenant["id"].as_str().unwrap().parse().unwrap()
        };
        Self { acme: id("acme"), rival: id("rival"), bench: Bench { home, asterisk } }
    }

    /// A caller by one of the endpoints of [`Options::with_tenants`].
    pub(crate) fn caller(&self, endpoint: &str, callee: &Sipp) -> Caller {
        // The context is that of the endpoint.
        Caller::new(self.bench.asterisk.access().sip_port, Context::TapHook, callee.port()).by(endpoint)
    }

    /// All calls in reach of a scope as the store has them, newest first.
    pub(crate) fn calls(&self, scope: TenantScope) -> Vec<SessionDetail> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open_read_only(Config::sqlite(self.bench.home.data("aimg.db"))).await.unwrap();
            let mut calls = Vec::new();
            for session in store.sessions(scope, SessionFilter::default()).await.unwrap() {
                calls.push(store.session(scope, session.row.id).await.unwrap());
            }
            store.close().await.unwrap();
            calls
        })
    }
}
