//! `fanout`: how soon each of a thousand WebSocket clients hears of each of up to a thousand events a second, and what an
//! idle client takes.
//!
//! The whole way: an AMI server on loopback words the events as Asterisk does, over the links of fifty PBXs; `aimg serve`,
//! the product itself, reads them, puts them through the links' reducers, the journal (SQLite) and the bus. An event's time
//! begins before it is written to AMI's socket and ends when a client has read it from its own.
//!
//! Either every client is an operator's and hears of everything, or each is its tenant's and hears of that tenant's share.
//! Beside it stands a bare loop: the same bytes to as many of the same clients, without a gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimg_core::TapMode;
use aimg_testbed::{Access, wait_until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::ami_server::Server;
use crate::chart::grouped;
use crate::fanout_clients::{Clients, QUEUE, Seen, Sent, frame_like};
use crate::installation::{Gateway, Installation};
use crate::report::{Report, rounded};
use crate::thread_time::Thread;

const CLIENTS: usize = 1_000;
/// Connected before, so that what the gateway takes once is not counted as theirs.
const CLIENTS_BEFORE: usize = 24;
/// Each with a PBX and an API key.
const TENANTS: usize = 50;
/// API keys that hear of all tenants: one may have 64 connections.
const KEYS: usize = 20;
/// Events a second.
const PACES: [usize; 4] = [100, 250, 500, 1_000];
const WARM_S: usize = 1;
const MEASURED_S: usize = 5;
/// What the bare loop gathers before it writes: as long as the gateway does.
const BEAT: Duration = Duration::from_millis(4);
const PATIENCE: Duration = Duration::from_secs(30);
/// Between the last connection and the look at the memory.
const SETTLES: Duration = Duration::from_secs(1);
const OPERATOR: &str = "bench";
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
    for n in 1..TENANTS {
        installation.add_tenant_with_pbx(&format!("tenant-{n}"), &format!("pbx-{n}"), &access, TapMode::Hook)?;
    }
    installation.add_superuser(OPERATOR, PASSWORD)?;
    let gateway = installation.serve_with(
        &[
            // What is measured is not how fast a log is written, nor a bound of requests that keeps a stranger away.
            ("AIMG_LOG", "error"),
            ("AIMG_HTTP_BIND", "127.0.0.1:0"),
            ("AIMG_HTTP_ADDRESS_REQUESTS_PER_SECOND", "100000"),
            ("AIMG_HTTP_ACCOUNT_REQUESTS_PER_SECOND", "100000"),
        ],
        &[],
    )?;
    let http = gateway.http().context("it serves no HTTP")?;
    let credentials = json!({ "name": OPERATOR, "password": PASSWORD });
    let tokens = ask(http, "POST", "auth/login", None, Some(&credentials))?;
    let token = tokens["access_token"].as_str().with_context(|| tokens.to_string())?;
    let operators = (0..KEYS).map(|_| key(http, token, None)).collect::<Result<Vec<_>>>()?;
    let tenants = ask(http, "GET", "tenants?limit=100", Some(token), None)?;
    let tenants = tenants["items"].as_array().with_context(|| tenants.to_string())?;
    let tenants = tenants.iter().map(|tenant| key(http, token, tenant["id"].as_str())).collect::<Result<Vec<_>>>()?;
    wait_until(PATIENCE, || (server.listeners() == TENANTS).then_some(())).context("not every PBX is followed")?;
    let mut calls = Calls { streams: server.streams(), sent: Arc::new(Sent::new(events_in_all())), next: 0 };
    ensure!(calls.streams.len() == TENANTS, "{} connections of {TENANTS} PBXs", calls.streams.len());
    calls.begin()?;

    let mut report = Report::default();
    let mut all = Clients::start(&calls.sent);
    let connect = |clients: &mut Clients, numbers: std::ops::Range<usize>, tokens: &[String]| {
        for n in numbers {
            clients.subscribe(http, &tokens[n % tokens.len()])?;
        }
        clients.await_subscribed(PATIENCE)?;
        std::thread::sleep(SETTLES);
        gateway.worker_memory_bytes()
    };
    let alone = connect(&mut all, 0..CLIENTS_BEFORE, &operators)?;
    let full = connect(&mut all, CLIENTS_BEFORE..CLIENTS, &operators)?;
    let bytes_per_client = full.saturating_sub(alone) as f64 / (CLIENTS - CLIENTS_BEFORE) as f64;
    let mut message = Vec::new();
    let mut everything = Vec::new();
    for pace in PACES {
        let phase = calls.send(&gateway, &mut all, pace, CLIENTS as u64)?;
        message = phase.seen.message.clone();
        everything.push(phase);
    }
    let after = gateway.worker_memory_bytes()?;
    drop(all);
    let mut own = Clients::start(&calls.sent);
    connect(&mut own, 0..CLIENTS, &tenants)?;
    let share = calls.send(&gateway, &mut own, PACES[PACES.len() - 1], (CLIENTS / TENANTS) as u64)?;
    drop(own);
    gateway.terminate()?;
    let bare = bare(&mut calls, &message)?;

    report.figure("clients", CLIENTS);
    report.figure("message_bytes", message.len());
    report.say(format!("{} clients, messages of {} bytes", grouped(CLIENTS as f64), message.len()));
    for (phase, bare) in everything.iter().zip(&bare) {
        phase.tell(&mut report, "all", "everybody hears everything");
        bare.tell(&mut report, "bare", "  the bare loop, the same bytes");
    }
    share.tell(&mut report, "tenants", "each its own tenant's share");
    let p99 = everything.last().context("there are paces")?.quantile_ms(0.99);
    let holds = everything.iter().filter(|phase| phase.quantile_ms(0.99) <= P99_MS_AIM);
    let holds = holds.map(|phase| phase.pace * CLIENTS).max().unwrap_or_default();
    let loaded = after.saturating_sub(alone) as f64 / CLIENTS as f64;
    report.say(format!(
        "{} deliveries a second within {P99_MS_AIM} ms; {} bytes an idle client, {} after the run",
        grouped(holds as f64),
        grouped(rounded(bytes_per_client)),
        grouped(rounded(loaded))
    ));
    report.figure("p50_ms", rounded(everything.last().context("there are paces")?.quantile_ms(0.5)));
    report.figure("p99_ms", rounded(p99));
    report.figure("deliveries_per_s_within_aim", holds);
    report.figure("bytes_per_client", rounded(bytes_per_client));
    report.figure("bytes_per_client_after", rounded(loaded));
    report.aim(format!("p99 at most {P99_MS_AIM} ms, everybody hearing 1,000 events a second"), p99 <= P99_MS_AIM);
    report.aim("the same, each hearing its own tenant", share.quantile_ms(0.99) <= P99_MS_AIM);
    report.aim("at most 32 KiB an idle client", bytes_per_client <= CLIENT_BYTES_AIM);
    Ok(report)
}

/// Of all paces through the gateway and through the bare loop, and of the tenants.
fn events_in_all() -> usize {
    (2 * PACES.iter().sum::<usize>() + PACES[PACES.len() - 1]) * (WARM_S + MEASURED_S)
}

/// What came of some seconds at one pace.
struct Phase {
    pace: usize,
    seen: Seen,
    /// Cores that the sender took: the gateway, with nothing of the clients.
    cores: f64,
}

impl Phase {
    fn quantile_ms(&self, share: f64) -> f64 {
        self.seen.quantile_ms(share)
    }

    fn tell(&self, report: &mut Report, key: &str, what: &str) {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| self.quantile_ms(share));
        let pace = self.pace;
        report.say(format!(
            "{what}, {pace} events a second: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, {:.2} cores",
            self.cores
        ));
        report.figure(&format!("{key}_{pace}_p50_ms"), rounded(p50));
        report.figure(&format!("{key}_{pace}_p99_ms"), rounded(p99));
        report.figure(&format!("{key}_{pace}_cores"), rounded(self.cores));
    }
}

/// Fifty calls, one on each PBX, and the events that happen to them in turn.
struct Calls {
    streams: Vec<TcpStream>,
    sent: Arc<Sent>,
    /// The number of the next event.
    next: usize,
}

impl Calls {
    fn begin(&mut self) -> Result<()> {
        for stream in &mut self.streams {
            stream.write_all(channel_event("Newchannel", "").as_bytes())?;
        }
        Ok(())
    }

    /// Some seconds of events at a pace, each for so many of the clients.
    fn send(&mut self, gateway: &Gateway, clients: &mut Clients, pace: usize, each: u64) -> Result<Phase> {
        let (first, events) = (self.next, pace * (WARM_S + MEASURED_S));
        clients.measure_from(first + pace * WARM_S);
        let cpu_before = gateway.worker_cpu_s()?;
        let began = Instant::now();
        for event in first..first + events {
            std::thread::sleep(due(began, event - first, pace).saturating_duration_since(Instant::now()));
            let stream = event % self.streams.len();
            self.sent.note(event);
            let queue = format!("Queue: {QUEUE}{event}\r\nPosition: 1\r\nCount: 1\r\n");
            self.streams[stream].write_all(channel_event("QueueCallerJoin", &queue).as_bytes())?;
        }
        let took = began.elapsed();
        let cores = (gateway.worker_cpu_s()? - cpu_before) / took.as_secs_f64();
        self.next += events;
        let seen = clients.await_delivered(events as u64 * each, PATIENCE)?;
        Ok(Phase { pace, seen, cores })
    }
}

/// The same bytes to as many of the same clients, by a loop that does nothing else: each pass writes what came since the one
/// before to one socket after the other.
fn bare(calls: &mut Calls, message: &[u8]) -> Result<Vec<Phase>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut clients = Clients::start(&calls.sent);
    let mut sockets = Vec::new();
    for _ in 0..CLIENTS {
        clients.add(TcpStream::connect(listener.local_addr()?)?)?;
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let mut phases = Vec::new();
    for pace in PACES {
        let (first, events) = (calls.next, pace * (WARM_S + MEASURED_S));
        let frames = (first..first + events).map(|event| frame_like(message, event)).collect::<Result<Vec<_>>>()?;
        clients.measure_from(first + pace * WARM_S);
        let cpu_before = Thread::own().used()?;
        let began = Instant::now();
        let mut done = 0;
        while done < events {
            let pass = Instant::now();
            let mut text = Vec::new();
            while done < events && due(began, done, pace) <= pass {
                // It was due before this pass began: what it waited for is part of its time.
                calls.sent.note_due(first + done, due(began, done, pace));
                text.extend_from_slice(&frames[done]);
                done += 1;
            }
            if !text.is_empty() {
                for socket in &mut sockets {
                    socket.write_all(&text)?;
                }
            }
            std::thread::sleep(BEAT.saturating_sub(pass.elapsed()));
        }
        let cores = (Thread::own().used()? - cpu_before).as_secs_f64() / began.elapsed().as_secs_f64();
        calls.next += events;
        let seen = clients.await_delivered((events * CLIENTS) as u64, PATIENCE)?;
        phases.push(Phase { pace, seen, cores });
    }
    Ok(phases)
}

fn due(began: Instant, event: usize, pace: usize) -> Instant {
    began + Duration::from_secs_f64(event as f64 / pace as f64)
}

/// An event of the one channel there is on each PBX.
fn channel_event(event: &str, more: &str) -> String {
    format!(
        "Event: {event}\r\nPrivilege: call,all\r\nChannel: PJSIP/office-00000001\r\nChannelState: 6\r\nChannelStateDesc: Up\r\n\
         CallerIDNum: 1000\r\nCallerIDName: Alice\r\nConnectedLineNum: <unknown>\r\nConnectedLineName: <unknown>\r\n\
         Language: en\r\nAccountCode: \r\nContext: from-office\r\nExten: 2000\r\nPriority: 1\r\nUniqueid: 1790000000.1\r\n\
         Linkedid: 1790000000.1\r\n{more}\r\n"
    )
}

/// An API key of a tenant, or of the installation.
fn key(http: SocketAddr, token: &str, tenant: Option<&str>) -> Result<String> {
    let role = if tenant.is_some() { "viewer" } else { "super_admin" };
    let wanted = json!({ "tenant": tenant, "name": "bench", "role": role });
    let made = ask(http, "POST", "api-keys", Some(token), Some(&wanted))?;
    Ok(made["secret"].as_str().with_context(|| made.to_string())?.to_owned())
}

/// What the service answers.
fn ask(http: SocketAddr, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Result<Value> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect(http)?;
    write!(
        stream,
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\nContent-Type: application/json\r\n{token}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    Ok(serde_json::from_str(body)?)
}
