//! Recordings: lists, audio by ranges, removal.

use std::fs::File;
use std::time::Duration;

use aimg_core::{Role, TenantScope};
use aimg_store::{Change, RecordingRow};
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::calls::{Calls, written};
use crate::fixture::{Account, Service};
use crate::world::recording;

const RECORDINGS: &str = "/api/v1/recordings";

/// Longer than what is read at once, and each byte tells where it is.
fn audio() -> Vec<u8> {
    (0..300_000_u32).map(|n| (n % 251) as u8).collect()
}

async fn get(account: &Account<'_>, id: &str, headers: &[(reqwest::header::HeaderName, &str)]) -> Response {
    let request = account.ask(Method::GET, &format!("{RECORDINGS}/{id}/audio"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
    request.send().await.unwrap()
}

fn header(answer: &Response, name: reqwest::header::HeaderName) -> &str {
    answer.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn audio_comes_whole_or_in_parts() {
    let service = Service::start().await;
    let own = Calls::of(&service, 0).await;
    let call = own.call(1, |_| {});
    own.write(written(std::slice::from_ref(&call))).await;
    let audio = audio();
    own.write_recording(&call, 2, &audio).await;
    let id = format!("{}.2", call.id);
    let viewer = service.account(Role::Viewer, 0).await;

    let whole = get(&viewer, &id, &[]).await;
    assert_eq!((whole.status(), header(&whole, CONTENT_TYPE)), (StatusCode::OK, "audio/wav"));
    assert_eq!((header(&whole, ACCEPT_RANGES), header(&whole, CONTENT_LENGTH)), ("bytes", "300000"));
    assert_eq!(header(&whole, CONTENT_DISPOSITION), format!("attachment; filename=\"{id}.wav\""));
    let tag = header(&whole, ETAG).to_owned();
    assert_eq!(tag, "\"hash2of300000\"");
    assert!(whole.bytes().await.unwrap() == audio);

    let part = get(&viewer, &id, &[(RANGE, "bytes=131000-280000")]).await;
    assert_eq!(
        (part.status(), header(&part, CONTENT_RANGE)),
        (StatusCode::PARTIAL_CONTENT, "bytes 131000-280000/300000")
    );
    assert_eq!(header(&part, CONTENT_LENGTH), "149001");
    assert!(part.bytes().await.unwrap() == audio[131_000..=280_000]);

    let parts = get(&viewer, &id, &[(RANGE, "bytes=0-9,-5")]).await;
    assert_eq!(parts.status(), StatusCode::PARTIAL_CONTENT);
    let boundary = header(&parts, CONTENT_TYPE).strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let length: usize = header(&parts, CONTENT_LENGTH).parse().unwrap();
    let body = parts.bytes().await.unwrap();
    let head = |place: &str| {
        format!("\r\n--{boundary}\r\nContent-Type: audio/wav\r\nContent-Range: bytes {place}/300000\r\n\r\n")
            .into_bytes()
    };
    let end = format!("\r\n--{boundary}--\r\n").into_bytes();
    let expected = [head("0-9"), audio[..10].to_vec(), head("299995-299999"), audio[299_995..].to_vec(), end].concat();
    assert!(body == expected && length == expected.len(), "{body:?}");

    let beyond = get(&viewer, &id, &[(RANGE, "bytes=300000-")]).await;
    assert_eq!(
        (beyond.status(), header(&beyond, CONTENT_RANGE)),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */300000")
    );
    assert!(beyond.text().await.unwrap().contains("bad_range"));

    for (condition, status) in [(tag.as_str(), 206), ("\"another\"", 200), ("Tue, 14 Nov 2023 22:13:20 GMT", 200)] {
        let answer = get(&viewer, &id, &[(RANGE, "bytes=0-9"), (IF_RANGE, condition)]).await;
        assert_eq!(answer.status().as_u16(), status, "{condition}");
    }
    let known = get(&viewer, &id, &[(IF_NONE_MATCH, &format!("\"x\", W/{tag}"))]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);

    let head = viewer.ask(Method::HEAD, &format!("{RECORDINGS}/{id}/audio")).send().await.unwrap();
    assert_eq!((head.status(), header(&head, CONTENT_LENGTH)), (StatusCode::OK, "300000"));
    assert!(head.bytes().await.unwrap().is_empty());
    service.end().await;
}

#[tokio::test]
async fn a_download_may_take_longer_than_an_answer() {
    const BYTES: u64 = 48 << 20;
    let short = Duration::from_millis(250);
    let service = Service::with(|config| aimg_api::Config { request_timeout: short, ..config }).await;
    let own = Calls::of(&service, 0).await;
    let call = own.call(1, |_| {});
    own.write(written(std::slice::from_ref(&call))).await;
    let row = own.write_recording(&call, 0, b"").await;
    let file = service.dir.path().join("recordings").join(&row.path);
    File::options().write(true).open(file).unwrap().set_len(BYTES).unwrap();
    // The log-in takes longer than an answer may here: an account is made beforehand, with a key.
    let token = crate::world::token_of(&service, Some(call.tenant), Role::Viewer).await;
    let path = format!("{RECORDINGS}/{}.0/audio", call.id);
    let mut answer = service.ask(Method::GET, &path).bearer_auth(token).send().await.unwrap();
    let mut received = answer.chunk().await.unwrap().unwrap().len() as u64;
    // Far more than the sockets hold is still to be read from the file when the time of an answer is over.
    tokio::time::sleep(2 * short).await;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        received += chunk.len() as u64;
    }
    assert_eq!(received, BYTES);
    service.end().await;
}

#[tokio::test]
async fn no_row_leads_out_of_the_recordings() {
    let service = Service::start().await;
    std::fs::write(service.dir.path().join("secret.wav"), "a secret").unwrap();
    let own = Calls::of(&service, 0).await;
    let call = own.call(1, |_| {});
    let absolute = service.dir.path().join("secret.wav").display().to_string();
    std::os::unix::fs::symlink(&absolute, service.dir.path().join("recordings/link.wav")).unwrap();
    let admin = service.account(Role::TenantAdmin, 0).await;
    own.write(written(std::slice::from_ref(&call))).await;
    for (part, path) in (0..).zip(["../secret.wav", &absolute, "link.wav", "x/../../secret.wav"]) {
        let row = RecordingRow { part, path: path.to_owned(), ..recording(&call, "x") };
        own.write([Change::Recording(row)]).await;
        for (method, path) in [(Method::GET, "/audio"), (Method::DELETE, "")] {
            let request = admin.ask(method, &format!("{RECORDINGS}/{}.{part}{path}", call.id));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let text = answer.text().await.unwrap();
            assert!(text.contains("defect") && !text.contains("secret"), "{text}");
        }
    }
    assert!(service.dir.path().join("secret.wav").exists());
    let lost = RecordingRow { part: 9, path: "nothing.wav".into(), ..recording(&call, "x") };
    own.write([Change::Recording(lost)]).await;
    assert_eq!(get(&admin, &format!("{}.9", call.id), &[]).await.status(), StatusCode::NOT_FOUND);
    // In an id there is no way out either.
    for id in ["..%2F..%2Fsecret", "%2e%2e", "x", &format!("{}.0%2F..", call.id)] {
        assert_eq!(get(&admin, id, &[]).await.status(), StatusCode::NOT_FOUND, "{id}");
    }
    service.end().await;
}

#[tokio::test]
async fn recordings_are_listed_shown_and_deleted() {
    let service = Service::start().await;
    let (own, others) = (Calls::of(&service, 0).await, Calls::of(&service, 1).await);
    let rows = [own.call(1, |_| {}), own.call(2, |_| {}), others.call(3, |_| {})];
    own.write(written(&rows)).await;
    for (call, part) in [(&rows[0], 0), (&rows[0], 1), (&rows[1], 0), (&rows[2], 0)] {
        let row = own.write_recording(call, part, b"audio").await;
        own.write([Change::Recording(RecordingRow { complete: part == 0, ..row })]).await;
    }
    let id = |call: usize, part: u16| format!("{}.{part}", rows[call].id);
    let admin = service.account(Role::TenantAdmin, 0).await;
    for (query, expected) in [
        ("order=oldest".to_owned(), vec![id(0, 0), id(0, 1), id(1, 0)]),
        (format!("session={}", rows[0].id), vec![id(0, 1), id(0, 0)]),
        ("complete=false".to_owned(), vec![id(0, 1)]),
        (format!("pbx={}", rows[2].pbx), vec![]),
        ("created_from=2033-01-01T00:00:00Z".to_owned(), vec![]),
    ] {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = admin.get(&format!("{RECORDINGS}?limit=1&{query}{cursor}")).await;
            assert_eq!(status, StatusCode::OK, "{query}: {page}");
            found.extend(page["items"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{query}");
    }
    let (_, shown) = admin.get(&format!("{RECORDINGS}/{}", id(0, 1))).await;
    assert_eq!((&shown["complete"], &shown["certificate"]["sha256"]), (&json!(false), &json!("hash1of5")));
    let (_, certificate) = admin.get(&format!("{RECORDINGS}/{}/certificate", id(0, 1))).await;
    assert_eq!(certificate["opened_at"], "2023-11-14T22:13:20.000Z");
    let (status, problem) = admin.post(&format!("{RECORDINGS}/{}/re-transcribe", id(0, 1)), json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not_available")));

    for (id, status) in [(id(0, 1), 204), (id(0, 1), 404), (id(2, 0), 404)] {
        let path = format!("{RECORDINGS}/{id}");
        assert_eq!(admin.json(Method::DELETE, &path, None).await.0.as_u16(), status, "{id}");
    }
    let files = std::fs::read_dir(service.dir.path().join(format!("recordings/{}/2023/11/14", rows[0].tenant)));
    assert_eq!(files.unwrap().count(), 4, "two recordings with their certificates");
    let left = service.store.session(TenantScope::Operator, rows[0].id).await.unwrap().recordings;
    assert_eq!(left.len(), 1, "the other part stays");
    let log = service.store.audit_log(TenantScope::Operator, aimg_store::AuditFilter::default()).await.unwrap();
    assert!(log.iter().any(|e| e.action == "recording.delete" && e.target == id(0, 1)), "{log:?}");
    service.end().await;
}
