//! Transcripts over HTTP: lists, search, and a call's own as text and subtitles.

use aimg_core::Role;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::fixture::{Service, read};
use crate::world::{World, token_of};

#[tokio::test]
async fn what_was_said_is_listed_found_and_read_as_text() {
    let service = Service::start().await;
    let (world, other) = (World::of(&service, 0).await, World::of(&service, 1).await);
    let viewer = token_of(&service, Some(world.tenant), Role::Viewer).await;
    let root = token_of(&service, None, Role::SuperAdmin).await;
    let get = async |token: &str, path: &str| {
        read(service.ask(Method::GET, &format!("/api/v1{path}")).bearer_auth(token).send().await.unwrap()).await.1
    };
    let tenants = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
        items.iter().map(|item| item["tenant"].as_str().unwrap().to_owned()).collect()
    };
    let own = world.tenant.to_string();
    for path in ["/transcripts", "/transcripts/search?q=hallo", "/transcripts/search?q=hal*%20OR%20x&speaker=caller"] {
        assert_eq!(tenants(&get(&viewer, path).await), std::slice::from_ref(&own), "{path}");
        assert_eq!(tenants(&get(&root, path).await).len(), 2, "{path}");
    }
    for (filter, found) in [
        (format!("dialled_number={}", world.mark), 1),
        (format!("dialled_number={}", other.mark), 0),
        (format!("tenant={}", other.tenant), 0),
        (format!("session={}", world.holes["call-sessions/{id}"]), 1),
        ("direction=inbound".to_owned(), 1),
        ("direction=outbound".to_owned(), 0),
        ("from=2000-01-01T00:00:00Z&before=2001-01-01T00:00:00Z".to_owned(), 0),
    ] {
        for path in ["/transcripts?", "/transcripts/search?q=hallo&"] {
            assert_eq!(tenants(&get(&viewer, &format!("{path}{filter}")).await).len(), found, "{path}{filter}");
        }
    }
    for path in ["/transcripts?limit=1", "/transcripts/search?q=hallo&limit=1"] {
        let first = get(&root, path).await;
        let second = get(&root, &format!("{path}&after={}", first["next"].as_str().unwrap())).await;
        assert!(tenants(&first) != tenants(&second) && tenants(&second).len() == 1, "{first} {second}");
        let third = get(&root, &format!("{path}&after={}", second["next"].as_str().unwrap())).await;
        assert_eq!((tenants(&third).len(), &third["next"]), (0, &Value::Null));
    }
    let hit = &get(&viewer, "/transcripts/search?q=hallo").await["items"][0];
    assert_eq!((&hit["snippet"][0]["text"], &hit["snippet"][0]["is_hit"]), (&"Hallo".into(), &true.into()));

    let transcript = get(&viewer, &world.fill("/transcripts/{id}")).await;
    assert_eq!(transcript["segments"][0]["text"], format!("Hallo {}", world.mark));
    let of_call = world.fill("/api/v1/call-sessions/{id}/transcript");
    for (format, content_type, begins) in [
        ("", "application/json", "{\"items\":["),
        ("?format=txt", "text/plain; charset=utf-8", "[00:00:01.000] caller: Hallo"),
        ("?format=srt", "application/x-subrip; charset=utf-8", "1\n00:00:01,000 --> 00:00:02,000\ncaller: Hallo"),
        ("?format=vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<v caller>Hallo"),
    ] {
        let answer = service.ask(Method::GET, &format!("{of_call}{format}")).bearer_auth(&viewer).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], content_type);
        let text = answer.text().await.unwrap();
        assert!(text.starts_with(begins), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_question_is_refused_with_the_parameter() {
    let service = Service::start().await;
    let viewer = token_of(&service, Some(service.tenants[0]), Role::Viewer).await;
    for (path, field) in [
        ("/transcripts/search", "q"),
        ("/transcripts/search?q=%22%20*", "q"),
        ("/transcripts/search?q=a&speaker=both", "speaker"),
        ("/transcripts/search?q=a&after=x", "after"),
        ("/transcripts?limit=0", "limit"),
        ("/transcripts?limit=1001", "limit"),
        ("/transcripts?from=yesterday", "from"),
        ("/transcripts?after=1_2", "after"),
        ("/transcripts?dialled_number=%00", "dialled_number"),
    ] {
        let request = service.ask(Method::GET, &format!("/api/v1{path}")).bearer_auth(&viewer);
        let (status, problem) = read(request.send().await.unwrap()).await;
        let refused = (status, problem["field"].as_str());
        assert_eq!(refused, (StatusCode::UNPROCESSABLE_ENTITY, Some(field)), "{path}: {problem}");
    }
}
