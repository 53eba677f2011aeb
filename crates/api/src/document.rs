//! The OpenAPI document, made from the operations themselves: `/api/v1/openapi.json`, and `/api/docs` to look at and try.

use axum::Router;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::caller::SESSION_COOKIE;
use crate::problem::{Code, Problem};
use crate::server::Desk;
use crate::{
    api_keys, audit_log, auth, call_sessions, control, live_audio, pbx_looks, pbx_rules, pbxs, quotas, recordings,
    settings, system, tenants, transcripts, users, webhooks,
};

/// Below which every operation is.
const BASE: &str = "/api/v1";
const DESCRIPTION: &str = "Calls, recordings and transcripts of Asterisk PBXs, live and past.\n\n\
    Log in with `POST /api/v1/auth/login`, or use an API key: both go into `Authorization: Bearer …`. An account sees its own \
    tenant's things and nothing else: what belongs to another one does not exist for it (404). Refusals are \
    `application/problem+json` (RFC 9457) with a stable `code`. `x-permission` names what an operation takes. A POST with an \
    `Idempotency-Key` is done once, however often it is sent. What has an `ETag` can be changed with `If-Match`, so that \
    nobody's change is lost.";

/// Every operation, and the document that describes them.
pub(crate) fn operations() -> (Router<Desk>, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(base()).nest(BASE, resources()).split_for_parts();
    document.components.get_or_insert_default().schemas.extend(problem_schemas());
    (router, document)
}

/// One line a resource.
fn resources() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(tenants::routes())
        .merge(quotas::routes())
        .merge(settings::routes())
        .merge(pbxs::routes())
        .merge(pbx_looks::routes())
        .merge(pbx_rules::routes())
        .merge(users::routes())
        .merge(api_keys::routes())
        .merge(audit_log::routes())
        .merge(webhooks::routes())
        .merge(system::routes())
        .merge(call_sessions::routes())
        .merge(control::routes())
        .merge(live_audio::routes())
        .merge(recordings::routes())
        .merge(transcripts::routes())
}

/// The document and the page that shows it.
pub(crate) fn pages(document: OpenApi) -> SwaggerUi {
    SwaggerUi::new("/api/docs").url("/api/v1/openapi.json", document)
}

/// The OpenAPI document of this version, as JSON.
pub fn openapi_json() -> String {
    operations().1.to_pretty_json().expect("the document is JSON")
}

fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("aiMediaGateway")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .build();
    let mut components = Components::new();
    let bearer = |format: &str, words: &str| {
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format(format).description(Some(words)).build()
    };
    let token = bearer("JWT", "An access token of POST /auth/login, or an API key");
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let key = ApiKeyValue::with_description("X-API-Key", "An API key");
    components.add_security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    let words = "A browser's log-in; requests that change something send `X-CSRF-Token` besides";
    let cookie = ApiKeyValue::with_description(SESSION_COOKIE, words);
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

fn problem_schemas() -> [(String, RefOr<Schema>); 2] {
    [(Problem::name().into_owned(), Problem::schema()), (Code::name().into_owned(), Code::schema())]
}
