//! Idempotency keys: who may begin, what is answered to a repetition, what is forgotten.

use std::time::Duration;

use aimg_core::TenantId;
use aimg_store::{IDEMPOTENCY_ABANDONED, IDEMPOTENCY_KEPT, IdempotencyKey, Idempotent, KeptResponse};

use crate::fixture::{Db, at};

conformance! {
    a_repetition_gets_the_first_answer,
    of_several_at_once_one_starts,
    what_was_abandoned_or_expired_begins_anew,
    keys_of_accounts_do_not_meet,
}

fn key(tenant: TenantId, account: &str) -> IdempotencyKey {
    IdempotencyKey { tenant: Some(tenant), account: account.to_owned(), key: "k-1".to_owned() }
}

fn created() -> KeptResponse {
    KeptResponse {
        status: 201,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"secret":"shown once"}"#.to_owned(),
    }
}

/// A row in each table of this file.
pub(crate) async fn fill(db: &Db, tenant: TenantId, name: &str) {
    db.store.begin_idempotent(&key(tenant, name), b"request", at(0)).await.unwrap();
}

async fn a_repetition_gets_the_first_answer(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (store, key) = (&db.store, key(tenant, "user:1"));
    let begin = async |fingerprint: &[u8], us| store.begin_idempotent(&key, fingerprint, at(us)).await.unwrap();
    assert_eq!(begin(b"request", 0).await, Idempotent::Started);
    assert_eq!(begin(b"request", 1).await, Idempotent::InProgress);
    assert_eq!(begin(b"other", 1).await, Idempotent::Mismatch);
    store.finish_idempotent(&key, at(0), created()).await.unwrap();
    assert_eq!(begin(b"request", 2).await, Idempotent::Done(created()));
    assert_eq!(begin(b"other", 2).await, Idempotent::Mismatch);
    store.abandon_idempotent(&key, at(0)).await.unwrap();
    assert_eq!(begin(b"request", 3).await, Idempotent::Done(created()), "what is done is not abandoned");
}

async fn of_several_at_once_one_starts(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let begins = (0..8).map(|us| {
        let (store, key) = (db.store.clone(), key(tenant, "user:1"));
        tokio::spawn(async move { store.begin_idempotent(&key, b"request", at(us)).await.unwrap() })
    });
    let mut started = 0;
    for begin in begins.collect::<Vec<_>>() {
        started += usize::from(begin.await.unwrap() == Idempotent::Started);
    }
    assert_eq!(started, 1);
}

async fn what_was_abandoned_or_expired_begins_anew(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (store, key) = (&db.store, key(tenant, "user:1"));
    let begin = async |fingerprint: &[u8], when| store.begin_idempotent(&key, fingerprint, when).await.unwrap();
    let us = Duration::from_micros(1);
    assert_eq!(begin(b"request", at(0)).await, Idempotent::Started);
    store.abandon_idempotent(&key, at(0)).await.unwrap();
    assert_eq!(begin(b"request", at(1)).await, Idempotent::Started);

    let late = at(1) + IDEMPOTENCY_ABANDONED;
    assert_eq!(begin(b"request", at(0) + IDEMPOTENCY_ABANDONED).await, Idempotent::InProgress);
    assert_eq!(begin(b"other", late).await, Idempotent::Mismatch);
    assert_eq!(begin(b"request", late).await, Idempotent::Started, "its node died");
    store.finish_idempotent(&key, at(1), KeptResponse { status: 500, ..created() }).await.unwrap();
    assert_eq!(begin(b"request", late).await, Idempotent::InProgress, "it was not dead, but is too late");
    store.finish_idempotent(&key, late, created()).await.unwrap();

    let expired = late + IDEMPOTENCY_KEPT;
    assert_eq!(store.purge_idempotency_keys(late + (IDEMPOTENCY_KEPT - us), 10).await.unwrap(), 0);
    assert_eq!(begin(b"other", expired).await, Idempotent::Started, "a day later the key is free");
    assert_eq!(begin(b"other", expired).await, Idempotent::InProgress, "and without the old answer");
    fill(&db, tenant, "user:2").await;
    fill(&db, tenant, "user:3").await;
    let purge = async || store.purge_idempotency_keys(expired, 1).await.unwrap();
    assert_eq!([purge().await, purge().await, purge().await], [1, 1, 0], "so many at a time");
}

async fn keys_of_accounts_do_not_meet(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let root = IdempotencyKey { tenant: None, account: "user:9".to_owned(), key: "k-1".to_owned() };
    for key in [key(tenant, "user:1"), key(tenant, "user:2"), key(other, "user:3"), root] {
        assert_eq!(db.store.begin_idempotent(&key, b"request", at(0)).await.unwrap(), Idempotent::Started, "{key:?}");
    }
    // Not even a stranger who could name another one's account sees an answer.
    let stranger = db.store.begin_idempotent(&key(other, "user:1"), b"request", at(1)).await.unwrap();
    assert_eq!(stranger, Idempotent::InProgress);
}
