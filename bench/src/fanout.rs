//! `fanout`: how soon each of a thousand WebSocket clients hears of each of a thousand events a second, and what an idle
//! client takes.
//!
//! The whole way: an AMI server on loopback words the events as Asterisk does; `aimg serve`, the product itself, reads them,
//! puts them through the link's reducer, the journal (SQLite) and the bus; every client is subscribed to all calls. An
//! event's time begins before it is written to AMI's socket and ends when a client has read it from its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aimg_core::TapMode;
use aimg_testbed::Access;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::sync::mpsc;

use crate::ami_server::Server;
use crate::chart::grouped;
use crate::fanout_clients::{Order, Progress, QUEUE, Seen, Sent, reaches, run as run_clients};
use crate::installation::Installation;
use crate::report::{Report, rounded};

const CLIENTS: usize = 1_000;
/// Connected before, so that what the gateway takes once is not counted as theirs.
const CLIENTS_BEFORE: usize = 24;
/// One account may have 64 connections.
const ACCOUNTS: usize = 16;
const EVENTS_PER_SECOND: usize = 1_000;
const WARM_EVENTS: usize = 2 * EVENTS_PER_SECOND;
const EVENTS: usize = WARM_EVENTS + 10 * EVENTS_PER_SECOND;
const PATIENCE: Duration = Duration::from_secs(30);
/// Between the last connection and the look at the memory.
const SETTLES: Duration = Duration::from_secs(1);
const PASSWORD: &str = "correct horse battery";
const P99_MS_AIM: f64 = 10.0;
const CLIENT_BYTES_AIM: f64 = 32.0 * 1_024.0;

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let server = Server::start()?;
    let access = Access {
        host: "127.0.0.1".into(),
        ami_port: server.port(),
        // Nobody is there: without ARI nothing is captured, and every call is seen.
        http_port: 9,
        sip_port: 9,
        user: "bench".into(),
        secret: "bench".into(),
        app: "bench".into(),
    };
    let installation = Installation::beside(&access, TapMode::Hook)?;
    for n in 0..ACCOUNTS {
        installation.add_superuser(&name(n), PASSWORD)?;
    }
    let gateway = installation.serve_with(
        &[
            // What is measured is not how fast a log is written, nor a bound of requests that keeps a stranger away.
            ("AIMG_LOG", "warn"),
            ("AIMG_HTTP_BIND", "127.0.0.1:0"),
            ("AIMG_HTTP_ADDRESS_REQUESTS_PER_SECOND", "100000"),
            ("AIMG_HTTP_ACCOUNT_REQUESTS_PER_SECOND", "100000"),
        ],
        &[],
    )?;
    let http = gateway.http().context("it serves no HTTP")?;
    let tokens = (0..ACCOUNTS).map(|n| log_in(http, &name(n))).collect::<Result<Vec<_>>>()?;

    let (sent, progress) = (Arc::new(Sent::new(EVENTS, WARM_EVENTS)), Arc::<Progress>::default());
    let (orders, given) = mpsc::unbounded_channel();
    let clients = {
        let (sent, progress) = (Arc::clone(&sent), Arc::clone(&progress));
        std::thread::spawn(move || run_clients(http, &sent, &progress, given))
    };
    let connect = |count: usize, token: &str| orders.send(Order::Connect { count, token: token.to_owned() });
    let subscribed = |count: usize| {
        let reached = reaches(&progress.subscribed, count as u64, PATIENCE);
        ensure!(reached, "{} of {count} clients are subscribed", progress.subscribed.load(Ordering::Relaxed));
        std::thread::sleep(SETTLES);
        gateway.worker_memory_bytes()
    };
    connect(CLIENTS_BEFORE, &tokens[0])?;
    let alone = subscribed(CLIENTS_BEFORE)?;
    let (mut left, each) = (CLIENTS - CLIENTS_BEFORE, CLIENTS.div_ceil(ACCOUNTS));
    for token in &tokens[1..] {
        let count = each.min(left).max(left / (ACCOUNTS - 1));
        connect(count, token)?;
        left -= count;
    }
    if left > 0 {
        connect(left, &tokens[0])?;
    }
    let full = subscribed(CLIENTS)?;
    let bytes_per_client = full.saturating_sub(alone) as f64 / (CLIENTS - CLIENTS_BEFORE) as f64;

    let mut ami = server.stream()?;
    ami.write_all(channel_event("Newchannel", "").as_bytes())?;
    let cpu_before = gateway.worker_cpu_s()?;
    let began = Instant::now();
    for event in 0..EVENTS {
        let due = began + Duration::from_secs(1) / u32::try_from(EVENTS_PER_SECOND)? * u32::try_from(event)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sent.note(event);
        ami.write_all(
            channel_event("QueueCallerJoin", &format!("Queue: {QUEUE}{event}\r\nPosition: 1\r\nCount: 1\r\n"))
                .as_bytes(),
        )?;
    }
    let took = began.elapsed();
    let cores = (gateway.worker_cpu_s()? - cpu_before) / took.as_secs_f64();
    let all = (EVENTS * CLIENTS) as u64;
    let complete = reaches(&progress.delivered, all, PATIENCE);
    let after = gateway.worker_memory_bytes()?;
    drop(orders);
    let seen = clients.join().map_err(|_| anyhow::anyhow!("the clients broke off"))??;
    gateway.terminate()?;
    ensure!(complete, "{} of {all} deliveries came", progress.delivered.load(Ordering::Relaxed));
    let loaded = after.saturating_sub(alone) as f64 / CLIENTS as f64;
    Ok(report(&seen, took, bytes_per_client, loaded, cores))
}

fn report(seen: &Seen, took: Duration, bytes_per_client: f64, loaded: f64, cores: f64) -> Report {
    let mut report = Report::default();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| quantile_ms(seen, share));
    let pace = EVENTS as f64 / took.as_secs_f64();
    report.say(format!(
        "{} clients, {} events a second: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms of {} deliveries",
        grouped(CLIENTS as f64),
        grouped(rounded(pace)),
        grouped(seen.deliveries as f64)
    ));
    report.say(format!("the gateway took {cores:.2} cores of this machine, which the clients share"));
    report.say(format!(
        "{} bytes an idle client, {} after the run",
        grouped(rounded(bytes_per_client)),
        grouped(rounded(loaded))
    ));
    report.figure("p50_ms", rounded(p50));
    report.figure("p99_ms", rounded(p99));
    report.figure("p999_ms", rounded(p999));
    report.figure("bytes_per_client", rounded(bytes_per_client));
    report.figure("bytes_per_client_after", rounded(loaded));
    report.figure("events_per_s", rounded(pace));
    report.figure("gateway_cores", rounded(cores));
    report.aim(format!("p99 at most {P99_MS_AIM} ms"), p99 <= P99_MS_AIM);
    report.aim("at most 32 KiB an idle client", bytes_per_client <= CLIENT_BYTES_AIM);
    report
}

fn quantile_ms(seen: &Seen, share: f64) -> f64 {
    let wanted = (seen.deliveries as f64 * share).ceil() as u64;
    let mut counted = 0;
    for (us, count) in seen.by_us.iter().enumerate() {
        counted += u64::from(*count);
        if counted >= wanted {
            return us as f64 / 1_000.0;
        }
    }
    f64::INFINITY
}

fn name(n: usize) -> String {
    format!("bench{n}")
}

/// An event of the one channel there is.
fn channel_event(event: &str, more: &str) -> String {
    format!(
        "Event: {event}\r\nPrivilege: call,all\r\nChannel: PJSIP/office-00000001\r\nChannelState: 6\r\nChannelStateDesc: Up\r\n\
         CallerIDNum: 1000\r\nCallerIDName: Alice\r\nConnectedLineNum: <unknown>\r\nConnectedLineName: <unknown>\r\n\
         Language: en\r\nAccountCode: \r\nContext: from-office\r\nExten: 2000\r\nPriority: 1\r\nUniqueid: 1790000000.1\r\n\
         Linkedid: 1790000000.1\r\n{more}\r\n"
    )
}

fn log_in(http: SocketAddr, name: &str) -> Result<String> {
    let body = json!({ "name": name, "password": PASSWORD }).to_string();
    let mut stream = TcpStream::connect(http)?;
    let length = body.len();
    write!(
        stream,
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let tokens: serde_json::Value = serde_json::from_str(body).with_context(|| answer.clone())?;
    Ok(tokens["access_token"].as_str().with_context(|| answer.clone())?.to_owned())
}
