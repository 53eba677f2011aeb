//! What a scrape shows, of an observation in which everything has happened.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use aimg_ari::{BreakerState, ListenerCounts};
use aimg_cluster::BusCounts;
use aimg_core::{Codec, Direction};
use aimg_gateway::{
    Alarm, AlarmState, BUCKETS_MS, BacklogCounts, CallTally, DiskReport, DiskRoom, EarsCounts, FlowClass, FlowTally,
    Histogram, JournalCounts, JournalObservation, LinkObservation, LinkState, Missing, Observation, OpenFlows,
    SpeechCounts, Subject, UnclaimedChannels,
};
use aimg_media::{MediaStats, ShardStats};
use aimg_rtp::{Ledger, PacketError};
use aimg_session::{CallCounts, UnclaimedWhy};

use super::collect::{ControlCounts, collect};
use crate::connections::{Counters, count};
use crate::websocket::limits::SocketCounts;

const TENANT: &str = "0198c1de-1111-7000-8000-000000000001";
const PBX: &str = "0198c1de-1111-7000-8000-000000000002";

/// Small, so that none of them is another one's number.
const WEBHOOKS: aimg_webhooks::Observation = aimg_webhooks::Observation {
    delivered: 11,
    failed: 12,
    gave_up: 13,
    disabled: 14,
    sending: 15,
    sending_max: 16,
    pending: 17,
    oldest_age: Duration::from_millis(18_500),
};

/// Greater than every bound that is shown too.
const FIRST: u64 = 100_000;

/// Every number is another one.
#[derive(Default)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        FIRST + self.0
    }

    fn ledger(&mut self) -> Ledger {
        Ledger {
            expected: self.next(),
            received: self.next(),
            lost: self.next(),
            late: self.next(),
            duplicate: self.next(),
            kernel_dropped: self.next(),
            dropped_by_us: self.next(),
        }
    }

    fn shard(&mut self) -> ShardStats {
        ShardStats {
            address: "127.0.0.1:4000".parse().unwrap(),
            recv_buffer_bytes: self.next(),
            flows: self.next(),
            packets: self.next(),
            bytes: self.next(),
            batches: self.next(),
            foreign: self.next(),
            malformed: [(); PacketError::ALL.len()].map(|()| self.next()),
            truncated: self.next(),
            wrong_payload_type: self.next(),
            kernel_dropped: self.next(),
            dropped_by_us: self.next(),
            receive_errors: self.next(),
            chunks_asked: self.next(),
            chunks_answered: self.next(),
            mailbox_full: self.next(),
            keeper_full: self.next(),
            events_full: self.next(),
        }
    }

    fn histogram(&mut self) -> Histogram {
        let mut histogram = Histogram { sum_ms: self.next(), ..Histogram::default() };
        histogram.buckets[0] = 2;
        histogram.buckets[BUCKETS_MS.len()] = 1;
        histogram
    }

    fn calls(&mut self) -> CallTally {
        let mut count = || self.next() as usize;
        let calls =
            CallCounts { live: count(), in_hook: count(), attaching: count(), flowing: count(), closing: count() };
        let flow = FlowTally {
            ledger: self.ledger(),
            ssrc_changes: self.next(),
            restarts: self.next(),
            reordered: self.next(),
            strays: self.next(),
            corrupt_bytes: self.next(),
        };
        CallTally {
            calls,
            waiting: [(); 3].map(|()| self.next()),
            events: BTreeMap::from([("tap_requested", self.next())]),
            recordings_complete: self.next(),
            recordings_incomplete: self.next(),
            missing: [(); Missing::ALL.len()].map(|()| self.next()),
            recorded_ms: 1_000 * self.next(),
            recorded_bytes: self.next(),
            flows: BTreeMap::from([((Direction::Callee, Codec::Alaw), flow)]),
            head_gap: self.histogram(),
            attach: self.histogram(),
        }
    }

    fn link(&mut self) -> LinkObservation {
        let (mut ami_counts, mut ari_counts) = (aimg_ami::Counts::default(), aimg_ari::Counts::default());
        ami_counts.overflows = self.next();
        ari_counts.requests_broken_off = 3;
        ari_counts.requests_not_sent = 10;
        ari_counts.messages_garbled = self.next();
        LinkObservation {
            tenant: Some(TENANT.parse().unwrap()),
            pbx: PBX.parse().unwrap(),
            name: "a \"strange\" \\ name\n".to_owned(),
            ami: Some(LinkState::Up),
            ari: LinkState::Down("the reason is in the log and in /readyz".to_owned()),
            ami_counts: Some(ami_counts),
            ari_counts,
            breaker: BreakerState::HalfOpen,
            waiting_max: [(); 3].map(|()| self.next()),
        }
    }

    fn observation(&mut self) -> Observation {
        let (tenant, pbx) = (TENANT.parse().unwrap(), PBX.parse().unwrap());
        let class = FlowClass { tenant, pbx, direction: Direction::Caller, codec: Codec::Ulaw };
        let open =
            OpenFlows { flows: self.next(), started: self.next(), ledger: self.ledger(), spool_bytes: self.next() };
        let counts =
            JournalCounts { written: self.next(), overflowed: self.next(), refused: self.next(), retried: self.next() };
        Observation {
            uptime: Duration::from_millis(1_500),
            worker_deaths: 2,
            media: MediaStats { shards: vec![self.shard(), self.shard()] },
            flows_max: self.next(),
            flows: BTreeMap::from([(class, open)]),
            journal: JournalObservation { counts, waiting: self.next(), waiting_max: self.next(), is_away: true },
            links: vec![self.link()],
            calls: BTreeMap::from([((Some(tenant), pbx), self.calls())]),
            unclaimed_channels: BTreeMap::from([(
                pbx,
                UnclaimedChannels {
                    counts: BTreeMap::from([
                        (UnclaimedWhy::NoRule, self.next()),
                        (UnclaimedWhy::WrongArgument, self.next()),
                    ]),
                    ..UnclaimedChannels::default()
                },
            )]),
            unclaimed_news: self.next(),
            unclaimed_orders: self.next(),
            finishing: self.next(),
            recordings_failed: self.next(),
            flows_left_behind: self.next(),
            ears: EarsCounts {
                listeners: self.next(),
                frames: self.next(),
                skipped: self.next(),
                late: self.next(),
                refused: self.next(),
            },
            speech: SpeechCounts {
                live: self.next(),
                owed: self.next(),
                waiting_bytes: self.next(),
                behind_ms_max: 1_000 * self.next(),
                streams: self.next(),
                retries: self.next(),
                changes: self.next(),
                finals: self.next(),
                live_finals: self.next(),
                final_delay_ms_sum: 1_000 * self.next(),
                final_delay_ms_max: 1_000 * self.next(),
            },
            backlog: BacklogCounts { waiting: self.next(), waiting_max: self.next(), overflowed: self.next() },
            disks: DiskReport {
                spool: DiskRoom { dir: "/spool".into(), free_bytes: Some(self.next()), is_low: true },
                recordings: DiskRoom { dir: "/recordings".into(), free_bytes: None, is_low: false },
                reserve_bytes: self.next(),
                refused: self.next(),
            },
            ari_listener: Some(ListenerCounts {
                accepted: self.next(),
                refused: self.next(),
                crowded_out: self.next(),
                failed: self.next(),
            }),
            alarms: vec![AlarmState {
                alarm: Alarm::AriDown,
                subject: Subject { tenant: Some(tenant), pbx: Some(pbx), ..Subject::GATEWAY },
                active: true,
                raised: self.next(),
            }],
            bus: BusCounts {
                published: self.next(),
                subscriptions: self.next(),
                missed: self.next(),
                resyncs: self.next(),
                kept: self.next(),
                kept_bytes: self.next(),
            },
        }
    }
}

fn text(observed: &Observation) -> String {
    let http = Counters::default();
    count(&http.requests);
    collect(observed, &http, 64, &SocketCounts::default(), &WEBHOOKS, &ControlCounts::default()).text()
}

/// The value of a sample, by its name and a few of its labels.
fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let is_it = |line: &&str| of_name(line) && labels.iter().all(|label| line.contains(label));
    let found: Vec<&str> = text.lines().filter(is_it).collect();
    let [line] = found.as_slice() else { panic!("not one {name} {labels:?}: {found:?}") };
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Reads a text with the reference parser of OpenMetrics, by the Python that Debian's packages belong to. It refuses
/// whatever the specification forbids.
fn parse_strictly(text: &str) -> usize {
    const PROGRAM: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(sum(len(family.samples) for family in parse(sys.stdin.read())))";
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        python.spawn().expect("Debian's python3, for which there is Debian's package python3-prometheus-client");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "(it is in Debian's package python3-prometheus-client) {said}\n{text}");
    String::from_utf8(ended.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn every_metric_is_shown_and_the_text_is_open_metrics() {
    let observed = Numbers::default().observation();
    let scrape =
        collect(&observed, &Counters::default(), 64, &SocketCounts::default(), &WEBHOOKS, &ControlCounts::default());
    assert_eq!(scrape.missing(), [""; 0], "these have no value even where everything has happened");
    let text = scrape.text();
    assert!(parse_strictly(&text) > 200, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn every_number_is_shown_once() {
    let mut numbers = Numbers::default();
    let observed = numbers.observation();
    let text = text(&observed);
    let shown: Vec<f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .collect();
    // What stands for all shards alike, and the sums of histograms, which are in milliseconds.
    let elsewhere = |n: f64| {
        n == observed.flows_max as f64
            || observed.calls.values().any(|c| [&c.head_gap, &c.attach].iter().any(|h| h.sum_ms as f64 == n))
    };
    for n in (1..=numbers.0).map(|n| (FIRST + n) as f64).filter(|n| !elsewhere(*n)) {
        assert_eq!(shown.iter().filter(|value| **value == n).count(), 1, "{n} of {observed:?}\n{text}");
    }
}

#[test]
fn numbers_are_where_they_belong() {
    let observed = Numbers::default().observation();
    let text = text(&observed);
    let (shard, tally) = (&observed.media.shards[1], observed.calls.values().next().unwrap());
    let (ledger, class) = (observed.flows.values().next().unwrap().ledger, r#"direction="caller",codec="ulaw""#);
    let pbx = format!(r#"tenant="{TENANT}",pbx="{PBX}",pbx_name="a \"strange\" \\ name\n""#);
    let finished = tally.flows.values().next().unwrap();
    let cases: [(&str, &[&str], f64); 21] = [
        ("aimg_shard_packets_refused_total", &[r#"shard="1""#, r#"reason="foreign""#], shard.foreign as f64),
        ("aimg_shard_packets_refused_total", &[r#"shard="1""#, r#"reason="csrc""#], shard.malformed[2] as f64),
        ("aimg_shard_queue_full_total", &[r#"shard="1""#, r#"queue="keeper""#], shard.keeper_full as f64),
        ("aimg_flow_packets", &[&pbx, class, r#"what="lost""#], ledger.lost as f64),
        (
            "aimg_recording_packets_total",
            &[&pbx, r#"direction="callee",codec="alaw""#, r#"what="late""#],
            finished.ledger.late as f64,
        ),
        ("aimg_recording_incomplete_total", &[&pbx, r#"reason="no_packet""#], tally.missing[0] as f64),
        ("aimg_link_state", &[&pbx, r#"side="ari",state="down""#], 1.0),
        ("aimg_link_state", &[&pbx, r#"side="ari",state="up""#], 0.0),
        ("aimg_ari_requests_failed_total", &[&pbx, r#"reason="unsent""#], 7.0),
        ("aimg_ari_requests_failed_total", &[&pbx, r#"reason="broken_off""#], 3.0),
        ("aimg_ari_breaker_open", &[&pbx], 1.0),
        ("aimg_capture_attach_seconds_bucket", &[&pbx, r#"le="0.04""#], 2.0),
        ("aimg_capture_attach_seconds_bucket", &[&pbx, r#"le="+Inf""#], 3.0),
        ("aimg_alarm", &[r#"alarm="ari_down""#, r#"severity="critical""#, &pbx], 1.0),
        ("aimg_alarm", &[r#"alarm="disk_low""#], 0.0),
        ("aimg_http_requests_total", &[], 1.0),
        ("aimg_webhook_deliveries_total", &[r#"outcome="delivered""#], 11.0),
        ("aimg_webhook_deliveries_total", &[r#"outcome="gave_up""#], 13.0),
        ("aimg_webhook_disabled_total", &[], 14.0),
        ("aimg_webhook_pending", &[], 17.0),
        ("aimg_webhook_oldest_pending_seconds", &[], 18.5),
    ];
    for (name, labels, expected) in cases {
        assert_eq!(value(&text, name, labels), expected, "{name} {labels:?}\n{text}");
    }
}
