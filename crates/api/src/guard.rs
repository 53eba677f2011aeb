//! What stands before each operation: how often somebody may ask, who it is, and whether that one may.
//!
//! No operation comes into the router without one of the three functions here. What they ask for is written into the
//! OpenAPI document as `x-permission`, from which the isolation tests are made.

use std::net::IpAddr;
use std::sync::Arc;

use aimg_core::Permission;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, ResponseBuilder};
use utoipa_axum::router::{UtoipaMethodRouter, UtoipaMethodRouterExt};

use crate::caller::{self, Caller};
use crate::problem::Problem;
use crate::server::Desk;
use crate::{idempotency, limits};

type Routes = UtoipaMethodRouter<Desk>;

/// Who may use an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Everybody: what comes before a log-in.
    Public,
    /// Everybody who is logged in.
    Account,
    /// Those who may do this.
    Needs(Permission),
}

/// Operations for those with a permission. Which rows they reach is still the handler's to say, by [`Caller::scope`].
pub(crate) fn needs(permission: Permission, routes: Routes) -> Routes {
    guarded(Door::Needs(permission), routes)
}

/// Operations for everybody who is logged in, about nothing but themselves.
pub(crate) fn account(routes: Routes) -> Routes {
    guarded(Door::Account, routes)
}

/// Operations for everybody: what comes before a log-in. They are the only ones that a stranger's password or token reaches,
/// so an address has few tries.
pub(crate) fn public(routes: Routes) -> Routes {
    guarded(Door::Public, routes)
}

fn guarded(door: Door, mut routes: Routes) -> Routes {
    for item in routes.1.paths.values_mut() {
        if let Some(post) = item.post.as_mut().filter(|_| door != Door::Public) {
            takes_idempotency_key(post);
        }
        operations(item).for_each(|operation| describe(door, operation));
    }
    routes.layer(from_fn(move |request: Request, next: Next| pass(door, request, next)))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn takes_idempotency_key(post: &mut Operation) {
    let words = "Any text of the client's, new for each request: sent again with it, the request is not done again, and gets \
        the first answer. Kept for 24 hours.";
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(words))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255))))
        .build();
    post.parameters.get_or_insert_default().push(key.into());
    for (status, words) in [
        ("400", "The body is no JSON, or the idempotency key none"),
        ("409", "It stands against something that is there, or the same request is under way"),
        ("422", "A value is not allowed, or the idempotency key belongs to another request"),
    ] {
        refuses(post, status, words);
    }
}

fn refuses(operation: &mut Operation, status: &str, words: &str) {
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
        let schema = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        ResponseBuilder::new().description(words).content("application/problem+json", schema).build().into()
    });
}

/// Writes into the document what holds for every operation behind this door.
fn describe(door: Door, operation: &mut Operation) {
    let permission = match door {
        Door::Public => "public",
        Door::Account => "account",
        Door::Needs(permission) => permission.name(),
    };
    operation.extensions.get_or_insert_with(Extensions::default).insert("x-permission".to_owned(), json!(permission));
    let mut refusals = vec![("429", "Too many requests"), ("503", "The database is away, or the answer took too long")];
    if door == Door::Public {
        operation.security = Some(vec![]);
    } else {
        let any = ["token", "key", "cookie"].map(|name| SecurityRequirement::new(name, [] as [&str; 0]));
        operation.security = Some(any.to_vec());
        refusals.push(("401", "No credentials, or ones that are not good any more"));
        refusals.push(("403", "The account may not, or the CSRF token is missing"));
    }
    if operation.request_body.is_some() {
        refusals.extend([
            ("400", "The body is no JSON"),
            ("413", "The body is too large"),
            ("415", "The body is not `application/json`"),
            ("422", "A value is not allowed; `field` names it"),
        ]);
    }
    for (status, words) in refusals {
        refuses(operation, status, words);
    }
}

async fn pass(door: Door, mut request: Request, next: Next) -> Response {
    let desk = request.extensions().get::<Arc<Desk>>().cloned().expect("the server puts its desk into every request");
    let address = caller::address(&desk, caller::peer(request.extensions()), request.headers());
    let caller = match admit(&desk, door, address, request.method(), request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let Some(caller) = caller else {
        request.extensions_mut().insert(limits::ClientAddress(address));
        return next.run(request).await;
    };
    request.extensions_mut().insert(caller.clone());
    idempotency::once(&desk, &caller, request, next).await
}

async fn admit(
    desk: &Desk,
    door: Door,
    address: IpAddr,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Problem> {
    desk.limits.address(address)?;
    if door == Door::Public {
        desk.limits.stranger(address)?;
        return Ok(None);
    }
    let principal = caller::authenticate(desk, method, headers).await?;
    desk.limits.account(&principal)?;
    if let Door::Needs(permission) = door {
        principal.require(permission)?;
    }
    Ok(Some(Caller { principal, address }))
}
