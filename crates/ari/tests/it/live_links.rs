//! Links to a real Asterisk: over TLS, made by Asterisk, and to one that is frozen.

use std::net::SocketAddr;
use std::time::Duration;

use aimg_ari::{BreakerState, Client, Config, Entrance, Error, EventKind, Events, Listener, Notice, request};
use aimg_core::{Fingerprint, Tls, Trust};
use aimg_testbed::Version;
use tokio::time::timeout;

use crate::fake::DEADLINE;
use crate::live::{APP, Live, asterisk, config, event, up};

#[tokio::test]
async fn events_and_requests_pass_over_tls() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), made.cert.pem()).unwrap();
    let fingerprint: Fingerprint = aimg_tls::fingerprint(made.cert.der());
    for version in Version::ALL {
        let http = "tlsenable = yes\ntlsbindaddr = 127.0.0.1:{{http_tls_port}}\ntlscertfile = /mnt/etc/http.pem\n";
        let asterisk = asterisk(version, &[("http.conf", http.into()), ("http.pem", pem.clone())]);
        let access = asterisk.access();
        let url = format!("https://127.0.0.1:{}/ari", asterisk.http_tls_port());
        let with = |tls: Tls| {
            let mut config = Config::new(&url, &access.user, access.secret.as_str().into(), APP).unwrap();
            config.tls = tls;
            config
        };
        for trust in [Trust::CaFile(ca.path().to_owned()), Trust::Fingerprint(fingerprint)] {
            let (client, mut events) = Client::start(with(trust.into())).unwrap();
            up(&mut events).await;
            assert!(client.info().await.unwrap().system.version.starts_with(version.name()));
            client.user_event("Ours", &[], &[].into()).await.unwrap();
            event(&mut events, "our own event", |kind| {
                matches!(kind, EventKind::ChannelUserevent { .. }).then_some(())
            })
            .await;
        }
        let other = with(Trust::Fingerprint(aimg_tls::fingerprint(b"another")).into());
        let (_client, mut events) = Client::start(other).unwrap();
        match timeout(DEADLINE, events.next()).await.unwrap() {
            Some(Notice::Down { error, .. }) => {
                assert!(error.to_string().contains(&fingerprint.to_string()), "{error}")
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Asterisk's side of a link that it makes to `uri`.
fn outbound(uri: &str, more: &str) -> [(&'static str, String); 2] {
    let websocket_client = format!(
        "[ours]\ntype = websocket_client\nconnection_type = persistent\nuri = {uri}\nprotocols = ari\nusername = pbx1\n\
         password = hush\nreconnect_interval = 100\n{more}\n"
    );
    let ari = "[outbound]\ntype = outbound_websocket\nwebsocket_client_id = ours\napps = aimg-live\n\
               local_ari_user = {{user}}\n";
    [("websocket_client.conf", websocket_client), ("ari.conf", ari.to_owned())]
}

fn entrance() -> Entrance {
    Entrance { path: "/ari/pbx1".into(), user: "pbx1".into(), password: "hush".into() }
}

async fn told(client: &Client, events: &mut Events) {
    client.user_event("Ours", &[], &[].into()).await.unwrap();
    event(events, "our own event", |kind| matches!(kind, EventKind::ChannelUserevent { .. }).then_some(())).await;
}

#[tokio::test]
async fn asterisk_22_connects_to_us_and_comes_back() {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None).await.unwrap();
    let uri = format!("ws://{}/ari/pbx1", listener.address());
    let mut asterisk = asterisk(Version::V22, &outbound(&uri, ""));
    let (client, mut events) = Client::accept(config(asterisk.access()), &listener, &entrance()).unwrap();
    up(&mut events).await;
    told(&client, &mut events).await;
    asterisk.kill();
    asterisk.restart().unwrap();
    up(&mut events).await;
    told(&client, &mut events).await;
    assert!(listener.counts().accepted >= 2);
}

#[tokio::test]
async fn asterisk_22_connects_to_us_over_tls() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = aimg_tls::server_config(&certificate, &key).unwrap();
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Some(tls)).await.unwrap();
    let uri = format!("wss://{}/ari/pbx1", listener.address());
    // Asterisk does not look for an address among a certificate's names.
    let tls = "tls_enabled = yes\nca_list_file = /mnt/etc/ours.pem\nverify_server_hostname = no";
    let [websocket_client, ari] = outbound(&uri, tls);
    let asterisk = asterisk(Version::V22, &[websocket_client, ari, ("ours.pem", made.cert.pem())]);
    let (client, mut events) = Client::accept(config(asterisk.access()), &listener, &entrance()).unwrap();
    up(&mut events).await;
    told(&client, &mut events).await;
}

#[tokio::test]
async fn a_frozen_asterisk_is_left_alone_until_it_answers() {
    let mut live = Live::start(Version::V22).await;
    let mut config = config(live.asterisk.access());
    config.request_timeout = Duration::from_millis(200);
    config.breaker_failures = 2;
    config.breaker_delay_min = Duration::from_millis(50);
    config.breaker_delay_max = Duration::from_millis(200);
    let http = aimg_ari::Http::new(&config).unwrap();
    http.call(request::asterisk::ping()).await.unwrap();
    live.asterisk.freeze().unwrap();
    // What was answered just before it froze is no failure.
    let silent = async {
        while http.breaker() == BreakerState::Closed {
            let outcome = http.call(request::asterisk::ping()).await;
            assert!(matches!(outcome, Ok(()) | Err(Error::MaybeDone { .. })), "{outcome:?}");
        }
    };
    timeout(DEADLINE, silent).await.unwrap();
    assert_eq!(http.counts().breaker_opened, 1);
    live.asterisk.thaw().unwrap();
    let answered = async {
        while http.call(request::asterisk::ping()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, answered).await.unwrap();
    assert_eq!(http.breaker(), BreakerState::Closed);
}
