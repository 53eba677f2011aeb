//! Quotas over HTTP, and the bound on requests that is enforced here.

use aimg_core::{Role, TenantScope};
use aimg_store::AuditFilter;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{Service, read};
use crate::world::{World, token_of};

#[tokio::test]
async fn a_quota_is_set_and_seen_and_bounds_the_requests_of_its_tenant_alone() {
    let service = Service::start().await;
    let world = World::of(&service, 0).await;
    let path = world.fill("/api/v1/tenants/{id}/quota");
    let root = token_of(&service, None, Role::SuperAdmin).await;
    let own = token_of(&service, Some(service.tenants[0]), Role::Operator).await;
    let other = token_of(&service, Some(service.tenants[1]), Role::Operator).await;
    let get = async |token: &str, path: &str| service.ask(Method::GET, path).bearer_auth(token).send().await.unwrap();
    let free = json!({ "concurrent_sessions": null, "storage_bytes": null, "requests_per_minute": null });
    let (_, seen) = read(get(&own, &path).await).await;
    assert_eq!(seen["bounds"], free);
    assert_eq!(seen["used"], json!({ "captured_sessions": 0, "recordings": 1, "stored_bytes": 44 }));

    let set = async |bounds: Value| {
        let request = service.ask(Method::PUT, &path).bearer_auth(&root).json(&bounds);
        read(request.send().await.unwrap()).await
    };
    for (field, value) in [
        ("requests_per_minute", json!(0)),
        ("concurrent_sessions", json!(1u32 << 31)),
        ("storage_bytes", json!(u64::MAX)),
    ] {
        let (status, problem) = set(json!({ field: value })).await;
        assert_eq!((status, problem["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some(field)), "{problem}");
    }
    let bounds = json!({ "concurrent_sessions": 2, "storage_bytes": 1_000, "requests_per_minute": 3 });
    let (status, quota) = set(bounds.clone()).await;
    assert_eq!((status, &quota["bounds"]), (StatusCode::OK, &bounds));
    let log = service.store.audit_log(TenantScope::Tenant(world.tenant), AuditFilter::default()).await.unwrap();
    assert_eq!((log[0].action.as_str(), &log[0].detail), ("quota.change", &bounds));

    for _ in 0..3 {
        assert_eq!(get(&own, &path).await.status(), StatusCode::OK);
    }
    let refused = get(&own, &path).await;
    assert!(refused.headers().contains_key("retry-after"));
    let (status, problem) = read(refused).await;
    assert_eq!((status, &problem["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("quota_exceeded")), "{problem}");
    for token in [&other, &root] {
        assert_eq!(get(token, "/api/v1/auth/me").await.status(), StatusCode::OK);
    }
    set(free).await;
    assert_eq!(get(&own, &path).await.status(), StatusCode::OK, "the bound is gone at once");
}
