//! A real PostgreSQL server: everything that holds on SQLite, the wall of its own, and what happens when it is away.

use std::time::Duration;

use aimg_store::{Config, Error, PostgresPlace, SessionFilter, Store};
use aimg_testbed::Postgres;
use aimg_testbed::postgres::SUPERUSER;

use crate::fixture::{Db, OPERATOR, changes_of, key, session};
use crate::opening::migrate_together;
use crate::{
    accounts, calls, idempotency, isolation, pbx_rules, pbxs, quotas, secrets, settings, tenants, transcripts, webhooks,
};

/// Tables of which a tenant sees nothing.
const OPERATORS: [&str; 1] = ["pbx_rules"];

fn all() -> SessionFilter {
    SessionFilter::default()
}

#[tokio::test]
async fn every_case_holds() {
    let server = Postgres::start().unwrap();
    let mut failed = Vec::new();
    let suites = [
        accounts::CASES,
        calls::CASES,
        idempotency::CASES,
        isolation::CASES,
        pbx_rules::CASES,
        pbxs::CASES,
        quotas::CASES,
        secrets::CASES,
        settings::CASES,
        tenants::CASES,
        transcripts::CASES,
        webhooks::CASES,
    ];
    for (name, case) in suites.concat() {
        let db = Db::postgres(&server).await;
        if tokio::spawn(case(db)).await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn the_server_itself_shows_a_tenant_no_other_ones_rows() {
    let server = Postgres::start().unwrap();
    let db = Db::postgres(&server).await;
    let mut tenants = Vec::new();
    for (name, n) in [("acme", 1), ("rival", 2)] {
        let (tenant, pbx) = db.tenant_with_pbx(name).await;
        db.store.apply(OPERATOR, &changes_of(&session(tenant, pbx, n))).await.unwrap();
        accounts::fill(&db, tenant, name).await;
        idempotency::fill(&db, tenant, name).await;
        quotas::fill(&db, tenant).await;
        settings::fill(&db, tenant).await;
        webhooks::fill(&db, tenant).await;
        pbx_rules::fill(&db, tenant, name).await;
        tenants.push(tenant);
    }
    assert_eq!(db.store.weakness().await.unwrap(), None);
    let name = db.name();

    // Every table but SeaORM's own, whoever adds one.
    let tables = server.sql(&name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").unwrap();
    let tables: Vec<_> = tables.lines().filter(|table| *table != "seaql_migrations").collect();
    assert!(tables.len() >= 6, "{tables:?}");
    let as_program = |scope: &str, statement: &str| {
        server.sql(&name, &format!("SET ROLE aimg; SET aimg.scope = '{scope}'; {statement}"))
    };
    for table in tables {
        let count = |scope: &str| as_program(scope, &format!("SELECT count(*) FROM {table}")).unwrap();
        let (all, own, none) = (count("operator"), count(&tenants[0].to_string()), count(""));
        assert_eq!(none, "0", "{table} without a scope");
        if OPERATORS.contains(&table) {
            assert!(all != "0" && own == "0", "{table}: {own} of {all} in the scope of one tenant");
            let insert = format!(
                "INSERT INTO {table} VALUES (gen_random_uuid(), gen_random_uuid(), '{}', 'context:x', 0)",
                tenants[0]
            );
            let refused = as_program(&tenants[0].to_string(), &insert).unwrap_err().to_string();
            assert!(refused.contains("row-level security"), "{table}: {refused}");
            continue;
        }
        assert!(own < all && own != "0", "{table}: {own} of {all} in the scope of one tenant");
        let of_other = if table == "tenants" { "id" } else { "tenant_id" };
        let stolen = as_program(&tenants[0].to_string(), &format!("UPDATE {table} SET {of_other} = '{}'", tenants[1]));
        assert!(stolen.is_err(), "{table}: a row was given to another tenant");
    }
    let unset = server.sql(&name, "SET ROLE aimg; SELECT count(*) FROM tenants").unwrap();
    assert_eq!(unset, "0", "a connection that never said for whom");
}

#[tokio::test]
async fn a_user_who_passes_the_wall_is_told() {
    let server = Postgres::start().unwrap();
    server.make_database("calls").unwrap();
    let place = PostgresPlace::from_parts("127.0.0.1", server.port(), Some(SUPERUSER), None, "calls");
    let store = Store::open(Config::postgres(place), key()).await.unwrap();
    assert!(store.weakness().await.unwrap().is_some_and(|why| why.contains("superuser")));
}

#[tokio::test]
async fn while_the_server_is_away_it_is_said_and_afterwards_all_goes_on() {
    let mut server = Postgres::start().unwrap();
    let db = Db::postgres(&server).await;
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let impatient = Config { patience: Duration::from_millis(300), ..db.config.clone() };
    let store = Store::open_existing(impatient.clone(), key()).await.unwrap();
    let changes = changes_of(&session(tenant, pbx, 1));

    for stop in [Postgres::stop, |server: &mut Postgres| -> Result<(), aimg_testbed::Error> {
        server.crash();
        Ok(())
    }] {
        stop(&mut server).unwrap();
        for _ in 0..3 {
            let error = store.apply(OPERATOR, &changes).await.unwrap_err();
            assert!(matches!(error, Error::Away { .. }), "{error:?}");
        }
        let error = Store::open(impatient.clone(), key()).await.unwrap_err();
        assert!(matches!(&error, Error::Away { .. }) && error.to_string().contains("127.0.0.1"), "{error}");
        server.resume().unwrap();
        store.apply(OPERATOR, &changes).await.unwrap();
        assert_eq!(store.sessions(OPERATOR, all()).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn refusals_name_the_database_and_the_cure() {
    let server = Postgres::start().unwrap();
    let place = |user, name| PostgresPlace::from_parts("127.0.0.1", server.port(), Some(user), None, name);
    let error = Store::open(Config::postgres(place("stranger", "postgres")), key()).await.unwrap_err();
    assert!(matches!(&error, Error::Denied { .. }) && error.to_string().contains("stranger@127.0.0.1"), "{error}");
    let error = Store::open(Config::postgres(place("aimg", "nothing")), key()).await.unwrap_err();
    assert!(matches!(&error, Error::NoDatabase { .. }) && error.to_string().contains("createdb"), "{error}");

    server.make_database("cats").unwrap();
    server.sql("cats", "CREATE TABLE cats (name text)").unwrap();
    let error = Store::open(Config::postgres(place("aimg", "cats")), key()).await.unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error}");

    let db = Db::postgres(&server).await;
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let reader = Store::open_read_only(db.config.clone()).await.unwrap();
    let error = reader.apply(OPERATOR, &changes_of(&session(tenant, pbx, 1))).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly), "{error:?}");
    db.run_sql("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m0999_future', 1)").await;
    let error = Store::open(db.config.clone(), key()).await.unwrap_err();
    assert!(matches!(&error, Error::NewerDatabase { unknown, .. } if unknown == "m0999_future"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_start_together_migrate_once() {
    let server = Postgres::start().unwrap();
    let url = server.make_database("calls").unwrap();
    let config = Config::postgres(PostgresPlace::from_url(&url).unwrap());
    migrate_together(&config).await;
}
