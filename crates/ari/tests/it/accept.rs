//! A PBX that connects to us.

use std::net::SocketAddr;

use aimg_ari::{Client, ConfigError, Entrance, Error, Events, Listener, ListenerCounts, Notice};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::fake::{DEADLINE, FakePbx, until};

/// `pbx1:hush`
const RIGHT: &str = "Basic cGJ4MTpodXNo";

async fn listener() -> Listener {
    Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None).await.unwrap()
}

fn entrance() -> Entrance {
    Entrance { path: "/ari/pbx1".into(), user: "pbx1".into(), password: "hush".into() }
}

/// What Asterisk does with `type=outbound_websocket`.
async fn arrive(at: SocketAddr, path: &str, authorization: &str) -> Result<WebSocketStream<TcpStream>, WsError> {
    let mut request = format!("ws://{at}{path}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", authorization.parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "ari".parse().unwrap());
    let tcp = TcpStream::connect(at).await.unwrap();
    let (socket, response) = client_async(request, tcp).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], "ari");
    Ok(socket)
}

async fn next(events: &mut Events) -> Notice {
    timeout(DEADLINE, events.next()).await.expect("no notice came").expect("the stream ended")
}

#[tokio::test]
async fn events_arrive_and_a_newer_connection_counts() {
    let (fake, listener) = (FakePbx::start().await, listener().await);
    let (client, mut events) = Client::accept(fake.config(), &listener, &entrance()).unwrap();
    for round in 1..=2_u64 {
        // The second arrives while the first is still open.
        let mut asterisk = arrive(listener.address(), "/ari/pbx1", RIGHT).await.unwrap();
        if round == 2 {
            let lost = next(&mut events).await;
            assert!(matches!(&lost, Notice::Down { error, .. } if error.to_string().contains("anew")), "{lost:?}");
        }
        let up = next(&mut events).await;
        assert!(matches!(up, Notice::Up { .. }), "{up:?}");
        asterisk.send(Message::text(r#"{"type":"ApplicationRegistered","application":"aimg"}"#)).await.unwrap();
        assert!(matches!(next(&mut events).await, Notice::Event(_)));
        assert_eq!(client.counts().streams_up, round);
        // Held open until the next has arrived.
        tokio::spawn(async move { while let Some(Ok(_)) = asterisk.next().await {} });
    }
    assert_eq!(fake.sockets(), 0, "we do not connect to it ourselves");
    until("both handshakes", || listener.counts().accepted == 2).await;
}

#[tokio::test]
async fn strangers_stay_outside() {
    let (fake, listener) = (FakePbx::start().await, listener().await);
    let (_client, _events) = Client::accept(fake.config(), &listener, &entrance()).unwrap();
    let at = listener.address();
    for (path, authorization) in
        [("/ari/pbx2", RIGHT), ("/ari/pbx1", "Basic cGJ4MTpodXNi"), ("/ari/pbx1", ""), ("/ari/pbx1/", RIGHT)]
    {
        match arrive(at, path, authorization).await {
            Err(WsError::Http(answer)) => assert_eq!(answer.status(), 401, "{path} {authorization}"),
            other => panic!("{path} {authorization}: {other:?}"),
        }
    }
    let mut garbage = TcpStream::connect(at).await.unwrap();
    garbage.write_all(&[0xFF; 100]).await.unwrap();
    garbage.shutdown().await.unwrap();
    let _ = timeout(DEADLINE, garbage.read(&mut [0; 100])).await.unwrap();
    let expected = ListenerCounts { refused: 4, failed: 1, ..ListenerCounts::default() };
    until("the count of strangers", || listener.counts() == expected).await;
}

#[tokio::test]
async fn an_entrance_is_of_one_pbx() {
    let (fake, listener) = (FakePbx::start().await, listener().await);
    let first = Client::accept(fake.config(), &listener, &entrance()).unwrap();
    for path in ["/ari/pbx1", "ari/pbx3", "/ari/pbx3?x", ""] {
        let entrance = Entrance { path: path.into(), ..entrance() };
        match Client::accept(fake.config(), &listener, &entrance) {
            Err(Error::Config(ConfigError::BadEntrance { path: told })) => assert_eq!(told, path),
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(!format!("{listener:?} {:?}", entrance()).contains("hush"));
    assert!(!format!("{listener:?}").contains("cGJ4MTpodXNo"));
    // It is free again when its client is gone.
    drop(first);
    let again = async {
        while Client::accept(fake.config(), &listener, &entrance()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, again).await.unwrap();
}
