//! Transcripts written as a call goes on, read back, and searched.

use std::time::Duration;

use aimg_core::{CallDirection, Direction, SessionRow, TenantId, TenantScope, Timestamp, TranscriptId};
use aimg_store::{
    Change, Error, SearchHit, SearchQuery, SegmentRow, TranscriptFilter, TranscriptPlace, TranscriptRow,
    TranscriptState,
};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Db, OPERATOR, at, session};

conformance! {
    segments_replace_interim_ones_and_no_final_one,
    the_newest_transcript_of_each_part_is_a_sessions,
    what_was_said_is_found_by_its_words,
    nothing_that_is_typed_is_a_syntax_error,
    hits_and_transcripts_are_filtered_and_paged,
    a_search_finds_ones_own_only,
    old_transcripts_go_with_their_segments,
}

/// The transcript of a session's part 0.
pub(crate) fn transcript(session: &SessionRow) -> TranscriptRow {
    TranscriptRow {
        id: TranscriptId::from_uuid(session.id.as_uuid()),
        tenant: session.tenant,
        session: session.id,
        part: 0,
        provider: "riva".to_owned(),
        model: Some("conformer".to_owned()),
        language: Some("de-DE".to_owned()),
        state: TranscriptState::Running,
        failure: None,
        created_at: session.started_at,
        finished_at: None,
    }
}

/// An utterance, a second long, as many seconds into the call as its number says.
pub(crate) fn segment(session: &SessionRow, number: u32, text: &str) -> SegmentRow {
    SegmentRow {
        tenant: session.tenant,
        session: session.id,
        transcript: transcript(session).id,
        number,
        speaker: if number.is_multiple_of(2) { Direction::Caller } else { Direction::Callee },
        at: session.started_at + Duration::from_secs(number.into()),
        start_ms: u64::from(number) * 1_000,
        end_ms: u64::from(number) * 1_000 + 1_000,
        text: text.to_owned(),
        confidence: Some(0.5),
        words: Some(json!([{"word": "ein", "start_ms": 0}])),
        is_final: true,
    }
}

async fn say(db: &Db, session: &SessionRow, texts: &[&str]) {
    let mut changes =
        vec![Change::Session(Box::new(session.clone())), Change::Transcript(Box::new(transcript(session)))];
    let segments = (0..).zip(texts).map(|(number, text)| Change::Segment(Box::new(segment(session, number, text))));
    changes.extend(segments);
    db.store.apply(OPERATOR, &changes).await.unwrap();
}

async fn search(db: &Db, scope: TenantScope, text: &str, filter: &TranscriptFilter) -> Vec<SearchHit> {
    let query = SearchQuery::parse(text).unwrap();
    db.store.search_segments(scope, &query, None, filter, None).await.unwrap()
}

async fn numbers(db: &Db, text: &str) -> Vec<u32> {
    search(db, OPERATOR, text, &TranscriptFilter::default()).await.iter().map(|hit| hit.segment.number).collect()
}

async fn segments_replace_interim_ones_and_no_final_one(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let row = session(tenant, pbx, 1);
    say(&db, &row, &[]).await;
    let write = async |text: &str, is_final| {
        let change = Change::Segment(Box::new(SegmentRow { is_final, ..segment(&row, 0, text) }));
        db.store.apply(OPERATOR, &[change]).await.unwrap();
    };
    let said = async || {
        let detail = db.store.transcript(OPERATOR, transcript(&row).id).await.unwrap();
        detail.segments.into_iter().map(|s| (s.text, s.is_final)).collect::<Vec<_>>()
    };
    write("guten", false).await;
    write("guten tag", false).await;
    assert_eq!(said().await, [("guten tag".to_owned(), false)]);
    assert_eq!(numbers(&db, "guten").await, [0; 0], "what may still change is not found");
    write("Guten Tag!", true).await;
    write("guten tag", false).await;
    assert_eq!(said().await, [("Guten Tag!".to_owned(), true)], "an interim one came late");
    write("Guten Abend!", true).await;
    assert_eq!(said().await, [("Guten Abend!".to_owned(), true)]);
    assert_eq!((numbers(&db, "abend").await.len(), numbers(&db, "tag").await.len()), (1, 0), "the index follows");

    let done = TranscriptRow { state: TranscriptState::Done, finished_at: Some(at(5)), ..transcript(&row) };
    db.store.apply(OPERATOR, &[Change::Transcript(Box::new(done.clone()))]).await.unwrap();
    let detail = db.store.transcript(TenantScope::Tenant(tenant), done.id).await.unwrap();
    assert_eq!(
        (detail.transcript, detail.segments),
        (
            done,
            vec![segment(&row, 0, "Guten Abend!")].into_iter().map(|s| SegmentRow { words: s.words, ..s }).collect()
        )
    );
}

async fn the_newest_transcript_of_each_part_is_a_sessions(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let row = session(tenant, pbx, 1);
    say(&db, &row, &["alt"]).await;
    let again = |n, part, us| TranscriptRow {
        id: TranscriptId::from_uuid(Uuid::from_u128(n)),
        part,
        created_at: at(us),
        ..transcript(&row)
    };
    let done = |row| TranscriptRow { state: TranscriptState::Done, ..row };
    let (newer, second) = (done(again(50, 0, 900)), again(51, 1, 100));
    // One that is done, of which another is being made; and one of which nothing is done.
    let (older, running) = (done(again(52, 0, 800)), again(53, 0, 950));
    let changes = [&newer, &second, &older, &running].map(|t| Change::Transcript(Box::new(t.clone())));
    db.store.apply(OPERATOR, &changes).await.unwrap();
    let found = db.store.session_transcripts(TenantScope::Tenant(tenant), row.id).await.unwrap();
    assert_eq!(found.into_iter().map(|d| d.transcript).collect::<Vec<_>>(), [newer, second]);
    let theirs = db.store.session_transcripts(TenantScope::Tenant(other), row.id).await;
    assert!(matches!(theirs, Err(Error::NotFound { .. })), "{theirs:?}");
    let silent = session(tenant, pbx, 2);
    db.store.apply(OPERATOR, &[Change::Session(Box::new(silent.clone()))]).await.unwrap();
    assert_eq!(db.store.session_transcripts(OPERATOR, silent.id).await.unwrap(), []);
}

async fn what_was_said_is_found_by_its_words(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let texts = [
        "Guten Tag, hier ist die Müller GmbH.",
        "Ich möchte meinen Vertrag kündigen!",
        "Den neuen Vertrag, oder den alten? E-Mail: anna.schmidt@example.com",
        "MÜLLER sagt: 12.5 Euro, am 3. März — 50% Rabatt",
    ];
    say(&db, &session(tenant, pbx, 1), &texts).await;
    for (question, found) in [
        ("vertrag", &[2, 1][..]),
        ("VERTRAG kündigen", &[1]),
        ("müller", &[3, 0]),
        ("\"neuen vertrag\"", &[2]),
        ("\"vertrag neuen\"", &[]),
        ("vertrag neuen", &[2]),
        ("vertr*", &[2, 1]),
        ("vertr", &[]),
        ("\"den al*\"", &[2]),
        ("kündigen OR gmbh", &[1, 0]),
        ("kündigen OR neuen alten", &[2, 1]),
        ("anna.schmidt@example.com", &[2]),
        ("schmidt", &[2]),
        ("mail", &[2]),
        ("e-mail", &[2]),
        ("12.5", &[3]),
        ("5", &[3]),
        ("50% rabatt", &[3]),
        ("muller", &[]),
        ("nichts", &[]),
    ] {
        assert_eq!(numbers(&db, question).await, found, "{question}");
    }
    let hit = &search(&db, OPERATOR, "alten", &TranscriptFilter::default()).await[0];
    assert!(hit.snippet.iter().any(|piece| piece.is_hit && piece.text == "alten"), "{hit:?}");
}

async fn nothing_that_is_typed_is_a_syntax_error(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    say(
        &db,
        &session(tenant, pbx, 1),
        &["a b c", &"x".repeat(5_000), "AND or NOT near 1e5 a1b2 \u{0}'\"\\ ß ıİ Ⅷ ½ 你好 स्ते"],
    )
    .await;
    let questions = [
        "a AND b",
        "a & b | !c",
        "a:*",
        "NEAR(a b)",
        "terms:a",
        "-a",
        "^a",
        "a'b",
        "a\\b",
        "a\"b",
        "\"a",
        "a\" *",
        "{a b} : c",
        "a* b*",
        "(a",
        "a)",
        "a <-> b",
        "1e5",
        "a1b2",
        "+49 30 12.3.4",
        "ß",
        "ıİ",
        "Ⅷ ½",
        "你好",
        "स्ते",
        "a\u{0}b",
        "a;DROP TABLE segments",
    ];
    for question in questions {
        search(&db, OPERATOR, question, &TranscriptFilter::default()).await;
    }
    for (question, number) in [
        (&*"X".repeat(5_000), 1),
        (&"x".repeat(64), 1),
        ("1e5", 2),
        ("a1b2", 2),
        ("ß", 2),
        ("Ⅷ ½", 2),
        ("你好", 2),
        ("स्ते", 2),
        ("and NOT", 2),
    ] {
        assert_eq!(numbers(&db, question).await, [number], "{question}");
    }
}

async fn hits_and_transcripts_are_filtered_and_paged(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let mut rows: Vec<SessionRow> = (1..=3).map(|n| session(tenant, pbx, n)).collect();
    rows[1].dialled_number = Some("200".to_owned());
    rows[2].call_direction = CallDirection::Outbound;
    // The second and third begin in the same microsecond: the id decides.
    rows[2].started_at = rows[1].started_at;
    for row in &rows {
        say(&db, row, &["wort eins", "wort zwei"]).await;
    }
    let all = TranscriptFilter::default();
    let filters: [(TranscriptFilter, &[u128], usize); 7] = [
        (all.clone(), &[3, 2, 1], 6),
        (TranscriptFilter { session: Some(rows[0].id), ..all.clone() }, &[1], 2),
        (TranscriptFilter { dialled_number: Some("200".to_owned()), ..all.clone() }, &[2], 2),
        (TranscriptFilter { call_direction: Some(CallDirection::Outbound), ..all.clone() }, &[3], 2),
        (TranscriptFilter { from: Some(rows[1].started_at), ..all.clone() }, &[3, 2], 5),
        (TranscriptFilter { before: Some(rows[1].started_at), ..all.clone() }, &[1], 1),
        (TranscriptFilter { tenant: Some(TenantId::from_uuid(Uuid::nil())), ..all.clone() }, &[], 0),
    ];
    for scope in [OPERATOR, TenantScope::Tenant(tenant)] {
        for (filter, transcripts, hits) in &filters {
            let found = db.store.transcripts(scope, filter, None).await.unwrap();
            let ids = found.iter().map(|t| t.id.as_uuid().as_u128()).collect::<Vec<_>>();
            assert_eq!(ids, *transcripts, "{filter:?}");
            assert_eq!(search(&db, scope, "wort", filter).await.len(), *hits, "{filter:?}");
        }
    }
    let query = SearchQuery::parse("wort").unwrap();
    let callees = db.store.search_segments(OPERATOR, &query, Some(Direction::Callee), &all, None).await.unwrap();
    assert_eq!(callees.iter().map(|hit| hit.segment.number).collect::<Vec<_>>(), [1, 1, 1]);

    let whole = search(&db, OPERATOR, "wort", &all).await;
    let page = TranscriptFilter { limit: Some(2), ..all.clone() };
    let (mut hits, mut transcripts) = (Vec::new(), Vec::new());
    loop {
        let after = hits.last().map(|hit: &SearchHit| hit.place);
        let next = db.store.search_segments(OPERATOR, &query, None, &page, after).await.unwrap();
        if next.is_empty() {
            break;
        }
        assert!(next.len() <= 2);
        hits.extend(next);
    }
    assert_eq!(hits, whole);
    loop {
        let place = |t: &TranscriptRow| TranscriptPlace { created_at: t.created_at, id: t.id };
        let next = db.store.transcripts(OPERATOR, &page, transcripts.last().map(place)).await.unwrap();
        if next.is_empty() {
            break;
        }
        transcripts.extend(next);
    }
    assert_eq!(transcripts, db.store.transcripts(OPERATOR, &all, None).await.unwrap());
    assert_eq!(transcripts.len(), 3);
}

async fn a_search_finds_ones_own_only(db: Db) {
    let mut scopes = Vec::new();
    for (name, n) in [("acme", 1), ("rival", 2)] {
        let (tenant, pbx) = db.tenant_with_pbx(name).await;
        say(&db, &session(tenant, pbx, n), &["ein geheimes wort"]).await;
        scopes.push((TenantScope::Tenant(tenant), session(tenant, pbx, n)));
    }
    let all = TranscriptFilter::default();
    for ((scope, own), (_, other)) in scopes.iter().zip(scopes.iter().rev()) {
        let hits = search(&db, *scope, "geheimes", &all).await;
        assert_eq!(hits.iter().map(|hit| hit.segment.session).collect::<Vec<_>>(), [own.id]);
        assert_eq!(db.store.transcripts(*scope, &all, None).await.unwrap(), [transcript(own)]);
        for filter in [
            TranscriptFilter { tenant: Some(other.tenant), ..all.clone() },
            TranscriptFilter { session: Some(other.id), ..all.clone() },
        ] {
            assert_eq!(search(&db, *scope, "geheimes", &filter).await, []);
            assert_eq!(db.store.transcripts(*scope, &filter, None).await.unwrap(), []);
        }
        let theirs = db.store.transcript(*scope, transcript(other).id).await;
        assert!(matches!(theirs, Err(Error::NotFound { .. })), "{theirs:?}");
    }
    assert_eq!(search(&db, OPERATOR, "geheimes", &all).await.len(), 2);
}

async fn old_transcripts_go_with_their_segments(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, other_pbx) = db.tenant_with_pbx("rival").await;
    for row in [session(tenant, pbx, 1), session(tenant, pbx, 2), session(tenant, pbx, 9), session(other, other_pbx, 3)]
    {
        say(&db, &row, &["ein wort", "noch eins"]).await;
    }
    let purge = async |before: Timestamp| db.store.purge_transcripts(tenant, before, 1).await.unwrap();
    assert_eq!([purge(at(9)).await, purge(at(9)).await, purge(at(9)).await], [1, 1, 0], "so many at a time");
    let left = search(&db, OPERATOR, "wort", &TranscriptFilter::default()).await;
    let left: Vec<u128> = left.iter().map(|hit| hit.segment.session.as_uuid().as_u128()).collect();
    assert_eq!(left, [9, 3]);
    // The index of words lost what its table lost, and no more.
    if let aimg_store::Place::Sqlite(_) = db.config.place {
        db.run_sql("INSERT INTO segments_fts (segments_fts, rank) VALUES ('integrity-check', 1)").await;
    }
}
