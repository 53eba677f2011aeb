//! The OpenAPI document and the page that shows it; answers to what is not there.

use reqwest::{Method, StatusCode};

use crate::fixture::{Service, read};

#[tokio::test]
async fn the_document_and_its_page_come_without_network() {
    let service = Service::start().await;
    let (status, document) = read(service.ask(Method::GET, "/api/v1/openapi.json").send().await.unwrap()).await;
    assert_eq!((status, document["openapi"].as_str()), (StatusCode::OK, Some("3.1.0")));
    let page = service.ask(Method::GET, "/api/docs/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(page.contains("swagger-ui-bundle.js") && !page.contains("//cdn"), "{page}");
    let script = service.ask(Method::GET, "/api/docs/swagger-ui-bundle.js").send().await.unwrap();
    assert_eq!(script.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let service = Service::start().await;
    for (method, path, code) in [
        (Method::GET, "/api/v1/nothing", "not_found"),
        (Method::DELETE, "/api/v1/auth/me", "method_not_allowed"),
        (Method::POST, "/api/v1/auth/login", "unsupported_media_type"),
    ] {
        let (status, problem) = read(service.ask(method, path).send().await.unwrap()).await;
        assert_eq!(problem["code"], code, "{path}");
        assert_eq!(problem["status"], status.as_u16(), "{path}");
    }
    let huge = vec![b' '; 65 << 10];
    let request = service.ask(Method::POST, "/api/v1/auth/login").header("content-type", "application/json");
    assert_eq!(request.body(huge).send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// What programs were written against changes on purpose, or not at all. `INSTA_UPDATE=always` writes it anew.
#[test]
fn the_document_is_as_it_was() {
    insta::assert_snapshot!("openapi", aimg_api::openapi_json());
}
