//! The isolation matrix, made from the OpenAPI document itself: every operation × strangers, lower roles, and other tenants.
//!
//! An operation that nobody has thought of here fails the tests: its path's parameters must be in [`World`], its body in
//! [`body`].

use std::collections::BTreeSet;
use std::time::Duration;

use aimg_core::{Permission, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{PASSWORD, Service};
use crate::strangers::strangers;
use crate::world::{World, roles_with, token_of};

/// An operation of the document.
#[derive(Clone, Debug)]
struct Operation {
    method: Method,
    /// With holes, as in `/api/v1/users/{id}`.
    path: String,
    door: Door,
    takes_body: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Public,
    Account,
    Needs(Permission),
}

impl Operation {
    fn all() -> Vec<Self> {
        let document: Value = serde_json::from_str(&aimg_api::openapi_json()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters").map(move |(method, operation)| {
                Self {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.clone(),
                    door: match operation["x-permission"].as_str().expect("every operation has a door") {
                        "public" => Door::Public,
                        "account" => Door::Account,
                        permission => Door::Needs(permission.parse().unwrap()),
                    },
                    takes_body: operation.get("requestBody").is_some(),
                }
            })
        });
        operations.collect()
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path.trim_start_matches("/api/v1"))
    }

    fn permission(&self) -> Option<Permission> {
        match self.door {
            Door::Needs(permission) => Some(permission),
            Door::Public | Door::Account => None,
        }
    }

    /// Asks with this token, if any; `world` is whose things are named.
    async fn ask(&self, service: &Service, world: &World, token: Option<&str>) -> (StatusCode, String) {
        let mut request = service.ask(self.method.clone(), &world.fill(&self.path)).timeout(Duration::from_secs(20));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if self.takes_body {
            request = request.json(&body(&self.name(), world));
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}

/// A body that the operation takes. Where it names things, they are those of `world`.
fn body(operation: &str, world: &World) -> Value {
    match operation {
        "POST /auth/password" => json!({ "old_password": "not this one", "new_password": "another fine one" }),
        "POST /call-sessions/bulk" => json!({ "action": "delete", "ids": [world.holes["call-sessions/{id}"]] }),
        "POST /call-sessions/bulk/hangup" => json!({ "ids": [world.holes["call-sessions/{id}"]] }),
        "POST /call-sessions/export" => json!({ "format": "csv", "ids": [world.holes["call-sessions/{id}"]] }),
        "POST /webhooks" => json!({ "url": "https://example.org/", "events": ["call.ended"] }),
        "PATCH /webhooks/{id}" => json!({ "description": "taken over" }),
        "POST /webhooks/{id}/replay" => json!({ "since": "2020-01-01T00:00:00Z", "delivered": true }),
        "PUT /settings/{key}" => json!({ "value": 30 }),
        "PUT /tenants/{id}/quota" => json!({ "concurrent_sessions": 1 }),
        "POST /tenants" => json!({ "name": "third" }),
        "PATCH /tenants/{id}" => json!({ "capture_rule": "none" }),
        "POST /pbxs" => json!({
            "tenant": world.tenant, "name": "third", "host": "127.0.0.1", "ami_user": "aimg", "ami_secret": "secret",
            "ari_user": "aimg", "ari_password": "secret",
        }),
        "PATCH /pbxs/{id}" => json!({ "enabled": false }),
        "POST /pbxs/{id}/rules" => json!({ "tenant": world.tenant, "rule": "context:third" }),
        "PATCH /pbxs/{id}/rules/{rule}" => json!({ "rule": "context:fourth" }),
        "POST /pbxs/{id}/match" => json!({ "context": "third" }),
        "POST /users" => json!({ "name": "third", "role": "viewer", "password": PASSWORD }),
        "PATCH /users/{id}" => json!({ "enabled": false }),
        "POST /users/{id}/change-role" => json!({ "role": "operator" }),
        "POST /users/{id}/password" => json!({ "password": PASSWORD }),
        "POST /api-keys" => json!({ "name": "third", "role": "viewer" }),
        "POST /calls" => json!({ "pbx": world.holes["pbxs/{id}"], "from": "100", "to": "200", "context": "inside" }),
        "POST /recordings/{id}/re-transcribe" => json!({}),
        "POST /call-sessions/{id}/hangup" | "POST /call-sessions/{id}/answer" => json!({}),
        "POST /call-sessions/{id}/play/stop" => json!({ "playback": null }),
        "POST /call-sessions/{id}/hold"
        | "POST /call-sessions/{id}/unhold"
        | "POST /call-sessions/{id}/mute"
        | "POST /call-sessions/{id}/unmute" => json!({ "party": "caller" }),
        "POST /call-sessions/{id}/dtmf" => json!({ "party": "caller", "digits": "1" }),
        "POST /call-sessions/{id}/say" => json!({ "text": "hello" }),
        "POST /call-sessions/{id}/play" => json!({ "media": ["sound:beep"] }),
        "POST /call-sessions/{id}/transfer" => json!({ "kind": "blind", "by": "callee", "exten": "200" }),
        "POST /call-sessions/{id}/bridge" => {
            json!({ "party": "caller", "with": world.holes["call-sessions/{id}"], "with_party": "caller" })
        }
        "POST /call-sessions/{id}/snoop" => json!({ "endpoint": "PJSIP/alice", "party": "caller" }),
        "POST /call-sessions/{id}/recording" => json!({ "order": "pause" }),
        other => panic!("{other} takes a body: write one down here"),
    }
}

/// Things of the installation, or of whoever asks: there is no other tenant's to be named by the path.
fn names_a_tenants_thing(operation: &Operation) -> bool {
    operation.path.contains('{') && !operation.path.contains("/settings/{")
}

#[tokio::test]
async fn strangers_are_not_let_in_anywhere() {
    let service = Service::start().await;
    let world = World::of(&service, 0).await;
    let strangers = strangers(&service).await;
    let operations = Operation::all();
    for operation in operations.iter().filter(|o| o.door != Door::Public) {
        for (what, token) in &strangers {
            let (status, body) = operation.ask(&service, &world, token.as_deref()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{} with {what}: {body}", operation.name());
            assert!(body.contains("not_authenticated"), "{} with {what}: {body}", operation.name());
        }
    }
    let public: BTreeSet<String> = operations.iter().filter(|o| o.door == Door::Public).map(Operation::name).collect();
    let known = ["POST /auth/login", "POST /auth/logout", "POST /auth/refresh", "POST /auth/setup"];
    assert_eq!(public, BTreeSet::from(known.map(str::to_owned)), "what strangers reach is written down here");
}

#[tokio::test]
async fn lower_roles_are_refused_and_higher_ones_are_not() {
    let service = Service::start().await;
    let world = World::of(&service, 0).await;
    for role in Role::ALL {
        let tenant = (role != Role::SuperAdmin).then_some(world.tenant);
        let token = token_of(&service, tenant, role).await;
        for operation in Operation::all() {
            let Some(permission) = operation.permission() else { continue };
            if role.may(permission) && operation.method != Method::GET {
                // It would be done. That it is possible is in the tests of each resource.
                continue;
            }
            let (status, body) = operation.ask(&service, &world, Some(&token)).await;
            let who = format!("{role} at {}: {body}", operation.name());
            if role.may(permission) {
                assert!(status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN, "{status} {who}");
                assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{status} {who}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{who}");
                assert!(body.contains("not_allowed"), "{who}");
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_things_do_not_exist() {
    let service = Service::start().await;
    let (theirs, mine) = (World::of(&service, 0).await, World::of(&service, 1).await);
    let before = everything(&service, &theirs).await;
    let seen = before.iter().filter(|(_, body)| body.contains(&theirs.mark)).count();
    assert!(seen >= 10, "its own tenant sees them: {before:#?}");
    for operation in Operation::all() {
        for role in roles_with(operation.permission()).filter(|role| *role != Role::SuperAdmin) {
            let token = token_of(&service, Some(mine.tenant), role).await;
            if names_a_tenants_thing(&operation) {
                let (status, body) = operation.ask(&service, &theirs, Some(&token)).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{role} at {}: {body}", operation.name());
                assert!(!body.contains(&theirs.mark), "{role} at {}: {body}", operation.name());
            } else if operation.method == Method::GET {
                let (_, body) = operation.ask(&service, &mine, Some(&token)).await;
                for private in theirs.private() {
                    assert!(!body.contains(private), "{role} reads {private} at {}: {body}", operation.name());
                }
            }
        }
    }
    assert_eq!(everything(&service, &theirs).await, before, "nothing of it was changed");
}

/// All that a tenant's admin can read, but for what changes by itself.
async fn everything(service: &Service, world: &World) -> Vec<(String, String)> {
    let token = token_of(service, Some(world.tenant), Role::TenantAdmin).await;
    let mut read = Vec::new();
    for operation in Operation::all() {
        let may = operation.permission().is_none_or(|permission| Role::TenantAdmin.may(permission));
        // Keys are made as this test goes on, and what is logged of them.
        let moves = ["/api-keys", "/audit", "/auth/", "/system/"].iter().any(|path| operation.path.contains(path));
        if operation.method == Method::GET && may && !moves {
            let (status, body) = operation.ask(service, world, Some(&token)).await;
            read.push((operation.name(), format!("{status} {body}")));
        }
    }
    read
}
