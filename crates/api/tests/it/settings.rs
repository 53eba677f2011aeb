//! Settings over HTTP: in force, changed, taken back, refused.

use aimg_core::{Role, TenantScope};
use aimg_store::AuditFilter;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{Service, read};
use crate::world::token_of;

const DAYS: &str = "/api/v1/settings/recordings.retention_days";

async fn ask(service: &Service, token: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = service.ask(method, path).bearer_auth(token);
    read(body.iter().fold(request, |request, body| request.json(body)).send().await.unwrap()).await
}

#[tokio::test]
async fn a_setting_is_changed_and_taken_back_and_both_are_written_down() {
    let service = Service::start().await;
    let admin = token_of(&service, Some(service.tenants[0]), Role::TenantAdmin).await;
    let root = token_of(&service, None, Role::SuperAdmin).await;
    let (_, before) = ask(&service, &admin, Method::GET, DAYS, None).await;
    assert_eq!((&before["value"], &before["origin"]), (&json!(0), &json!("default")));
    let (status, changed) = ask(&service, &admin, Method::PUT, DAYS, Some(json!({ "value": 30 }))).await;
    assert_eq!((status, &changed["value"], &changed["origin"]), (StatusCode::OK, &json!(30), &json!("tenant")));

    // The installation's value holds where a tenant has none.
    ask(&service, &root, Method::PUT, DAYS, Some(json!({ "value": 90 }))).await;
    let other = format!("{DAYS}?tenant={}", service.tenants[1]);
    let (_, seen) = ask(&service, &root, Method::GET, &other, None).await;
    let origin = &json!("installation");
    assert_eq!((&seen["value"], &seen["origin"], &seen["changed_by"]), (&json!(90), origin, &Value::Null));
    let (_, list) = ask(&service, &admin, Method::GET, "/api/v1/settings", None).await;
    assert!(list["items"].as_array().unwrap().contains(&changed), "{list}");

    let answer = service.ask(Method::GET, DAYS).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(answer.headers()["etag"], "\"1\"");
    for (tag, expected) in [("\"7\"", StatusCode::PRECONDITION_FAILED), ("\"1\"", StatusCode::OK)] {
        let request = service.ask(Method::DELETE, DAYS).bearer_auth(&admin).header("if-match", tag);
        let (status, left) = read(request.send().await.unwrap()).await;
        assert_eq!(status, expected, "{left}");
    }
    let (_, after) = ask(&service, &admin, Method::GET, DAYS, None).await;
    assert_eq!((&after["value"], &after["origin"]), (&json!(90), origin));
    let log = service.store.audit_log(TenantScope::Tenant(service.tenants[0]), AuditFilter::default()).await.unwrap();
    let log: Vec<_> = log.iter().filter(|e| e.action.starts_with("setting.")).collect();
    let log: Vec<_> = log.into_iter().map(|e| (e.action.as_str(), e.detail.clone())).collect();
    assert_eq!(log, [("setting.reset", Value::Null), ("setting.change", json!({ "value": 30 }))]);
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let service = Service::start().await;
    let admin = token_of(&service, Some(service.tenants[0]), Role::TenantAdmin).await;
    let theirs = format!("{DAYS}?tenant={}", service.tenants[1]);
    let nobody = format!("{DAYS}?tenant={}", uuid::Uuid::nil());
    let value = |value: Value| Some(json!({ "value": value }));
    for (method, path, body, status, word) in [
        (Method::GET, "/api/v1/settings/recording.retention_day", None, 404, "recordings.retention_days"),
        (Method::PUT, DAYS, value(json!(-1)), 422, "whole number from 0"),
        (Method::PUT, DAYS, value(json!("x")), 422, "whole number from 0"),
        (Method::PUT, DAYS, Some(json!({ "value": 1, "x": 1 })), 422, "unknown field"),
        (Method::PUT, "/api/v1/settings/audit.retention_days", value(json!(1)), 403, "operator"),
        (Method::PUT, &theirs, value(json!(1)), 404, "tenant"),
        (Method::GET, &theirs, None, 404, "tenant"),
        (Method::DELETE, &nobody, None, 404, "tenant"),
        (Method::GET, "/api/v1/settings?of=me", None, 422, "unknown field"),
    ] {
        let (refused, problem) = ask(&service, &admin, method.clone(), path, body).await;
        assert_eq!(refused.as_u16(), status, "{method} {path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{method} {path}: {problem}");
    }
}
