//! Users, API keys and the audit log: what each role may do, and that nobody gets above themselves.

use aimg_core::{Permission, Role};
use reqwest::Method;
use reqwest::header::{ETAG, IF_MATCH};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Account, PASSWORD, Service, read, refused};
use crate::installation::stories;

stories! {
    each_role_may_what_the_matrix_says,
    a_user_is_added_changed_and_deleted,
    nobody_gets_above_themselves,
    the_last_super_admin_stays,
    a_key_is_made_shown_once_and_revoked,
    a_key_never_may_more_than_who_made_it,
    the_audit_log_is_filtered_and_comes_in_pages,
}

const USERS: &str = "/api/v1/users";
const KEYS: &str = "/api/v1/api-keys";
const AUDIT: &str = "/api/v1/audit-log";

async fn id_of(account: &Account<'_>) -> String {
    account.get("/api/v1/auth/me").await.1["user"].as_str().unwrap().to_owned()
}

/// A row is what a role may do with the users, PBXs, tenant, keys, figures and health of its own tenant.
async fn each_role_may_what_the_matrix_says(service: Service) {
    let own = format!("/api/v1/tenants/{}", service.tenants[0]);
    let stats = format!("{own}/stats");
    let asked: [(Method, &str, Option<Value>); 9] = [
        (Method::GET, USERS, None),
        (Method::GET, "/api/v1/pbxs", None),
        (Method::GET, &own, None),
        (Method::GET, &stats, None),
        (Method::GET, "/api/v1/system/health", None),
        (Method::GET, "/api/v1/system/status", None),
        (Method::GET, KEYS, None),
        (Method::GET, AUDIT, None),
        (Method::PATCH, &own, Some(json!({}))),
    ];
    let rows = [
        (Role::SuperAdmin, [true, true, true, true, true, true, true, true, true]),
        (Role::TenantAdmin, [true, true, true, true, true, true, true, true, true]),
        (Role::Operator, [true, true, true, true, true, true, false, false, false]),
        (Role::Viewer, [false, false, false, true, true, false, false, false, false]),
    ];
    for (role, row) in rows {
        let account = service.account(role, 0).await;
        for ((method, path, body), may) in asked.iter().zip(row) {
            let (status, answer) = account.json(method.clone(), path, body.clone()).await;
            assert_eq!(status.as_u16(), if may { 200 } else { 403 }, "{role}: {method} {path}: {answer}");
        }
    }
}

async fn a_user_is_added_changed_and_deleted(service: Service) {
    let admin = service.account(Role::TenantAdmin, 0).await;
    let new = json!({ "name": "Ada", "role": "viewer", "password": PASSWORD });
    let answer = admin.ask(Method::POST, USERS).json(&new).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()[ETAG].to_str().unwrap()), (201, "\"1\""));
    let ada = read(answer).await.1;
    assert_eq!((&ada["name"], &ada["tenant"]), (&json!("ada"), &json!(service.tenants[0])));
    let at = format!("{USERS}/{}", ada["id"].as_str().unwrap());
    assert_eq!(admin.get(&at).await.1, ada);
    refused(admin.post(USERS, new).await, 409, "conflict");
    for (body, field) in [
        (json!({ "name": "a b", "role": "viewer", "password": PASSWORD }), "name"),
        (json!({ "name": "bob", "role": "king", "password": PASSWORD }), "role"),
        (json!({ "name": "bob", "role": "viewer", "password": "short" }), "password"),
    ] {
        assert_eq!(refused(admin.post(USERS, body).await, 422, "invalid"), field);
    }
    let permissions = admin.get(&format!("{at}/permissions")).await.1;
    assert_eq!(permissions["permissions"], json!(["calls_monitor", "recordings_listen", "analytics_read"]));

    let logged_in = service.log_in("ada", PASSWORD).await;
    let token = read(logged_in).await.1["access_token"].as_str().unwrap().to_owned();
    let role = admin.ask(Method::POST, &format!("{at}/change-role")).header(IF_MATCH, "\"1\"");
    let (status, changed) = read(role.json(&json!({ "role": "operator" })).send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &changed["role"]), (200, &json!("operator")));
    let me = service.ask(Method::GET, "/api/v1/auth/me").bearer_auth(token).send().await.unwrap();
    assert_eq!(me.status(), 401, "its log-ins have ended");
    let late = admin.ask(Method::POST, &format!("{at}/change-role")).header(IF_MATCH, "\"1\"");
    refused(read(late.json(&json!({ "role": "viewer" })).send().await.unwrap()).await, 412, "stale");

    let password = admin.post(&format!("{at}/password"), json!({ "password": "another fine one" })).await;
    assert_eq!(password.0, 204);
    assert_eq!(service.log_in("ada", PASSWORD).await.status(), 401);
    assert_eq!(service.log_in("ada", "another fine one").await.status(), 200);
    let (_, disabled) = admin.json(Method::PATCH, &at, Some(json!({ "enabled": false }))).await;
    assert_eq!(disabled["enabled"], false);
    assert_eq!(service.log_in("ada", "another fine one").await.status(), 401);

    let own = format!("{USERS}/{}/password", id_of(&admin).await);
    refused(admin.post(&own, json!({ "password": "another fine one" })).await, 403, "not_allowed");
    assert_eq!(admin.json(Method::DELETE, &at, None).await.0, 204);
    refused(admin.get(&at).await, 404, "not_found");
    let root = service.account(Role::SuperAdmin, 0).await;
    let page = root.get(&format!("{USERS}?tenant={}&limit=1", service.tenants[0])).await.1;
    assert_eq!((page["items"][0]["name"].as_str(), page["next"].as_str()), (Some(admin.name.as_str()), None));
    let elsewhere = json!({ "tenant": service.tenants[1], "name": "eve", "role": "viewer", "password": PASSWORD });
    refused(admin.post(USERS, elsewhere).await, 404, "not_found");
}

async fn nobody_gets_above_themselves(service: Service) {
    let admin = service.account(Role::TenantAdmin, 0).await;
    let root = service.account(Role::SuperAdmin, 0).await;
    let viewer = service.account(Role::Viewer, 0).await;
    let [admins, roots, viewers] = [id_of(&admin).await, id_of(&root).await, id_of(&viewer).await];
    let king = json!({ "name": "king", "role": "super_admin", "password": PASSWORD });
    refused(admin.post(USERS, king).await, 403, "not_allowed");
    for id in [&admins, &viewers] {
        let lift = admin.post(&format!("{USERS}/{id}/change-role"), json!({ "role": "super_admin" })).await;
        refused(lift, 403, "not_allowed");
    }
    refused(admin.get(&format!("{USERS}/{roots}")).await, 404, "not_found");
    // A key that may change users, and nothing else, makes nobody who may more.
    let wanted = json!({ "name": "hr", "role": "tenant_admin", "permissions": ["users_read", "users_change"] });
    let (status, made) = admin.post(KEYS, wanted).await;
    assert_eq!(status, 201, "{made}");
    let key = |method, path: String, body: Value| {
        let request = service.ask(method, &path).bearer_auth(made["secret"].as_str().unwrap()).json(&body);
        async { read(request.send().await.unwrap()).await }
    };
    let new = json!({ "name": "eve", "role": "viewer", "password": PASSWORD });
    refused(key(Method::POST, USERS.to_owned(), new).await, 403, "not_allowed");
    let password = json!({ "password": "another fine one" });
    refused(key(Method::POST, format!("{USERS}/{admins}/password"), password).await, 403, "not_allowed");
    refused(key(Method::DELETE, format!("{USERS}/{admins}"), json!({})).await, 403, "not_allowed");
    assert_eq!(key(Method::GET, format!("{USERS}/{admins}"), json!({})).await.0, 200);
    // Nor does a super admin become one of a tenant's, or the other way round.
    for (id, role) in [(&viewers, "super_admin"), (&roots, "viewer")] {
        let crossed = root.post(&format!("{USERS}/{id}/change-role"), json!({ "role": role })).await;
        assert_eq!(refused(crossed, 422, "invalid"), "role");
    }
}

async fn the_last_super_admin_stays(service: Service) {
    let root = service.account(Role::SuperAdmin, 0).await;
    let at = format!("{USERS}/{}", id_of(&root).await);
    refused(root.json(Method::PATCH, &at, Some(json!({ "enabled": false }))).await, 409, "conflict");
    refused(root.json(Method::DELETE, &at, None).await, 409, "conflict");
    let second = json!({ "name": "second", "role": "super_admin", "password": PASSWORD });
    assert_eq!(root.post(USERS, second).await.0, 201);
    assert_eq!(root.json(Method::DELETE, &at, None).await.0, 204);
    assert_eq!(root.get(USERS).await.0, 401, "who was deleted is out");
}

async fn a_key_is_made_shown_once_and_revoked(service: Service) {
    let admin = service.account(Role::TenantAdmin, 0).await;
    let (status, made) = admin.post(KEYS, json!({ "name": "crm", "role": "viewer" })).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap();
    let at = format!("{KEYS}/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(made["key"]["created_by"], id_of(&admin).await);
    let me = |secret: String| async {
        service.ask(Method::GET, "/api/v1/auth/me").header("x-api-key", secret).send().await.unwrap().status()
    };
    assert_eq!(me(secret.to_owned()).await, 200);
    let list = admin.get(KEYS).await.1;
    assert!(!list.to_string().contains(secret) && list["items"][0]["prefix"] == secret[..12], "{list}");
    assert!(!admin.get(&at).await.1["last_used_at"].is_null());

    for (body, field) in [
        (json!({ "name": "", "role": "viewer" }), "name"),
        (json!({ "name": "crm", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "name": "crm", "role": "viewer", "permissions": ["fly"] }), "permissions[0]"),
    ] {
        assert_eq!(refused(admin.post(KEYS, body).await, 422, "invalid"), field);
    }
    let second = admin.post(KEYS, json!({ "name": "erp", "role": "viewer" })).await.1;
    let page = admin.get(&format!("{KEYS}?limit=1")).await.1;
    assert_eq!((&page["items"][0]["name"], &page["next"]), (&json!("erp"), &second["key"]["id"]));
    let next = admin.get(&format!("{KEYS}?limit=1&after={}", page["next"].as_str().unwrap())).await.1;
    assert_eq!((&next["items"][0]["name"], next["next"].as_str()), (&json!("crm"), None));
    assert_eq!(refused(admin.get(&format!("{KEYS}?after=x")).await, 422, "invalid"), "after");

    assert_eq!(admin.json(Method::DELETE, &at, None).await.0, 204);
    assert_eq!(me(secret.to_owned()).await, 401);
    assert!(!admin.get(&at).await.1["revoked_at"].is_null());
    refused(admin.json(Method::DELETE, &format!("{KEYS}/{}", Uuid::now_v7()), None).await, 404, "not_found");
}

async fn a_key_never_may_more_than_who_made_it(service: Service) {
    let admin = service.account(Role::TenantAdmin, 0).await;
    refused(admin.post(KEYS, json!({ "name": "crm", "role": "super_admin" })).await, 403, "not_allowed");
    let elsewhere = json!({ "tenant": service.tenants[1], "name": "crm", "role": "viewer" });
    refused(admin.post(KEYS, elsewhere).await, 404, "not_found");
    let root = service.account(Role::SuperAdmin, 0).await;
    let of_nobody = root.post(KEYS, json!({ "name": "crm", "role": "viewer" })).await;
    assert_eq!(refused(of_nobody, 422, "invalid"), "role");
    let limited = json!({
        "tenant": service.tenants[0], "name": "crm", "role": "tenant_admin",
        "permissions": [Permission::IntegrationsRun],
    });
    let (_, made) = root.post(KEYS, limited).await;
    let key = service.ask(Method::POST, KEYS).bearer_auth(made["secret"].as_str().unwrap());
    let more = key.json(&json!({ "name": "more", "role": "tenant_admin" })).send().await.unwrap();
    refused(read(more).await, 403, "not_allowed");
}

async fn the_audit_log_is_filtered_and_comes_in_pages(service: Service) {
    let admin = service.account(Role::TenantAdmin, 0).await;
    let other = service.account(Role::TenantAdmin, 1).await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(admin.post(KEYS, json!({ "name": name, "role": "viewer" })).await.1["key"]["id"].clone());
    }
    assert_eq!(other.post(KEYS, json!({ "name": "theirs", "role": "viewer" })).await.0, 201);
    let targets = |page: &Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|entry| entry["target"].clone()).collect()
    };
    let added = format!("{AUDIT}?action=api_key.add");
    let all = admin.get(&added).await.1;
    assert_eq!(targets(&all), [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
    let entry = &all["items"][2];
    assert_eq!((&entry["actor"], &entry["outcome"]), (&json!(admin.name), &json!("done")));
    assert_eq!((&entry["address"], &entry["detail"]["name"]), (&json!("127.0.0.1"), &json!("one")));
    let first = admin.get(&format!("{added}&limit=2")).await.1;
    assert_eq!(targets(&first), [ids[2].clone(), ids[1].clone()]);
    let second = admin.get(&format!("{added}&limit=2&after={}", first["next"].as_str().unwrap())).await.1;
    assert_eq!((targets(&second), second["next"].as_str()), (vec![ids[0].clone()], None));
    let one = admin.get(&format!("{AUDIT}?target={}", ids[1].as_str().unwrap())).await.1;
    assert_eq!(targets(&one), [ids[1].clone()]);
    let at = entry["at"].as_str().unwrap();
    assert_eq!(targets(&admin.get(&format!("{added}&before={at}")).await.1), [Value::Null; 0]);
    assert_eq!(targets(&admin.get(&format!("{added}&from={at}")).await.1).len(), 3);
    for (query, field) in [("after=x", "after"), ("after=1", "after"), ("from=now", "from"), ("who=me", "who")] {
        assert_eq!(refused(admin.get(&format!("{AUDIT}?{query}")).await, 422, "invalid"), field, "{query}");
    }

    let root = service.account(Role::SuperAdmin, 0).await;
    assert_eq!(targets(&root.get(&added).await.1).len(), 4);
    assert_eq!(targets(&root.get(&format!("{added}&tenant={}", service.tenants[1])).await.1).len(), 1);
    assert_eq!(targets(&root.get(&format!("{added}&actor={}", admin.name)).await.1).len(), 3);
    let theirs = admin.get(&format!("{added}&tenant={}", service.tenants[1])).await.1;
    assert_eq!(targets(&theirs), [Value::Null; 0], "another tenant's are none");
}
