//! A bad network: what arrives is what its account says.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use aimg_testbed::{BadNetwork, Faults, Flow, Namespace, Tcp, wait_until};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const PORT: u16 = 4_000;
const PACKETS: usize = 300;

fn inside(namespace: &Namespace, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let mut entered = namespace.command(&command);
    entered.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    entered
}

/// Waits until a server has the port in the gateway's namespace.
fn wait_for_port(network: &BadNetwork, protocol: &str) {
    let listens = || {
        let output = inside(network.gateway(), &["ss", "-Hln", protocol]).stdout(Stdio::piped()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(&format!(":{PORT} ")).then_some(())
    };
    wait_until(PATIENCE, listens).expect("it listens");
}

#[test]
fn what_arrives_is_what_its_account_says() {
    let network = BadNetwork::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("received");
    let server = [format!("UDP-RECV:{PORT}"), format!("OPEN:{},creat,append", file.display())];
    let mut server = inside(network.gateway(), &["socat", "-u", &server[0], &server[1]]).spawn().unwrap();
    wait_for_port(&network, "-u");

    let destination = std::net::SocketAddrV4::new(network.gateway().address(), PORT);
    let faults = Faults { lost: 0.3, doubled: 0.2, jitter: Duration::from_millis(5), ..Faults::default() };
    network.watch(destination, 1, &[faults]);
    // A line is a packet, though socat may find several at once, and too short to be taken for RTP.
    let send = format!(
        "for i in $(seq {PACKETS}); do printf 'packet%04d\\n' $i; sleep 0.001; done | socat -u -b 11 - UDP-SENDTO:{destination}"
    );
    assert!(inside(network.pbx(), &["sh", "-c", &send]).status().unwrap().success());
    // Until what was held back has arrived too.
    let flow = || network.flows().unwrap().swap_remove(0);
    let expected = |flow: &Flow| flow.arrived.iter().flat_map(|(_, n)| flow.sent[*n].1.clone()).collect::<Vec<u8>>();
    let arrived = |flow: &Flow| flow.arrived.iter().map(|(_, packet)| *packet).collect::<BTreeSet<usize>>().len();
    let same = wait_until(PATIENCE, || {
        let flow = flow();
        let accounted = network.counts()[0].lost as usize + arrived(&flow) == flow.sent.len();
        (accounted && fs::read(&file).ok()? == expected(&flow)).then_some(())
    });
    server.kill().unwrap();
    server.wait().unwrap();
    let (flow, [counts, _]) = (flow(), network.counts());
    assert!(same.is_some(), "{counts:?}: {}\ninstead of\n{}", text(&fs::read(&file).unwrap()), text(&expected(&flow)));
    assert!(counts.lost > 0 && counts.doubled > 0, "{counts:?}");
    assert_eq!(counts.doubled as usize, flow.arrived.len() - arrived(&flow));
    assert!(
        !flow.arrived.iter().map(|(_, packet)| *packet).is_sorted(),
        "jitter beyond their distance reorders packets"
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn connections_are_refused_reset_and_swallowed() {
    let network = BadNetwork::start().unwrap();
    let listen = format!("TCP-LISTEN:{PORT},fork");
    // It talks until its connection breaks.
    let talk = "SYSTEM:while echo event; do sleep 0.05; done";
    let mut server = inside(network.gateway(), &["socat", "-U", &listen, talk]).spawn().unwrap();
    wait_for_port(&network, "-t");
    let address = format!("TCP:{}:{PORT},connect-timeout=0.5", network.gateway().address());
    let connects = || inside(network.pbx(), &["socat", "-u", "/dev/null", &address]).status().unwrap().success();
    for (fate, expected) in [(Tcp::Carried, true), (Tcp::Reset, false), (Tcp::Swallowed, false), (Tcp::Carried, true)] {
        network.tcp(PORT, fate);
        assert_eq!(connects(), expected, "{fate:?}");
    }

    let heard = tempfile::NamedTempFile::new().unwrap();
    let file = format!("OPEN:{}", heard.path().display());
    let mut listener = inside(network.pbx(), &["socat", "-u", &address, &file]).spawn().unwrap();
    let length = || fs::metadata(heard.path()).unwrap().len();
    wait_until(PATIENCE, || (length() > 0).then_some(())).expect("it is connected");
    network.tcp(PORT, Tcp::Reset);
    let ended = wait_until(PATIENCE, || listener.try_wait().unwrap());
    server.kill().unwrap();
    let _ = (server.wait(), listener.kill(), listener.wait());
    assert!(ended.is_some(), "who only listens is told too");
}
