//! Calls written in batches and read back; tenants and PBXs around them.

use aimg_core::{
    CallDirection, CallEventKind, CallState, Direction, FailReason, LegRow, QuotaKind, SessionRow, TenantScope,
    Timestamp, Uniqueid,
};
use aimg_store::{
    Change, Error, RecordingFilter, RecordingPlace, RecordingRow, SESSIONS_LIMIT_MAX, SessionFilter, SessionPlace,
    StoredSession,
};
use proptest::prelude::*;
use serde_json::json;

use crate::fixture::{Db, OPERATOR, at, changes_of, event, leg, new_pbx, recording, session};

conformance! {
    what_is_written_is_read_back,
    every_kind_of_event_survives,
    a_batch_with_one_bad_change_writes_nothing,
    a_uniqueid_is_taken_while_its_call_lives_and_free_afterwards,
    lists_are_newest_first_bounded_and_know_the_living,
    each_filter_keeps_what_fits,
    a_search_finds_what_begins_so,
    pages_follow_one_another_without_gap_or_repeat,
    recordings_are_filtered_and_paged,
    what_is_over_can_be_deleted,
    a_node_finds_what_it_left_open,
    tenants_and_pbxs_have_names_of_their_own,
    tenants_are_disabled_and_changed,
}

fn all() -> SessionFilter {
    SessionFilter::default()
}
fn active() -> SessionFilter {
    SessionFilter { active: true, ..SessionFilter::default() }
}

async fn what_is_written_is_read_back(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let mut row = session(tenant, pbx, 1);
    db.store.apply(OPERATOR, &changes_of(&row)).await.unwrap();
    row.state = CallState::Ended;
    row.answered_at = Some(at(20_000));
    row.ended_at = Some(at(4_000_000));
    row.hangup_cause = Some(16);
    let gone = LegRow { left_at: Some(at(4_000_000)), hangup_cause: Some(16), ..leg(&row) };
    db.store.apply(OPERATOR, &[Change::Session(Box::new(row.clone())), Change::Leg(gone.clone())]).await.unwrap();

    let detail = db.store.session(OPERATOR, row.id).await.unwrap();
    assert_eq!(detail.session.row, row);
    assert_eq!(detail.session.live, Some(json!({"caller": {"received": 50}})), "a later write keeps the ledgers");
    assert_eq!(detail.legs, [gone]);
    assert_eq!(detail.events.iter().map(|e| e.kind.name()).collect::<Vec<_>>(), ["leg_joined", "tap_requested"]);
    assert_eq!(detail.recordings, [recording(&row, 0)]);
    assert_eq!(db.store.recording(OPERATOR, row.id, 0).await.unwrap(), recording(&row, 0));
}

async fn every_kind_of_event_survives(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let row = session(tenant, pbx, 1);
    let channel = Uniqueid::new("1769860800.7");
    let kinds = [
        CallEventKind::State { state: CallState::Capturing },
        CallEventKind::LegJoined { channel: channel.clone() },
        CallEventKind::LegLeft { channel, cause: 16 },
        CallEventKind::HookEntered,
        CallEventKind::HookReleased { ready: true },
        CallEventKind::TapRequested { part: 0 },
        CallEventKind::FlowStarted { direction: Direction::Callee, first_packet_at: at(5) },
        CallEventKind::QuotaExceeded { quota: QuotaKind::StorageBytes },
        CallEventKind::TapFailed { reason: "no \"chan_rtp\"".to_owned() },
        CallEventKind::Adopted { part: 1 },
        CallEventKind::Lost { reason: FailReason::PbxRestarted },
        CallEventKind::RecordingReady { part: 0, complete: true },
        CallEventKind::RecordingFailed { part: 1, reason: "disk full".to_owned() },
    ];
    let events: Vec<_> = kinds.into_iter().zip(0..).map(|(kind, us)| event(&row, us, kind)).collect();
    let session = Change::Session(Box::new(row.clone()));
    let changes: Vec<_> = std::iter::once(session).chain(events.iter().cloned().map(Change::Event)).collect();
    db.store.apply(OPERATOR, &changes).await.unwrap();
    assert_eq!(db.store.session(OPERATOR, row.id).await.unwrap().events, events);
}

async fn a_batch_with_one_bad_change_writes_nothing(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let good = session(tenant, pbx, 1);
    let mut changes = changes_of(&good);
    changes.push(Change::Leg(leg(&session(tenant, pbx, 2))));
    let error = db.store.apply(OPERATOR, &changes).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { what: "session", id } if *id == session(tenant, pbx, 2).id.to_string()));
    assert!(db.store.sessions(OPERATOR, all()).await.unwrap().is_empty());
    db.store.apply(OPERATOR, &[]).await.unwrap();
}

async fn a_uniqueid_is_taken_while_its_call_lives_and_free_afterwards(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let first = session(tenant, pbx, 1);
    let second = SessionRow { uniqueid: first.uniqueid.clone(), ..session(tenant, pbx, 2) };
    db.store.apply(OPERATOR, &[Change::Session(Box::new(first.clone()))]).await.unwrap();
    let error = db.store.apply(OPERATOR, &[Change::Session(Box::new(second.clone()))]).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    for over in [CallState::Ended, CallState::Failed] {
        let first = SessionRow { state: over, ..first.clone() };
        let second = SessionRow { state: over, ..second.clone() };
        db.store.apply(OPERATOR, &[Change::Session(Box::new(first)), Change::Session(Box::new(second))]).await.unwrap();
    }
}

async fn lists_are_newest_first_bounded_and_know_the_living(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let states = CallState::ALL;
    let rows: Vec<_> =
        states.into_iter().zip(1..).map(|(state, n)| SessionRow { state, ..session(tenant, pbx, n) }).collect();
    let changes: Vec<_> = rows.iter().cloned().map(|row| Change::Session(Box::new(row))).collect();
    db.store.apply(OPERATOR, &changes).await.unwrap();

    let states = |list: Vec<aimg_store::StoredSession>| list.into_iter().map(|s| s.row.state).collect::<Vec<_>>();
    let newest_first: Vec<_> = CallState::ALL.into_iter().rev().collect();
    assert_eq!(states(db.store.sessions(OPERATOR, all()).await.unwrap()), newest_first);
    let living: Vec<_> = newest_first.iter().copied().filter(|s| !s.is_over()).collect();
    assert_eq!(states(db.store.sessions(OPERATOR, active()).await.unwrap()), living);
    let two = SessionFilter { active: false, limit: Some(2), ..SessionFilter::default() };
    assert_eq!(states(db.store.sessions(OPERATOR, two).await.unwrap()), newest_first[..2]);
    let unbounded = SessionFilter { active: false, limit: Some(u64::MAX), ..SessionFilter::default() };
    assert!(db.store.sessions(OPERATOR, unbounded).await.unwrap().len() as u64 <= SESSIONS_LIMIT_MAX);
}

async fn each_filter_keeps_what_fits(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, other_pbx) = db.tenant_with_pbx("rival").await;
    let base = session(tenant, pbx, 1);
    type Alter = fn(&mut SessionRow);
    let changed: [(&str, Alter); 6] = [
        ("state", |row| row.state = CallState::Failed),
        ("direction", |row| row.call_direction = CallDirection::Outbound),
        ("caller", |row| row.caller_number = Some("17".to_owned())),
        ("dialled", |row| row.dialled_number = Some("18".to_owned())),
        ("captured", |row| row.captured = false),
        ("later", |row| row.started_at = at(1_000_000)),
    ];
    let mut names = vec![("base", base.id)];
    let mut changes = vec![Change::Session(Box::new(base.clone()))];
    for ((name, change), n) in changed.into_iter().zip(2..) {
        let mut row = session(tenant, pbx, n);
        change(&mut row);
        names.push((name, row.id));
        changes.push(Change::Session(Box::new(row)));
    }
    let foreign = session(other, other_pbx, 9);
    names.push(("foreign", foreign.id));
    changes.push(Change::Session(Box::new(foreign)));
    db.store.apply(OPERATOR, &changes).await.unwrap();

    let f = SessionFilter::default;
    let only: [(SessionFilter, &str); 9] = [
        (SessionFilter { state: Some(CallState::Failed), ..f() }, "state"),
        (SessionFilter { call_direction: Some(CallDirection::Outbound), ..f() }, "direction"),
        (SessionFilter { caller_number: Some("17".to_owned()), ..f() }, "caller"),
        (SessionFilter { dialled_number: Some("18".to_owned()), ..f() }, "dialled"),
        (SessionFilter { captured: Some(false), ..f() }, "captured"),
        (SessionFilter { started_from: Some(at(1_000_000)), ..f() }, "later"),
        (SessionFilter { started_before: Some(at(2)), ..f() }, "base"),
        (SessionFilter { tenant: Some(other), ..f() }, "foreign"),
        (SessionFilter { pbx: Some(other_pbx), ..f() }, "foreign"),
    ];
    for (filter, name) in only {
        let found = db.store.sessions(OPERATOR, filter.clone()).await.unwrap();
        let found: Vec<_> = found.iter().map(|s| names.iter().find(|(_, id)| *id == s.row.id).unwrap().0).collect();
        assert_eq!(found, [name], "{filter:?}");
    }
    let own = TenantScope::Tenant(tenant);
    let theirs = SessionFilter { tenant: Some(other), ..f() };
    assert_eq!(db.store.sessions(own, theirs).await.unwrap(), [], "a filter does not widen the scope");
    let both = SessionFilter { state: Some(CallState::Failed), captured: Some(false), ..f() };
    assert_eq!(db.store.sessions(OPERATOR, both).await.unwrap(), []);
}

async fn a_search_finds_what_begins_so(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, other_pbx) = db.tenant_with_pbx("rival").await;
    let numbers = |caller: &str, dialled: &str, row: SessionRow| SessionRow {
        caller_number: Some(caller.to_owned()),
        dialled_number: Some(dialled.to_owned()),
        ..row
    };
    let id = "01980000-0000-7000-8000-000000000000".parse().unwrap();
    let rows = [
        numbers("+4930123", "+4930", SessionRow { id, ..session(tenant, pbx, 1) }),
        numbers("4930199", "+49301", session(tenant, pbx, 2)),
        SessionRow { caller_number: None, dialled_number: None, ..session(tenant, pbx, 3) },
        numbers("+4930123", "100", session(other, other_pbx, 4)),
    ];
    let rows = rows.into_iter().zip(0..).map(|(row, n)| SessionRow {
        // A session's id tells when it began.
        started_at: Timestamp::from_micros(i64::try_from(row.id.as_uuid().as_u128() >> 80).unwrap() * 1_000 + n),
        uniqueid: Uniqueid::new(format!("176986080{n}.7")),
        ..row
    });
    let rows: Vec<_> = rows.collect();
    let changes: Vec<_> = rows.iter().cloned().map(|row| Change::Session(Box::new(row))).collect();
    db.store.apply(OPERATOR, &changes).await.unwrap();
    for (prefix, expected) in [
        ("+4930", &[0, 1][..]),
        ("+49301", &[0, 1]),
        ("+493012", &[0]),
        ("493", &[1]),
        ("1769860", &[0, 2, 1]),
        ("176986", &[]),
        ("1769860802", &[2]),
        ("0198", &[0]),
        ("01980000-0000", &[0]),
        ("01980000-0000-7000", &[0]),
        ("01980000-0000-7000-9", &[]),
        ("01980001", &[]),
        ("%", &[]),
        ("_930", &[]),
        ("'", &[]),
    ] {
        let filter = SessionFilter { begins_with: Some(prefix.to_owned()), ..SessionFilter::default() };
        let found = db.store.sessions(TenantScope::Tenant(tenant), filter).await.unwrap();
        let found: Vec<_> = found.iter().map(|s| rows.iter().position(|row| row.id == s.row.id).unwrap()).collect();
        assert_eq!(found, expected, "{prefix}");
        for oldest_first in [false, true] {
            let mut expected = expected.to_vec();
            if oldest_first {
                expected.reverse();
            }
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let begins_with = Some(prefix.to_owned());
                let page =
                    SessionFilter { begins_with, oldest_first, after, limit: Some(1), ..SessionFilter::default() };
                let page = db.store.sessions(TenantScope::Tenant(tenant), page).await.unwrap();
                let [StoredSession { row, .. }] = &page[..] else { break };
                after = Some(SessionPlace { started_at: row.started_at, id: row.id });
                paged.push(rows.iter().position(|other| other.id == row.id).unwrap());
            }
            assert_eq!(paged, expected, "{prefix}, a page each, the oldest first: {oldest_first}");
        }
    }
    let chosen = SessionFilter { ids: Some(vec![rows[1].id, rows[3].id]), ..SessionFilter::default() };
    let own = db.store.sessions(TenantScope::Tenant(tenant), chosen.clone()).await.unwrap();
    assert_eq!(own.iter().map(|s| s.row.id).collect::<Vec<_>>(), [rows[1].id]);
    assert_eq!(db.store.sessions(OPERATOR, chosen).await.unwrap().len(), 2);
}

async fn recordings_are_filtered_and_paged(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, other_pbx) = db.tenant_with_pbx("rival").await;
    let (one, two) = (session(tenant, pbx, 1), session(tenant, pbx, 2));
    let foreign = session(other, other_pbx, 3);
    let recordings = [
        recording(&one, 0),
        RecordingRow { complete: false, ..recording(&one, 1) },
        RecordingRow { created_at: at(8_000_000), ..recording(&two, 0) },
        recording(&foreign, 0),
    ];
    let sessions = [&one, &two, &foreign].map(|row| Change::Session(Box::new(row.clone())));
    let changes: Vec<_> = sessions.into_iter().chain(recordings.iter().cloned().map(Change::Recording)).collect();
    db.store.apply(OPERATOR, &changes).await.unwrap();
    let f = RecordingFilter::default;
    for (filter, expected) in [
        (f(), &[3, 1, 0, 2][..]),
        (RecordingFilter { oldest_first: true, ..f() }, &[2, 0, 1, 3]),
        (RecordingFilter { tenant: Some(tenant), ..f() }, &[1, 0, 2]),
        (RecordingFilter { pbx: Some(other_pbx), ..f() }, &[3]),
        (RecordingFilter { session: Some(one.id), ..f() }, &[1, 0]),
        (RecordingFilter { complete: Some(false), ..f() }, &[1]),
        (RecordingFilter { created_before: Some(at(9_000_000)), ..f() }, &[2]),
        (RecordingFilter { created_from: Some(at(9_000_000)), limit: Some(2), ..f() }, &[3, 1]),
    ] {
        let found = db.store.recordings(OPERATOR, filter.clone()).await.unwrap();
        let found: Vec<_> = found.iter().map(|r| recordings.iter().position(|row| row == r).unwrap()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    for oldest_first in [false, true] {
        let whole = db.store.recordings(OPERATOR, RecordingFilter { oldest_first, ..f() }).await.unwrap();
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let filter = RecordingFilter { oldest_first, after, limit: Some(1), ..f() };
            let page = db.store.recordings(OPERATOR, filter).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(RecordingPlace { created_at: last.created_at, session: last.session, part: last.part });
            paged.extend(page);
        }
        assert_eq!(paged, whole);
    }
}

async fn what_is_over_can_be_deleted(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let own = TenantScope::Tenant(tenant);
    let row = session(tenant, pbx, 1);
    let neighbour = session(tenant, pbx, 2);
    db.store.apply(OPERATOR, &[changes_of(&row), changes_of(&neighbour)].concat()).await.unwrap();
    let error = db.store.delete_session(own, row.id).await.unwrap_err();
    assert!(matches!(error, Error::StillGoingOn { .. }), "{error}");

    let over = SessionRow { state: CallState::Ended, ..row.clone() };
    let more = [Change::Session(Box::new(over)), Change::Recording(recording(&row, 1))];
    db.store.apply(OPERATOR, &more).await.unwrap();
    db.store.forget_recordings(own, &[(row.id, 0)]).await.unwrap();
    let left = db.store.session(own, row.id).await.unwrap().recordings;
    assert_eq!(left, [recording(&row, 1)]);
    db.store.delete_session(own, row.id).await.unwrap();
    assert!(matches!(db.store.session(own, row.id).await, Err(Error::NotFound { .. })));
    assert_eq!(db.store.recordings(own, RecordingFilter::default()).await.unwrap(), [recording(&neighbour, 0)]);
    assert_eq!(db.store.session(own, neighbour.id).await.unwrap().legs.len(), 1, "its neighbour's rows stay");
}

async fn pages_follow_one_another_without_gap_or_repeat(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    // Several begin in the same microsecond.
    let row = |n: u128| SessionRow { started_at: at(i64::try_from(n / 3).unwrap()), ..session(tenant, pbx, n) };
    let changes: Vec<_> = (0..11).map(|n| Change::Session(Box::new(row(n)))).collect();
    db.store.apply(OPERATOR, &changes).await.unwrap();
    for oldest_first in [false, true] {
        let whole = SessionFilter { oldest_first, ..SessionFilter::default() };
        let whole: Vec<_> = db.store.sessions(OPERATOR, whole).await.unwrap().iter().map(|s| s.row.id).collect();
        assert_eq!(whole.len(), 11);
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let filter = SessionFilter { oldest_first, after, limit: Some(2), ..SessionFilter::default() };
            let page = db.store.sessions(OPERATOR, filter).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(SessionPlace { started_at: last.row.started_at, id: last.row.id });
            paged.extend(page.iter().map(|s| s.row.id));
        }
        assert_eq!(paged, whole);
    }
}

async fn a_node_finds_what_it_left_open(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let open = session(tenant, pbx, 1);
    let over = SessionRow { state: CallState::Ended, ..session(tenant, pbx, 2) };
    let elsewhere = SessionRow { node: "n2".parse().unwrap(), ..session(tenant, pbx, 3) };
    let changes: Vec<_> =
        [&open, &over, &elsewhere].into_iter().map(|row| Change::Session(Box::new(row.clone()))).collect();
    db.store.apply(OPERATOR, &changes).await.unwrap();
    assert_eq!(db.store.unfinished(OPERATOR, &open.node).await.unwrap(), [open]);
}

async fn tenants_and_pbxs_have_names_of_their_own(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let taken = store.add_tenant(OPERATOR, "acme", json!({})).await.unwrap_err();
    assert!(matches!(taken, Error::Conflict { what: "tenant", .. }), "{taken}");
    let taken = store.add_pbx(OPERATOR, new_pbx(tenant, "acme-pbx")).await.unwrap_err();
    assert!(matches!(taken, Error::Conflict { what: "PBX", .. }), "{taken}");
    let orphan = new_pbx(aimg_core::TenantId::from_uuid(uuid::Uuid::from_u128(404)), "orphan");
    let error = store.add_pbx(OPERATOR, orphan).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { what: "tenant", .. }), "{error}");
    assert!(matches!(store.add_tenant(OPERATOR, "A b", json!({})).await, Err(Error::BadName(_))));
    assert!(matches!(store.add_pbx(OPERATOR, new_pbx(tenant, "")).await, Err(Error::BadName(_))));

    assert_eq!(store.tenant_by_name(OPERATOR, "acme").await.unwrap().id, tenant);
    let stored = store.pbx_by_name(OPERATOR, "acme-pbx").await.unwrap();
    assert_eq!(stored, store.pbx(OPERATOR, pbx).await.unwrap());
    assert_eq!((stored.ami_port, stored.inbound_contexts), (5038, vec!["from-trunk".to_owned()]));
}

async fn tenants_are_disabled_and_changed(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    for enabled in [false, true] {
        store.set_tenant_enabled(OPERATOR, tenant, enabled).await.unwrap();
        assert_eq!(store.tenant(OPERATOR, tenant).await.unwrap().enabled, enabled);
    }
    store.set_capture_rule(OPERATOR, tenant, json!({"calls": "none"})).await.unwrap();
    assert_eq!(store.tenant(OPERATOR, tenant).await.unwrap().capture_rule, json!({"calls": "none"}));
}

/// Prefixes of one history, each applied once or more: as a writer does that cannot know whether its batch got through.
fn replays() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..=12usize, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn batches_applied_again_leave_the_same_rows(cuts in replays()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (once, again) = (Db::sqlite().await, Db::sqlite().await);
            let mut details = Vec::new();
            for (db, repeat) in [(&once, 1), (&again, 3)] {
                let (tenant, pbx) = db.tenant_with_pbx("acme").await;
                let history = [changes_of(&session(tenant, pbx, 1)), changes_of(&session(tenant, pbx, 2))].concat();
                let mut cuts: Vec<_> = cuts.iter().copied().chain([0, history.len()]).collect();
                cuts.sort_unstable();
                for batch in cuts.windows(2) {
                    for _ in 0..repeat {
                        db.store.apply(OPERATOR, &history[batch[0]..batch[1]]).await.unwrap();
                    }
                }
                let mut rows = Vec::new();
                for n in [1, 2] {
                    let detail = db.store.session(OPERATOR, session(tenant, pbx, n).id).await.unwrap();
                    rows.push((detail.legs.len(), detail.events.iter().map(|e| e.kind.clone()).collect::<Vec<_>>(),
                        detail.recordings.len(), detail.session.live));
                }
                details.push(rows);
            }
            prop_assert_eq!(&details[0], &details[1]);
            Ok(())
        })?;
    }
}
