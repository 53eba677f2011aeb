//! Tenants, PBXs and their rules, and how the node stands: by a super admin, and by others as far as they may.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use aimg_core::{CallDirection, CallState, Role, SessionId, SessionRow, TenantScope, Timestamp, Uniqueid};
use aimg_store::{AuditFilter, Change, PostgresPlace, RecordingRow};
use aimg_testbed::Postgres;
use reqwest::Method;
use reqwest::header::{ETAG, IF_MATCH, LOCATION};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Account, Service, read, refused};
use crate::people;

/// What must hold on either kind of database.
pub(crate) type Story = (&'static str, fn(Service) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// Makes each story a test on SQLite, and lists them for PostgreSQL.
macro_rules! stories {
    ($($story:ident,)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::fixture::Service::start().await).await;
            })*
        }

        pub(crate) const STORIES: &[crate::installation::Story] =
            &[$((stringify!($story), |service| Box::pin($story(service)))),*];
    };
}
pub(crate) use stories;

stories! {
    a_tenant_is_added_changed_and_deleted,
    a_tenant_is_not_deleted_while_something_is_left,
    figures_of_a_tenant_are_by_day,
    a_pbx_is_added_changed_and_deleted,
    a_pbx_that_cannot_work_is_refused_with_the_field,
    the_rules_of_a_shared_pbx_say_whose_a_channel_is,
    a_pbx_that_is_away_is_told_by_test_and_doctor,
    the_node_shows_to_each_what_is_theirs,
}

#[tokio::test]
async fn every_story_holds_on_postgres() {
    let server = Postgres::start().unwrap();
    let mut failed = Vec::new();
    for (n, (name, story)) in [STORIES, people::STORIES].concat().into_iter().enumerate() {
        let url = server.make_database(&format!("story_{n}")).unwrap();
        let place = aimg_store::Config::postgres(PostgresPlace::from_url(&url).unwrap());
        let service = Service::on(place, tempfile::tempdir().unwrap(), |config| config).await;
        if tokio::spawn(story(service)).await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

const TENANTS: &str = "/api/v1/tenants";
const PBXS: &str = "/api/v1/pbxs";

fn pbx(name: &str, tenant: Option<&str>) -> Value {
    json!({
        "tenant": tenant, "name": name, "host": "127.0.0.1", "ami_port": 1, "ami_user": "aimg",
        "ami_secret": "ami hush", "ari_url": "http://127.0.0.1:1/ari", "ari_user": "aimg", "ari_password": "ari hush",
    })
}

async fn actions(service: &Service) -> Vec<String> {
    let log = service.store.audit_log(TenantScope::Operator, AuditFilter::default()).await.unwrap();
    log.into_iter().rev().map(|entry| entry.action).filter(|action| action != "auth.log_in").collect()
}

/// Asks with `If-Match`.
async fn if_match(
    account: &Account<'_>,
    method: Method,
    path: &str,
    etag: &str,
    body: Value,
) -> (reqwest::StatusCode, Value) {
    read(account.ask(method, path).header(IF_MATCH, etag).json(&body).send().await.unwrap()).await
}

async fn a_tenant_is_added_changed_and_deleted(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let answer = root.ask(Method::POST, TENANTS).json(&json!({ "name": "third" })).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()[ETAG].to_str().unwrap()), (201, "\"1\""));
    let at = answer.headers()[LOCATION].to_str().unwrap().to_owned();
    let made = read(answer).await.1;
    assert_eq!((&made["capture_rule"], &made["enabled"]), (&json!("all"), &json!(true)));
    assert_eq!(root.get(&at).await, (200.try_into().unwrap(), made.clone()));

    refused(root.post(TENANTS, json!({ "name": "third" })).await, 409, "conflict");
    assert_eq!(refused(root.post(TENANTS, json!({ "name": "Third" })).await, 422, "invalid"), "name");
    let odd = json!({ "name": "fourth", "capture_rule": "dialled:(" });
    assert_eq!(refused(root.post(TENANTS, odd).await, 422, "invalid"), "capture_rule");
    let unknown = json!({ "name": "fourth", "colour": "red" });
    assert_eq!(refused(root.post(TENANTS, unknown).await, 422, "invalid"), "colour");

    let rule = json!({ "capture_rule": "direction:inbound" });
    let (status, changed) = if_match(&root, Method::PATCH, &at, "\"1\"", rule.clone()).await;
    assert_eq!((status.as_u16(), &changed["capture_rule"]), (200, &json!("direction:inbound")));
    refused(if_match(&root, Method::PATCH, &at, "\"1\"", rule).await, 412, "stale");
    refused(if_match(&root, Method::PATCH, &at, "1", json!({})).await, 400, "bad_request");
    let taken = root.json(Method::PATCH, &at, Some(json!({ "name": "acme" }))).await;
    refused(taken, 409, "conflict");

    let first = root.get(&format!("{TENANTS}?limit=2")).await.1;
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((names(&first), first["next"].as_str()), (vec!["acme".into(), "other".into()], Some("other")));
    let second = root.get(&format!("{TENANTS}?limit=2&after=other")).await.1;
    assert_eq!((names(&second), second["next"].as_str()), (vec!["third".to_owned()], None));
    assert_eq!(refused(root.get(&format!("{TENANTS}?limit=0")).await, 422, "invalid"), "limit");
    assert_eq!(refused(root.get(&format!("{TENANTS}?page=1")).await, 422, "invalid"), "page");

    refused(if_match(&root, Method::DELETE, &at, "\"1\"", json!({})).await, 412, "stale");
    assert_eq!(root.json(Method::DELETE, &at, None).await.0, 204);
    for method in [Method::GET, Method::DELETE] {
        refused(root.json(method, &at, None).await, 404, "not_found");
    }
    refused(root.get(&format!("{TENANTS}/nonsense")).await, 404, "not_found");
    assert_eq!(actions(&service).await, ["tenant.add", "tenant.change", "tenant.remove"]);
}

async fn a_tenant_is_not_deleted_while_something_is_left(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let admin = service.account(Role::TenantAdmin, 0).await;
    let at = format!("{TENANTS}/{}", service.tenants[0]);
    let (status, problem) = root.json(Method::DELETE, &at, None).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("still has users;"), "{problem}");
    // What is a tenant's own to change, and what is not.
    let own = admin.json(Method::PATCH, &at, Some(json!({ "capture_rule": "none" }))).await;
    assert_eq!((own.0.as_u16(), &own.1["capture_rule"]), (200, &json!("none")));
    for body in [json!({ "enabled": false }), json!({ "name": "acme-2" })] {
        refused(admin.json(Method::PATCH, &at, Some(body)).await, 403, "not_allowed");
    }
    refused(admin.post(TENANTS, json!({ "name": "mine" })).await, 403, "not_allowed");
    refused(admin.json(Method::DELETE, &at, None).await, 403, "not_allowed");
    let (_, page) = admin.get(TENANTS).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
}

async fn figures_of_a_tenant_are_by_day(service: Service) {
    let (tenant, store) = (service.tenants[0], &service.store);
    let root = service.account(Role::SuperAdmin, 0).await;
    let id = root.post(PBXS, pbx("office", Some(&tenant.to_string()))).await.1["id"].clone();
    let at = Timestamp::from_micros(1_769_860_800_000_000);
    let session = SessionRow {
        id: SessionId::from_uuid(Uuid::now_v7()),
        tenant,
        pbx: id.as_str().unwrap().parse().unwrap(),
        uniqueid: Uniqueid::new("1.1"),
        linkedid: Uniqueid::new("1.1"),
        state: CallState::Ended,
        call_direction: CallDirection::Inbound,
        caller_number: None,
        dialled_number: None,
        context: None,
        started_at: at,
        answered_at: Some(at),
        ended_at: Some(at),
        hangup_cause: None,
        node: "test".parse().unwrap(),
        captured: true,
    };
    let recording = RecordingRow {
        tenant,
        pbx: session.pbx,
        session: session.id,
        part: 0,
        path: "a.wav".into(),
        certificate: json!({}),
        complete: false,
        duration_ms: 1_500,
        bytes: 48_044,
        created_at: at,
    };
    let changes = [Change::Session(Box::new(session)), Change::Recording(recording)];
    store.apply(TenantScope::Operator, &changes).await.unwrap();
    let viewer = service.account(Role::Viewer, 0).await;
    let stats = |of: String| format!("{TENANTS}/{tenant}/stats?{of}");
    let (status, found) = viewer.get(&stats("from=2026-01-30T05:00:00Z&days=2".into())).await;
    let figures = json!({
        "calls": 1, "calls_by_state": { "ended": 1 }, "answered": 1, "captured": 1, "recordings_complete": 0,
        "recordings_incomplete": 1, "recorded_seconds": 1.5, "recorded_bytes": 48_044,
    });
    let mut day = figures.clone();
    day["day"] = json!("2026-01-31");
    assert_eq!((status.as_u16(), found), (200, json!({ "total": figures, "days": [day] })));
    assert_eq!(viewer.get(&stats("from=2026-02-01T00:00:00Z".into())).await.1["days"], json!([]));
    for days in [0, 32] {
        assert_eq!(refused(viewer.get(&stats(format!("days={days}"))).await, 422, "invalid"), "days");
    }
    assert_eq!(refused(viewer.get(&stats("from=yesterday".into())).await, 422, "invalid"), "from");
    let stranger = service.account(Role::Viewer, 1).await;
    refused(stranger.get(&stats(String::new())).await, 404, "not_found");
}

async fn a_pbx_is_added_changed_and_deleted(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let tenant = service.tenants[0].to_string();
    let (status, made) = root.post(PBXS, pbx("office", Some(&tenant))).await;
    assert_eq!((status.as_u16(), made["tenant"].as_str()), (201, Some(tenant.as_str())));
    assert!(!made.to_string().contains("hush"), "no secret is shown: {made}");
    let at = format!("{PBXS}/{}", made["id"].as_str().unwrap());
    let id = made["id"].as_str().unwrap().parse().unwrap();
    use secrecy::ExposeSecret;
    let secrets = service.store.pbx_secrets(TenantScope::Operator, id).await.unwrap();
    assert_eq!(secrets.ami_secret.expose_secret(), "ami hush");
    refused(root.post(PBXS, pbx("office", Some(&tenant))).await, 409, "conflict");
    refused(root.post(PBXS, pbx("lost", Some(&Uuid::now_v7().to_string()))).await, 404, "not_found");

    let change = json!({
        "host": "127.0.0.2", "ami_tls": { "name": "pbx.example" }, "ami_secret": "new hush", "codec": "alaw",
        "tap_mode": "hook", "enabled": false,
    });
    let (status, changed) = if_match(&root, Method::PATCH, &at, "\"1\"", change.clone()).await;
    assert_eq!(status, 200, "{changed}");
    let mut expected = made.clone();
    for field in ["host", "ami_tls", "codec", "tap_mode", "enabled"] {
        expected[field] = change[field].clone();
    }
    assert_eq!(changed, expected);
    let secrets = service.store.pbx_secrets(TenantScope::Operator, id).await.unwrap();
    assert_eq!((secrets.ami_secret.expose_secret(), secrets.ari_password.expose_secret()), ("new hush", "ari hush"));
    refused(if_match(&root, Method::PATCH, &at, "\"1\"", change).await, 412, "stale");
    let without = root.json(Method::PATCH, &at, Some(json!({ "ami_tls": null }))).await.1;
    assert_eq!((&without["ami_tls"], &without["host"]), (&Value::Null, &json!("127.0.0.2")));

    let operator = service.account(Role::Operator, 0).await;
    assert_eq!(operator.get(&at).await.1["name"], "office");
    refused(operator.json(Method::PATCH, &at, Some(json!({}))).await, 403, "not_allowed");
    let shared = root.post(PBXS, pbx("shared", None)).await;
    assert_eq!((shared.0.as_u16(), &shared.1["tenant"]), (201, &Value::Null));
    assert_eq!(operator.get(PBXS).await.1["items"].as_array().unwrap().len(), 1, "a shared one is the installation's");
    let of_tenant = root.get(&format!("{PBXS}?tenant={tenant}&limit=1")).await.1;
    assert_eq!((of_tenant["items"][0]["name"].as_str(), of_tenant["next"].as_str()), (Some("office"), None));

    refused(if_match(&root, Method::DELETE, &at, "\"1\"", json!({})).await, 412, "stale");
    assert_eq!(root.json(Method::DELETE, &at, None).await.0, 204);
    refused(root.get(&at).await, 404, "not_found");
    let log = service.store.audit_log(TenantScope::Operator, AuditFilter::default()).await.unwrap();
    assert!(!format!("{log:?}").contains("hush"));
    assert_eq!(actions(&service).await, ["pbx.add", "pbx.change", "pbx.change", "pbx.add", "pbx.remove"]);
}

async fn a_pbx_that_cannot_work_is_refused_with_the_field(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let tenant = service.tenants[0].to_string();
    let cases = [
        ("name", json!("Big Office")),
        ("host", json!("")),
        ("ami_port", json!(0)),
        ("ami_port", json!(70_000)),
        ("ami_user", json!("aimg\r\nAction: Originate")),
        ("ami_secret", json!("x".repeat(513))),
        ("ari_url", json!("ftp://127.0.0.1/ari")),
        ("ari_user", json!("a:b")),
        ("codec", json!("opus")),
        ("tap_mode", json!("dance")),
        ("inbound_contexts", json!(["a\nb"])),
        ("ami_tls.fingerprint", json!({ "fingerprint": "AB" })),
        ("ami_tls.fingerprint", json!({ "fingerprint": "AB", "ca_pem": "PEM" })),
        ("ari_tls", json!({ "ca_pem": "no PEM at all" })),
    ];
    for (field, value) in cases {
        let mut body = pbx("office", Some(&tenant));
        body[field.split('.').next().unwrap()] = value.clone();
        assert_eq!(refused(root.post(PBXS, body).await, 422, "invalid"), field, "{value}");
    }
    assert_eq!(root.get(PBXS).await.1["items"], json!([]));
    let made = root.post(PBXS, pbx("office", Some(&tenant))).await.1;
    let at = format!("{PBXS}/{}", made["id"].as_str().unwrap());
    let wrong = root.json(Method::PATCH, &at, Some(json!({ "ari_url": "nowhere" }))).await;
    assert_eq!(refused(wrong, 422, "invalid"), "ari_url");
}

async fn the_rules_of_a_shared_pbx_say_whose_a_channel_is(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let [acme, other] = service.tenants.map(|tenant| tenant.to_string());
    let made = root.post(PBXS, pbx("shared", None)).await.1;
    let at = format!("{PBXS}/{}", made["id"].as_str().unwrap());
    let rules = format!("{at}/rules");
    let add = |tenant: &str, rule: &str| root.post(&rules, json!({ "tenant": tenant, "rule": rule })).into_future();
    let (status, rule) = add(&acme, "context:from-acme").await;
    assert_eq!((status.as_u16(), &rule["rule"]), (201, &json!("context:from-acme")));
    assert_eq!(add(&other, "dialled:4930*").await.0, 201);
    refused(add(&other, "context:from-acme").await, 409, "conflict");
    assert_eq!(refused(add(&other, "caller:1").await, 422, "invalid"), "rule");
    refused(add(&Uuid::now_v7().to_string(), "context:x").await, 404, "not_found");

    let (_, found) = root.post(&format!("{at}/match"), json!({ "context": "from-trunk", "dialled": "493012" })).await;
    let looked = json!([
        { "rule": "context:from-acme", "tenant": acme, "holds": false },
        { "rule": "dialled:4930*", "tenant": other, "holds": true },
    ]);
    assert_eq!(found, json!({ "owner": "tenant", "tenant": other, "looked_at": looked }));
    let (_, found) = root.post(&format!("{at}/match"), json!({ "context": "elsewhere" })).await;
    assert_eq!((&found["owner"], &found["tenant"]), (&json!("nobody"), &Value::Null));
    let (_, found) = root.post(&format!("{at}/match"), json!({ "hook": "stranger" })).await;
    assert_eq!(found["owner"], "wrong_argument");
    let odd = root.post(&format!("{at}/match"), json!({ "variables": ["no value"] })).await;
    assert_eq!(refused(odd, 422, "invalid"), "variables");

    let one = format!("{rules}/{}", rule["id"].as_str().unwrap());
    let (_, changed) = root.json(Method::PATCH, &one, Some(json!({ "tenant": other }))).await;
    assert_eq!((&changed["tenant"], &changed["rule"]), (&json!(other), &rule["rule"]));
    assert_eq!(root.get(&rules).await.1.as_array().unwrap().len(), 2);
    assert_eq!(root.json(Method::DELETE, &one, None).await.0, 204);
    refused(root.json(Method::DELETE, &one, None).await, 404, "not_found");

    let dedicated = root.post(PBXS, pbx("office", Some(&acme))).await.1;
    let path = format!("{PBXS}/{}/rules", dedicated["id"].as_str().unwrap());
    refused(root.get(&path).await, 409, "wrong_state");
    let admin = service.account(Role::TenantAdmin, 0).await;
    refused(admin.get(&rules).await, 403, "not_allowed");
}

async fn a_pbx_that_is_away_is_told_by_test_and_doctor(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let made = root.post(PBXS, pbx("office", Some(&service.tenants[0].to_string()))).await.1;
    let at = format!("{PBXS}/{}", made["id"].as_str().unwrap());
    refused(root.post(&format!("{at}/test"), json!({})).await, 503, "pbx_away");
    refused(root.get(&format!("{at}/doctor")).await, 404, "not_found");
    let (status, begun) = root.post(&format!("{at}/doctor"), json!({})).await;
    assert_eq!((status.as_u16(), &begun["captured"]), (202, &Value::Null));
    let until = Instant::now() + Duration::from_secs(30);
    let ended = loop {
        let (_, look) = root.get(&format!("{at}/doctor")).await;
        if !look["ended_at"].is_null() {
            break look;
        }
        assert!(Instant::now() < until, "{look}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended["captured"], false);
    let findings = ended["findings"].as_array().unwrap();
    let told = |area: &str, level: &str| findings.iter().any(|f| f["area"] == area && f["level"] == level);
    assert!(told("ami", "problem") && told("ari", "problem") && told("machine", "ok"), "{ended}");
    let operator = service.account(Role::Operator, 0).await;
    let status = operator.get(&format!("{at}/status")).await.1;
    assert_eq!(
        status,
        json!({ "followed": false, "link": null, "unclaimed": null }),
        "the test's gateway has not looked yet"
    );
    refused(operator.get(&format!("{at}/doctor")).await, 403, "not_allowed");
    assert_eq!(actions(&service).await, ["pbx.add", "pbx.test", "pbx.doctor"]);
}

async fn the_node_shows_to_each_what_is_theirs(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let operator = service.account(Role::Operator, 0).await;
    let viewer = service.account(Role::Viewer, 0).await;
    let (status, health) = viewer.get("/api/v1/system/health").await;
    assert_eq!((status.as_u16(), &health["ready"], &health["pbxs"]), (200, &json!(true), &json!(0)));
    refused(viewer.get("/api/v1/system/status").await, 403, "not_allowed");
    let (_, shown) = operator.get("/api/v1/system/status").await;
    assert_eq!((shown.get("node"), &shown["links"]), (None, &json!([])));
    let (_, shown) = root.get("/api/v1/system/status").await;
    assert_eq!((&shown["node"]["name"], &shown["node"]["journal"]["away"]), (&json!("test"), &json!(false)));
    assert!(
        !shown["node"]["shards"].as_array().unwrap().is_empty() && shown["node"]["spool"]["low"] == false,
        "{shown}"
    );
    for account in [&root, &operator] {
        assert_eq!(account.get("/api/v1/system/alarms").await, (200.try_into().unwrap(), json!([])));
    }
}
