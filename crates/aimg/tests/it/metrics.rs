//! What the gateway serves over HTTP: its metrics tell of packets that nobody expected and of a worker that died, and the port
//! outlives the worker.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::home::Home;
use crate::operator::{read, read_as};
use crate::waiting::eventually;

const UNAVAILABLE: i32 = 69;
const STRANGERS: usize = 3;

fn shows(address: SocketAddr, sample: &str) {
    eventually(&format!("the metrics show {sample}"), || {
        let answer = read(address, "/metrics");
        if answer.lines().any(|line| line == sample) { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn strangers_and_a_dead_worker_are_seen_over_a_port_that_stays() {
    let home = Home::new();
    let gateway = home.serve();
    let http = gateway.http();
    assert!(read(http, "/healthz").starts_with("HTTP/1.1 200 "));
    assert!(read(http, "/readyz").ends_with(r#"{"ready":true,"reasons":[]}"#));
    assert!(read_as(http, "/metrics", "evil.test").starts_with("HTTP/1.1 421 "), "a page in somebody's browser");
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..STRANGERS {
        stranger.send_to(&[0x80; 172], gateway.audio()).unwrap();
    }
    shows(http, &format!(r#"aimg_shard_packets_refused_total{{shard="0",reason="foreign"}} {STRANGERS}"#));
    shows(http, r#"aimg_alarm{alarm="worker_restarted",severity="critical"} 0.0"#);
    gateway.kill9_worker(0);
    shows(http, "aimg_worker_deaths_total 1");
    shows(http, r#"aimg_alarm{alarm="worker_restarted",severity="critical"} 1.0"#);
    gateway.wait_for_log("the worker died; another one took over");
}

#[test]
fn a_tcp_port_in_use_is_told() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let home = Home::new();
    let mut serve = home.aimg(&["serve"]);
    serve.env("AIMG_HTTP_BIND", address.to_string());
    home.run(serve).failed_with(UNAVAILABLE, &[&address.port().to_string(), "in use by another program", "http.bind"]);
}
