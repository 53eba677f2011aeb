//! Two tenants on one Asterisk: each has its own calls and nothing of the other's, and nobody's calls are let be.

use std::collections::BTreeSet;
use std::time::Duration;

use aimg_core::{CallEventKind, TapMode, TenantId, TenantScope};
use aimg_store::SessionDetail;

use crate::bench::{all_went_well, callee};
use crate::home::Home;
use crate::operator::Scrape;
use crate::sharing::Sharing;

const TALK: Duration = Duration::from_secs(3);

/// Channels by their Asterisk's ids.
fn channels(calls: &[SessionDetail]) -> BTreeSet<&str> {
    calls.iter().flat_map(|call| &call.legs).map(|leg| leg.uniqueid.as_str()).collect()
}

/// Fails unless all of these calls, with all that belongs to them, are the tenant's, and each is recorded.
fn are_wholly_of(calls: &[SessionDetail], tenant: TenantId) {
    for call in calls {
        let row = &call.session.row;
        let certificates = call.recordings.iter().map(|r| r.certificate["tenant"].as_str().unwrap().parse().unwrap());
        let owners = call.legs.iter().map(|leg| leg.tenant).chain(call.events.iter().map(|event| event.tenant));
        let owners = owners.chain(call.recordings.iter().map(|r| r.tenant)).chain(certificates).chain([row.tenant]);
        assert!(owners.into_iter().all(|owner| owner == tenant), "{call:?}");
        let [recording] = &call.recordings[..] else { panic!("one recording: {call:?}") };
        let tapped = recording.certificate["channel"].as_str().unwrap();
        assert!(call.legs.iter().any(|leg| leg.uniqueid.as_str() == tapped), "it is of a channel of its own: {call:?}");
    }
}

#[test]
fn each_tenant_has_its_own_calls_and_nobodys_are_not_captured() {
    let sharing = Sharing::new(TapMode::Hook);
    let home = &sharing.bench.home;
    let gateway = home.serve_linked();
    let [mut of_acme, mut of_rival, mut of_pool, mut of_typo, mut of_nobody, mut rivals_phone] =
        [2, 2, 1, 1, 1, 1].map(callee);
    let call = |endpoint: &str, callee| sharing.caller(endpoint, callee).talks_for(TALK);
    let mut callers = [
        call("acme", &of_acme).calls(2),
        call("rival", &of_rival).calls(2),
        call("pool", &of_pool),
        call("typo", &of_typo),
        call("stray", &of_nobody),
        call("acme-to-rival", &rivals_phone),
    ]
    .map(|caller| caller.start().unwrap());
    callers.iter_mut().for_each(all_went_well);
    [&mut of_acme, &mut of_rival, &mut of_pool, &mut of_typo, &mut of_nobody, &mut rivals_phone]
        .into_iter()
        .for_each(all_went_well);

    // Acme: two, and the one to rival. Rival: two, the one of the pool, and its phone's side of acme's.
    home.finished_calls(7);
    sharing.bench.wait_until_asterisk_is_empty();
    let unclaimed = |reason| {
        let labels = [("pbx_name", "shared"), ("reason", reason)];
        Scrape::of(gateway.http()).value("aimg_channel_unclaimed_total", &labels)
    };
    // Nobody's caller and whom it called, and whom the caller with the wrong argument called.
    assert_eq!([unclaimed("no_rule"), unclaimed("wrong_argument")], [Some(3.0), Some(1.0)]);
    gateway.terminate_with_complaints_of(&["hook_refused"]);

    let [acme, rival] = [sharing.acme, sharing.rival].map(|tenant| sharing.calls(TenantScope::Tenant(tenant)));
    assert_eq!((acme.len(), rival.len()), (3, 4));
    assert_eq!(sharing.calls(TenantScope::Operator).len(), 7, "there are no others");
    let by_hook =
        |call: &&SessionDetail| call.events.iter().any(|e| e.kind == CallEventKind::HookReleased { ready: true });
    assert_eq!((acme.iter().filter(by_hook).count(), rival.iter().filter(by_hook).count()), (3, 3));
    // Rival's phone never was in the hook; its call is seen, and was not to be captured.
    let (phone, rival): (Vec<_>, Vec<_>) = rival.into_iter().partition(|call| !by_hook(&call));
    assert!(phone[0].recordings.is_empty() && phone[0].legs.iter().all(|leg| leg.name.starts_with("PJSIP/rival-")));
    are_wholly_of(&acme, sharing.acme);
    are_wholly_of(&rival, sharing.rival);
    let rivals: BTreeSet<&str> = channels(&rival).union(&channels(&phone)).copied().collect();
    assert!(channels(&acme).is_disjoint(&rivals));
    for (calls, others) in [(&acme, &rivals), (&rival, &channels(&acme)), (&phone, &channels(&acme))] {
        let told = serde_json::to_string(calls).unwrap();
        assert!(others.iter().all(|channel| !told.contains(&format!("\"{channel}\""))), "{others:?} in {told}");
    }
    let recordings = std::fs::read_dir(home.data("recordings")).unwrap().count();
    assert!(recordings > 0 && home.spool_files().is_empty());
}

/// What `pbx match --json` says.
fn matched(home: &Home, arguments: &[&str]) -> serde_json::Value {
    home.json(&[&["pbx", "match", "shared", "--json"], arguments].concat())
}

#[test]
fn rules_are_listed_tested_and_edited_at_the_command_line() {
    let home = Home::new();
    let access = aimg_testbed::Access {
        host: "127.0.0.1".to_owned(),
        ami_port: 1,
        http_port: 1,
        sip_port: 1,
        user: "aimg".to_owned(),
        secret: "testbed".to_owned(),
        app: "aimg".to_owned(),
    };
    home.add_shared_pbx(&access, TapMode::Hook);
    let rules = |arguments: &[&str]| home.run(home.aimg(&[&["pbx", "rules", "shared"], arguments].concat()));
    assert!(rules(&["list"]).succeeded().stdout.contains("nobody's"));
    for (tenant, rule) in [("acme", "dialled:4930*"), ("rival", "dialled:493012*"), ("acme", "context:from-acme")] {
        assert!(rules(&["add", "--tenant", tenant, rule]).succeeded().stdout.contains(rule));
    }
    let taken = ["context:from-acme", "tenant acme", "tenant rival"];
    rules(&["add", "--tenant", "rival", "context:from-acme"]).failed_with(64, &taken);
    rules(&["add", "--tenant", "rival", "caller:1"]).failed_with(64, &["context:NAME"]);
    rules(&["add", "--tenant", "nobody", "context:a"]).failed_with(66, &["nobody"]);
    rules(&["remove", "context:a"]).failed_with(66, &["context:a"]);

    let listed = |home: &Home| -> Vec<(String, String)> {
        let listed: Vec<serde_json::Value> = home.json(&["pbx", "rules", "shared", "list", "--json"]);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        listed.iter().map(|rule| (text(&rule["rule"]), text(&rule["tenant"]))).collect()
    };
    let rule = |rule: &str, tenant: &str| (rule.to_owned(), tenant.to_owned());
    let ordered = [rule("context:from-acme", "acme"), rule("dialled:493012*", "rival"), rule("dialled:4930*", "acme")];
    assert_eq!(listed(&home), ordered);

    let by_number = matched(&home, &["--context", "trunk", "--dialled", "4930123", "--channel", "PJSIP/t-00000001"]);
    assert_eq!((&by_number["tenant"], &by_number["rule"]), (&"rival".into(), &"dialled:493012*".into()));
    let looked: Vec<_> = by_number["looked_at"].as_array().unwrap().iter().map(|l| (&l["rule"], &l["holds"])).collect();
    let (context, number) = ("context:from-acme".into(), "dialled:493012*".into());
    assert_eq!(looked, [(&context, &false.into()), (&number, &true.into())]);
    let shown = home.run(home.aimg(&["pbx", "match", "shared", "--context", "from-acme"])).succeeded().stdout;
    assert!(shown.starts_with("tenant acme by rule context:from-acme"), "{shown}");
    assert_eq!(matched(&home, &["--context", "trunk", "--dialled", "1"])["outcome"], "nobody");
    assert_eq!(matched(&home, &["--context", "from-acme", "--hook", "rival"])["outcome"], "wrong_argument");
    home.run(home.aimg(&["pbx", "match", "shared", "--variable", "TENANT"])).failed_with(64, &["NAME=VALUE"]);

    rules(&["change", "context:from-acme", "--tenant", "rival", "--to", "variable:T=r"]).succeeded();
    rules(&["remove", "dialled:4930*"]).succeeded();
    assert_eq!(listed(&home), [rule("variable:T=r", "rival"), rule("dialled:493012*", "rival")]);
    assert_eq!(matched(&home, &["--variable", "T=r"])["tenant"], "rival");
    home.run(home.aimg(&["tenant", "disable", "rival"])).succeeded();
    assert_eq!(matched(&home, &["--variable", "T=r"])["outcome"], "disabled");

    // A PBX has one tenant or rules.
    let both = ["pbx", "add", "x", "--tenant", "acme", "--shared", "--host", "h", "--ami-user", "u", "--ari-user", "u"];
    home.run(home.aimg(&both)).failed_with(64, &["--shared"]);
    let neither = ["pbx", "add", "x", "--host", "h", "--ami-user", "u", "--ari-user", "u"];
    home.run(home.aimg(&neither)).failed_with(64, &["--tenant"]);
    assert!(home.run(home.aimg(&["pbx", "list"])).succeeded().stdout.contains("(shared)"));
    assert!(home.run(home.aimg(&["pbx", "show", "shared"])).succeeded().stdout.contains("(shared)"));
}
