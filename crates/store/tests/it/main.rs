//! The store on real SQLite files and a real PostgreSQL server.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test, with its place")]

use std::future::Future;
use std::pin::Pin;

use fixture::Db;

/// What must hold on either kind of database.
type Case = (&'static str, fn(Db) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// Makes each case a test on SQLite, and lists them for `postgres.rs`, which runs them all on one server.
macro_rules! conformance {
    ($($case:ident,)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::fixture::Db::sqlite().await).await;
            })*
        }

        pub(crate) const CASES: &[crate::Case] = &[$((stringify!($case), |db| Box::pin($case(db)))),*];
    };
}

mod accounts;
mod calls;
mod fixture;
mod idempotency;
mod isolation;
mod opening;
mod pbx_rules;
mod pbxs;
mod postgres;
mod quotas;
mod secrets;
mod settings;
mod tenants;
mod transcripts;
mod webhooks;
