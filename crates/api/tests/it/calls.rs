//! Calls: lists, detail, exports, removal, on either kind of database.

use std::io::Cursor;
use std::pin::Pin;

use aimg_core::{
    CallDirection, CallEvent, CallEventKind, CallState, Direction, LegRow, Role, SessionId, SessionRow, TenantScope,
    Timestamp,
};
use aimg_recording::PartDir;
use aimg_store::{Change, PostgresPlace, RecordingRow};
use aimg_testbed::Postgres;
use calamine::{Data, Reader, Xlsx};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{Account, Service};
use crate::world::{new_pbx, recording, session};

const CALLS: &str = "/api/v1/call-sessions";
const OPERATOR: TenantScope = TenantScope::Operator;

type Case = (&'static str, for<'a> fn(&'a Service) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>);

/// What holds on either kind of database.
macro_rules! cases {
    ($($case:ident,)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                let service = crate::fixture::Service::start().await;
                super::$case(&service).await;
                service.end().await;
            })*
        }

        const CASES: &[Case] = &[$((stringify!($case), |service| Box::pin($case(service)))),*];
    };
}

cases! {
    each_filter_keeps_what_fits,
    pages_go_on_where_they_ended_whatever_came_in_between,
    a_call_is_shown_with_all_that_belongs_to_it,
    exports_hold_the_list_and_no_formulas,
    each_of_many_calls_is_answered_for_itself,
}

#[tokio::test]
async fn every_case_holds_on_postgres() {
    let server = Postgres::start().unwrap();
    for (name, case) in CASES {
        let url = server.make_database(name).unwrap();
        let place = aimg_store::Config::postgres(PostgresPlace::from_url(&url).unwrap());
        let service = Service::on(place, tempfile::tempdir().unwrap(), few_in_a_workbook).await;
        eprintln!("{name}");
        case(&service).await;
        service.end().await;
    }
}

fn few_in_a_workbook(config: aimg_api::Config) -> aimg_api::Config {
    aimg_api::Config { workbook_calls_max: 3_000, ..config }
}

/// Calls of one tenant, made for a test.
pub(crate) struct Calls<'a> {
    service: &'a Service,
    base: SessionRow,
}

impl<'a> Calls<'a> {
    pub(crate) async fn of(service: &'a Service, place: usize) -> Self {
        let tenant = service.tenants[place];
        let pbx = service.store.add_pbx(OPERATOR, new_pbx(tenant, &format!("pbx-{place}"))).await.unwrap().id;
        Self { service, base: session(tenant, pbx, &format!("base{place}")) }
    }

    /// A call that begins so many seconds after the first one, and is not written yet.
    pub(crate) fn call(&self, n: u32, change: impl FnOnce(&mut SessionRow)) -> SessionRow {
        let mut row = SessionRow {
            id: uuid::Uuid::now_v7().to_string().parse().unwrap(),
            started_at: at(n),
            uniqueid: aimg_core::Uniqueid::new(format!("17000000{n:04}.1")),
            ..self.base.clone()
        };
        change(&mut row);
        row
    }

    pub(crate) async fn write(&self, changes: impl IntoIterator<Item = Change>) {
        let changes: Vec<Change> = changes.into_iter().collect();
        for batch in changes.chunks(500) {
            self.service.store.apply(OPERATOR, batch).await.unwrap();
        }
    }

    /// With a file of its own.
    pub(crate) async fn write_recording(&self, call: &SessionRow, part: u16, audio: &[u8]) -> RecordingRow {
        let path = format!("{}/2023/11/14/{}.{part}.wav", call.tenant, call.id);
        let file = self.service.dir.path().join("recordings").join(&path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, audio).unwrap();
        std::fs::write(file.with_extension("json"), "{}").unwrap();
        let hash = format!("hash{part}of{}", audio.len());
        let certificate = json!({ "sha256": hash, "opened_at": 1_700_000_000_000_000_i64 });
        let bytes = audio.len() as u64;
        let row = RecordingRow { part, path, certificate, bytes, ..recording(call, "x") };
        self.write([Change::Recording(row.clone())]).await;
        row
    }
}

fn at(n: u32) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + i64::from(n) * 1_000_000)
}

pub(crate) fn written(rows: &[SessionRow]) -> Vec<Change> {
    rows.iter().cloned().map(|row| Change::Session(Box::new(row))).collect()
}

/// The ids that a list holds.
async fn ids(account: &Account<'_>, query: &str) -> Vec<String> {
    let (status, page) = account.get(&format!("{CALLS}?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {page}");
    page["items"].as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect()
}

async fn each_filter_keeps_what_fits(service: &Service) {
    let (own, others) = (Calls::of(service, 0).await, Calls::of(service, 1).await);
    let rows = [
        own.call(1, |row| row.state = CallState::Failed),
        own.call(2, |row| row.call_direction = CallDirection::Outbound),
        own.call(3, |row| row.caller_number = Some("+49 30 17".into())),
        own.call(4, |row| row.dialled_number = Some("18".into())),
        own.call(5, |row| row.captured = false),
        own.call(6, |row| row.state = CallState::Ringing),
        own.call(7, |_| {}),
        others.call(8, |row| row.caller_number = Some("+49 30 17".into())),
    ];
    own.write(written(&rows)).await;
    let [mine, theirs] = [&rows[0], &rows[7]].map(|row| (row.tenant, row.pbx));
    let seven = rows[6].id;
    let queries = [
        (String::new(), &[7, 6, 5, 4, 3, 2, 1, 0][..]),
        ("state=failed".into(), &[0]),
        ("direction=outbound".into(), &[1]),
        ("caller=%2B49+30+17".into(), &[7, 2]),
        ("dialled=18".into(), &[3]),
        ("captured=false".into(), &[4]),
        ("active=true".into(), &[5]),
        ("started_from=2023-11-14T22:13:27Z".into(), &[7, 6]),
        ("started_before=2023-11-14T22:13:22Z".into(), &[0]),
        (format!("tenant={}", mine.0), &[6, 5, 4, 3, 2, 1, 0]),
        (format!("pbx={}", theirs.1), &[7]),
        ("q=%2B49".into(), &[7, 2]),
        ("q=170000000003".into(), &[2]),
        (format!("q={}", &seven.to_string()), &[6]),
        ("order=oldest&limit=2".into(), &[0, 1]),
        (format!("caller=%2B49+30+17&tenant={}&state=ended", mine.0), &[2]),
    ];
    let admin = service.account(Role::SuperAdmin, 0).await;
    let viewer = service.account(Role::Viewer, 0).await;
    for (query, expected) in queries {
        let all: Vec<String> = expected.iter().map(|n| rows[*n].id.to_string()).collect();
        assert_eq!(ids(&admin, &query).await, all, "{query}");
        let own: Vec<String> = expected.iter().filter(|n| **n != 7).map(|n| rows[*n].id.to_string()).collect();
        // Of the oldest two, both are its own.
        assert_eq!(ids(&viewer, &query).await, own, "{query} as a viewer");
    }
    assert!(ids(&viewer, &format!("tenant={}", theirs.0)).await.is_empty(), "a filter does not widen the reach");
    for (query, field) in [
        ("state=gone", "state"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("after=x", "after"),
        ("after=1.2.3", "after"),
        ("started_from=yesterday", "started_from"),
        ("tenant=acme", "tenant"),
        ("q=49", "q"),
        ("q=49%00", "q"),
        ("caller=%00", "caller"),
        ("colour=red", "colour"),
    ] {
        let (status, problem) = viewer.get(&format!("{CALLS}?{query}")).await;
        assert_eq!((status, problem["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some(field)), "{query}");
    }
    let (_, live) = viewer.get("/api/v1/call-sessions/live").await;
    assert_eq!(live["items"][0]["id"], json!(rows[5].id));
    assert_eq!(live["items"].as_array().unwrap().len(), 1);
}

async fn pages_go_on_where_they_ended_whatever_came_in_between(service: &Service) {
    let own = Calls::of(service, 0).await;
    // Three begin together.
    let rows: Vec<_> = (0..7).map(|n| own.call(n, |row| row.started_at = at(n / 3))).collect();
    own.write(written(&rows)).await;
    let viewer = service.account(Role::Viewer, 0).await;
    for (n, order) in [(100, "newest"), (200, "oldest")] {
        let whole = ids(&viewer, &format!("order={order}")).await;
        let (mut paged, mut cursor, mut newcomer) = (Vec::new(), None::<String>, n);
        loop {
            let next = cursor.as_ref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
            let (_, page) = viewer.get(&format!("{CALLS}?limit=2&order={order}{next}")).await;
            paged.extend(page["items"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()));
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
            // On the side of the list that was read already.
            newcomer += 1;
            let late = own.call(newcomer, |row| {
                if order == "oldest" {
                    row.started_at = Timestamp::from_micros(i64::from(newcomer));
                }
            });
            own.write(written(&[late])).await;
        }
        assert_eq!(paged, whole, "{order}");
    }
}

async fn a_call_is_shown_with_all_that_belongs_to_it(service: &Service) {
    let own = Calls::of(service, 0).await;
    let call = own.call(1, |_| {});
    let leg = LegRow {
        tenant: call.tenant,
        session: call.id,
        uniqueid: call.uniqueid.clone(),
        name: "PJSIP/alice-1".into(),
        caller_number: None,
        joined_at: call.started_at,
        left_at: call.ended_at,
        hangup_cause: Some(16),
    };
    let kind = CallEventKind::FlowStarted { direction: Direction::Caller, first_packet_at: at(2) };
    let event = CallEvent { tenant: call.tenant, pbx: call.pbx, session: call.id, at: at(2), kind };
    let ledgers = json!({ "part": 0, "caller": { "received": 50 }, "callee": null });
    let live = Change::Live { tenant: call.tenant, session: call.id, ledgers: ledgers.clone() };
    own.write(written(std::slice::from_ref(&call))).await;
    own.write([Change::Leg(leg), Change::Event(event), live]).await;
    for part in [0, 1] {
        own.write_recording(&call, part, b"audio").await;
    }
    let viewer = service.account(Role::Viewer, 0).await;
    let (status, shown) = viewer.get(&format!("{CALLS}/{}", call.id)).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    assert_eq!((&shown["state"], &shown["talk_ms"]), (&json!("ended"), &json!(8_000)));
    assert_eq!(shown["legs"][0]["name"], "PJSIP/alice-1");
    let expected = json!({
        "at": "2023-11-14T22:13:22.000Z",
        "event": "flow_started",
        "data": { "direction": "caller", "first_packet_at": "2023-11-14T22:13:22.000Z" },
    });
    assert_eq!(shown["events"], json!([expected]));
    assert_eq!(shown["live"], ledgers);
    let parts: Vec<_> = shown["recordings"].as_array().unwrap().iter().map(|r| r["part"].clone()).collect();
    assert_eq!(parts, [0, 1]);
    assert_eq!(shown["recordings"][0]["certificate"]["opened_at"], "2023-11-14T22:13:20.000Z");
    for absent in [uuid::Uuid::now_v7().to_string(), "nonsense".to_owned()] {
        assert_eq!(viewer.get(&format!("{CALLS}/{absent}")).await.0, StatusCode::NOT_FOUND, "{absent}");
    }
}

/// More than one page of the database.
const MANY: u32 = 2_100;

async fn exports_hold_the_list_and_no_formulas(service: &Service) {
    let own = Calls::of(service, 0).await;
    let evil = "=HYPERLINK(\"http://evil.test\",\"1,2\")";
    let rows: Vec<_> = (0..MANY)
        .map(|n| {
            own.call(n, |row| {
                row.caller_number = Some(if n == 0 { evil.to_owned() } else { format!("+49{n}") });
                row.dialled_number = (n % 2 == 0).then(|| "@18".to_owned());
            })
        })
        .collect();
    own.write(written(&rows)).await;
    let admin = service.account(Role::TenantAdmin, 0).await;
    let get = async |path: String| admin.ask(Method::GET, &path).send().await.unwrap();

    let answer = get(format!("{CALLS}/export?format=csv")).await;
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"calls.csv\"");
    let text = answer.text().await.unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(&reader.headers().unwrap()[5], "caller_number");
    let read: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let ids: Vec<&str> = read.iter().map(|row| &row[0]).collect();
    let expected: Vec<String> = rows.iter().rev().map(|row| row.id.to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(&read[MANY as usize - 1][5], format!("'{evil}"));
    assert_eq!((&read[0][5], &read[0][6], &read[1][6]), ("'+492099", "", "'@18"));

    let answer = get(format!("{CALLS}/export?format=xlsx&order=oldest")).await;
    let status = answer.status();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{bytes:?}");
    let mut book = Xlsx::new(Cursor::new(bytes)).unwrap();
    assert!(book.worksheet_formula("calls").unwrap().is_empty());
    let sheet = book.worksheet_range("calls").unwrap();
    assert_eq!(sheet.get_size(), (MANY as usize + 1, 16));
    let cell = |row, column| sheet.get_value((row, column)).unwrap().clone();
    assert_eq!(cell(1, 0), Data::String(rows[0].id.to_string()));
    assert_eq!(cell(1, 5), Data::String(evil.to_owned()), "a text as it is");
    assert_eq!(cell(1, 12), Data::Float(8_000.0));

    let body = json!({ "format": "csv", "ids": [rows[3].id, uuid::Uuid::now_v7(), rows[1].id] });
    let answer = admin.ask(Method::POST, &format!("{CALLS}/export")).json(&body).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let ids: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(ids, [rows[3].id.to_string(), rows[1].id.to_string()]);
    let none: [SessionId; 0] = [];
    let (status, problem) = admin.post(&format!("{CALLS}/export"), json!({ "format": "csv", "ids": none })).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("ids")));
    let log = service.store.audit_log(OPERATOR, aimg_store::AuditFilter::default()).await.unwrap();
    assert!(log.iter().any(|entry| entry.action == "call_session.export"), "{log:?}");
}

#[tokio::test]
async fn a_workbook_holds_so_many_calls_and_says_so() {
    let service = Service::with(|config| aimg_api::Config { workbook_calls_max: 3, ..config }).await;
    let own = Calls::of(&service, 0).await;
    let rows: Vec<_> = (0..4).map(|n| own.call(n, |_| {})).collect();
    own.write(written(&rows)).await;
    let admin = service.account(Role::TenantAdmin, 0).await;
    let (status, problem) = admin.get(&format!("{CALLS}/export?format=xlsx")).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("format")));
    let fewer = format!("{CALLS}/export?format=xlsx&started_from=2023-11-14T22:13:21Z");
    assert_eq!(admin.ask(Method::GET, &fewer).send().await.unwrap().status(), StatusCode::OK);
    service.end().await;
}

async fn each_of_many_calls_is_answered_for_itself(service: &Service) {
    let (own, others) = (Calls::of(service, 0).await, Calls::of(service, 1).await);
    let recorded = own.call(1, |_| {});
    let going_on = own.call(2, |row| row.state = CallState::Answered);
    let foreign = others.call(3, |_| {});
    let unfinished = own.call(4, |_| {});
    let elsewhere = own.call(5, |row| row.node = "n2".parse().unwrap());
    let plain = own.call(6, |_| {});
    let rows = [recorded, going_on, foreign, unfinished, elsewhere, plain];
    own.write(written(&rows)).await;
    let [recorded, going_on, foreign, unfinished, elsewhere, plain] = &rows;
    let removed = own.write_recording(recorded, 0, b"audio").await;
    let kept = own.write_recording(elsewhere, 0, b"audio").await;
    let spool = service.dir.path().join("spool");
    PartDir::new(&spool, unfinished.tenant, unfinished.id, 0).create().unwrap();
    let file = |row: &RecordingRow| service.dir.path().join("recordings").join(&row.path);
    assert!(file(&removed).exists() && file(&removed).with_extension("json").exists());

    let admin = service.account(Role::TenantAdmin, 0).await;
    let unknown = uuid::Uuid::now_v7();
    let named = [recorded, going_on, foreign, unfinished, elsewhere, plain].map(|row| json!(row.id));
    let ids = [&named[..], &[json!(unknown)]].concat();
    let body = json!({ "action": "delete", "ids": ids });
    let (status, outcome) = admin.post(&format!("{CALLS}/bulk"), body).await;
    assert_eq!(status, StatusCode::OK, "{outcome}");
    let results = outcome["results"].as_array().unwrap();
    let told: Vec<_> = results.iter().map(|r| (r["done"].as_bool().unwrap(), r["problem"]["code"].as_str())).collect();
    let (gone, wrong, absent) = ((true, None), (false, Some("wrong_state")), (false, Some("not_found")));
    assert_eq!(told, [gone, wrong, absent, wrong, wrong, gone, absent]);
    assert_eq!(results.iter().take(6).map(|r| r["id"].clone()).collect::<Vec<_>>(), named);

    assert!(!file(&removed).exists() && !file(&removed).with_extension("json").exists());
    assert!(file(&kept).exists() && spool.join(unfinished.tenant.to_string()).exists());
    for (row, there) in [(recorded, false), (plain, false), (going_on, true), (foreign, true), (elsewhere, true)] {
        assert_eq!(service.store.session(OPERATOR, row.id).await.is_ok(), there, "{:?}", row.started_at);
    }
    let log = service.store.audit_log(OPERATOR, aimg_store::AuditFilter::default()).await.unwrap();
    let deleted: Vec<_> = log.iter().filter(|e| e.action == "call_session.delete").map(|e| e.target.clone()).collect();
    assert_eq!(deleted, [plain.id.to_string(), recorded.id.to_string()]);

    let one = |row: &SessionRow| format!("{CALLS}/{}", row.id);
    for (row, expected) in [(going_on, 409), (foreign, 404), (recorded, 404), (unfinished, 409)] {
        assert_eq!(admin.json(Method::DELETE, &one(row), None).await.0.as_u16(), expected);
    }
    std::fs::remove_dir_all(&spool).unwrap();
    assert_eq!(admin.json(Method::DELETE, &one(unfinished), None).await, (StatusCode::NO_CONTENT, Value::Null));
    let ids = vec![unknown; 501];
    let too_many = json!({ "action": "delete", "ids": ids });
    let (status, problem) = admin.post(&format!("{CALLS}/bulk"), too_many).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("ids")));

    let ended = json!({ "ids": [going_on.id, foreign.id] });
    let (_, outcome) = admin.post(&format!("{CALLS}/bulk/hangup"), ended).await;
    let codes: Vec<_> = outcome["results"].as_array().unwrap().iter().map(|r| &r["problem"]["code"]).collect();
    // Nobody has the one, whose PBX the gateway may have begun to look for; the other is another tenant's.
    assert!(["wrong_state", "pbx_away"].contains(&codes[0].as_str().unwrap()) && codes[1] == "not_found", "{codes:?}");
}
