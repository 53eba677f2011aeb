//! What an operator reads over HTTP.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

/// Reads a scrape with the reference parser of OpenMetrics, by the Python that Debian's packages belong to. It refuses
/// whatever the specification forbids.
const PARSER: &str = "import json, sys\n\
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
    print(json.dumps([(s.name, s.labels, s.value) for f in parse(sys.stdin.read()) for s in f.samples]))";

/// What is answered to a request; nothing where nobody answers.
pub(crate) fn read(address: SocketAddr, path: &str) -> String {
    read_as(address, path, &address.to_string())
}

/// The same of a request that names this host.
pub(crate) fn read_as(address: SocketAddr, path: &str, host: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    asked.map(|_| answer).unwrap_or_default()
}

/// The status of `/readyz`, and the reasons it gives: what stands in the way, of which PBX, and why.
pub(crate) fn readiness(address: SocketAddr) -> (u16, Vec<(String, String, String)>) {
    let answer = read(address, "/readyz");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it answers");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let word =
        |reason: &serde_json::Value, pointer: &str| reason.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let reasons = body["reasons"].as_array().unwrap().iter();
    (status, reasons.map(|r| (word(r, "/what"), word(r, "/pbx/name"), word(r, "/reason"))).collect())
}

/// The metrics at one moment: name, labels and value of each sample.
#[derive(Debug)]
pub(crate) struct Scrape(Vec<(String, BTreeMap<String, String>, f64)>);

impl Scrape {
    /// Reads them.
    #[track_caller]
    pub(crate) fn of(address: SocketAddr) -> Self {
        let answer = read(address, "/metrics");
        let (_, text) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no metrics: {answer}"));
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", PARSER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = python.spawn().expect("Debian's python3 is there");
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "(it needs Debian's package python3-prometheus-client) {said}\n{text}");
        Self(serde_json::from_slice(&ended.stdout).unwrap())
    }

    /// The value of the only sample with this name and these labels among its own; nothing where there is none.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |own: &BTreeMap<String, String>| labels.iter().all(|(k, v)| own.get(*k).is_some_and(|own| own == v));
        let found: Vec<_> = self.0.iter().filter(|(of, own, _)| of == name && has(own)).collect();
        assert!(found.len() <= 1, "{name} {labels:?} is not one sample: {found:?}");
        found.first().map(|(_, _, value)| *value)
    }
}
