//! Requests with a name server under our control: nothing is reached that may not be.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimg_outbound::{Client, Config, Error, Lookup, Policy, Refusal};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::routing::any;

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CONFIG: Config = Config { connect_timeout: Duration::from_secs(5), timeout: Duration::from_secs(5) };

/// Answers each question with the next answer; the last one stays.
#[derive(Clone, Default)]
struct Names {
    answers: Arc<Mutex<Vec<Vec<IpAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    fn answering(answers: &[&[IpAddr]]) -> Self {
        let answers = answers.iter().rev().map(|answer| answer.to_vec()).collect();
        Self { answers: Arc::new(Mutex::new(answers)), asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Lookup for Names {
    fn lookup(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
        Box::pin(async { Ok(answer) })
    }
}

/// A server on loopback that counts its visitors.
async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let visitors = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&visitors);
    let visit = move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { (StatusCode::FOUND, [(LOCATION, "/elsewhere")]) }
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(visit))).await });
    (address, visitors)
}

fn client(allowed: &[&str], names: &Names) -> Client {
    let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
    Client::with_lookup(Policy { allowed, allow_http: true }, CONFIG, names.clone()).unwrap()
}

#[tokio::test]
async fn a_name_that_points_inside_is_refused() {
    let (server, visitors) = server().await;
    let url = format!("http://hook.example:{}/", server.port());
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1", "0.0.0.0"] {
        let names = Names::answering(&[&[inside.parse().unwrap()]]);
        let refused = client(&[], &names).get(&url).await.unwrap_err();
        let expected = Refusal::NoAddress("hook.example".to_owned());
        assert!(matches!(&refused, Error::Refused(refusal) if *refusal == expected), "{inside}: {refused:?}");
        assert!(!refused.to_string().contains(inside), "nobody is told where it points");
    }
    assert_eq!(visitors.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_name_that_points_elsewhere_the_second_time_gains_nothing() {
    let (server, visitors) = server().await;
    let url = format!("http://rebinding.example:{}/", server.port());
    // What is checked is what is connected to: one question a connection.
    let names = Names::answering(&[&[LOOPBACK], &["127.0.0.2".parse().unwrap()]]);
    let admitted = client(&["127.0.0.1/32"], &names);
    assert_eq!(admitted.get(&url).await.unwrap().status(), 302);
    assert_eq!((names.asked(), visitors.load(Ordering::Relaxed)), (1, 1));

    // A new client, which has no connection: the name points inside by now.
    let names = Names::answering(&[&[PUBLIC], &[LOOPBACK]]);
    let strict = client(&[], &names);
    names.lookup("rebinding.example").await.unwrap();
    let refused = strict.get(&url).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::NoAddress(_))), "{refused:?}");
    assert_eq!(visitors.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn of_several_addresses_those_inside_are_left_out() {
    let (server, visitors) = server().await;
    let url = format!("http://both.example:{}/", server.port());
    let names = Names::answering(&[&["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap(), LOOPBACK]]);
    let admitted = client(&["127.0.0.0/8"], &names);
    assert_eq!(admitted.get(&url).await.unwrap().status(), 302);
    assert_eq!(visitors.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn redirects_are_not_followed_and_addresses_need_no_name_server() {
    let (server, visitors) = server().await;
    let names = Names::answering(&[&[PUBLIC]]);
    let url = format!("http://{server}/");
    assert_eq!(client(&["127.0.0.1"], &names).get(&url).await.unwrap().status(), 302);
    assert_eq!((names.asked(), visitors.load(Ordering::Relaxed)), (0, 1), "nothing went elsewhere");
    let refused = client(&[], &names).get(&url).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::NotPublic(LOOPBACK))), "{refused:?}");
}

#[tokio::test]
async fn what_breaks_is_told_without_an_address() {
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let names = Names::answering(&[&[LOOPBACK]]);
    let client = client(&["127.0.0.1"], &names);
    let broken = client.get(&format!("http://hook.example:{}/", free.port())).await.unwrap_err();
    let words = broken.to_string();
    assert!(matches!(broken, Error::Broken(_)) && words.contains("refused"), "{words}");
    assert!(!words.contains("127.0.0.1") && !words.contains("hook.example"), "{words}");
}
