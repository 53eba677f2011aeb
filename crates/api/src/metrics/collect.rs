//! From what was observed to the values of a scrape.
//!
//! Each structure of counters is taken apart by all its fields: one that is added and not shown does not compile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use aimg_ari::{BreakerState, ListenerCounts};
use aimg_cluster::BusCounts;
use aimg_core::{PbxId, TenantId};
use aimg_gateway::{
    Alarm, AlarmState, BacklogCounts, CallTally, DiskReport, DiskRoom, EarsCounts, FlowClass, FlowTally, JournalCounts,
    JournalObservation, LinkObservation, LinkState, Missing, NODE_LISTENERS_MAX, Observation, OpenFlows, Outcome,
    SayCounts, SpeechCounts, Subject, UnclaimedChannels,
};
use aimg_media::{EVENTS, KEEPER_REQUESTS, MAILBOX_MESSAGES, MediaStats, ShardStats};
use aimg_rtp::{Ledger, PacketError};
use aimg_session::CallCounts;

use super::families::{self as f, Family};
use super::scrape::{Labels, Scrape};
use crate::connections::Counters;
use crate::websocket::limits::{End, SocketCounts};

/// The queues of a link, in the order in which they are observed.
const LINK_QUEUES: [&str; 3] = ["ami_events", "ari_notices", "inputs"];

pub(crate) fn collect(
    observed: &Observation,
    http: &Counters,
    connections_max: usize,
    sockets: &SocketCounts,
    webhooks: &aimg_webhooks::Observation,
    control: &ControlCounts,
) -> Scrape {
    let Observation {
        uptime,
        worker_deaths,
        media,
        flows_max,
        flows,
        journal,
        links,
        calls,
        unclaimed_channels,
        unclaimed_news,
        unclaimed_orders,
        finishing,
        recordings_failed,
        flows_left_behind,
        backlog,
        ears,
        speech,
        disks,
        ari_listener,
        alarms,
        bus,
    } = observed;
    let names = Names(links.iter().map(|link| (link.pbx, link.name.as_str())).collect());
    let mut scrape = Scrape::default();
    let s = &mut scrape;
    s.gauge(&f::BUILD, vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0);
    s.gauge(&f::UPTIME, vec![], uptime.as_secs_f64());
    s.count(&f::WORKER_DEATHS, vec![], u64::from(*worker_deaths));
    shards(s, media, *flows_max);
    flows.iter().for_each(|(class, open)| open_flows(s, &names, class, open));
    calls.iter().for_each(|((tenant, pbx), tally)| call_tally(s, &names.of(*tenant, *pbx), tally));
    for (pbx, UnclaimedChannels { counts, last: _ }) in unclaimed_channels {
        for (why, count) in counts {
            s.count(&f::CHANNEL_UNCLAIMED, with(&names.of(None, *pbx), [("reason", why.name())]), *count);
        }
    }
    s.count(&f::UNCLAIMED, vec![("what", "flow_news".to_owned())], *unclaimed_news);
    s.count(&f::UNCLAIMED, vec![("what", "capture_orders".to_owned())], *unclaimed_orders);
    s.gauge(&f::RECORDING_FINISHING, vec![], *finishing as f64);
    links.iter().for_each(|observed| link(s, &names.of(observed.tenant, observed.pbx), observed));
    journal_counts(s, journal);
    s.count(&f::RECORDING_FAILED, vec![], *recordings_failed);
    s.count(&f::FLOW_LEFT_BEHIND, vec![], *flows_left_behind);
    let BacklogCounts { waiting, waiting_max, overflowed } = *backlog;
    s.gauge(&f::RECORDING_BACKLOG, vec![], waiting as f64);
    s.gauge(&f::RECORDING_BACKLOG_MAX, vec![], waiting_max as f64);
    s.count(&f::RECORDING_BACKLOG_OVERFLOWED, vec![], overflowed);
    listeners(s, ears);
    speech_counts(s, speech);
    disk_report(s, disks);
    if let Some(ListenerCounts { accepted, refused, crowded_out, failed }) = *ari_listener {
        let counts = [("accepted", accepted), ("refused", refused), ("crowded_out", crowded_out), ("failed", failed)];
        for (outcome, count) in counts {
            s.count(&f::ARI_LISTENER, vec![("outcome", outcome.to_owned())], count);
        }
    }
    socket_counts(s, sockets);
    bus_counts(s, *bus);
    alarm_states(s, &names, alarms);
    webhook_counts(s, webhooks);
    control_counts(s, control);
    http_counts(s, http, connections_max);
    scrape
}

fn listeners(s: &mut Scrape, ears: &EarsCounts) {
    let EarsCounts { listeners, frames, skipped, late, refused } = *ears;
    s.gauge(&f::LISTENER_OPEN, vec![], listeners as f64);
    s.gauge(&f::LISTENER_MAX, vec![], NODE_LISTENERS_MAX as f64);
    s.count(&f::LISTENER_REFUSED, vec![], refused);
    s.count(&f::LISTENER_FRAMES, vec![], frames);
    s.count(&f::LISTENER_SKIPPED, vec![], skipped);
    s.count(&f::LISTENER_LATE, vec![], late);
}

fn speech_counts(s: &mut Scrape, speech: &SpeechCounts) {
    let SpeechCounts { live, owed, waiting_bytes, behind_ms_max, streams, retries, changes, .. } = *speech;
    let SpeechCounts { finals, live_finals, final_delay_ms_sum, final_delay_ms_max, .. } = *speech;
    s.gauge(&f::TRANSCRIPT_LIVE, vec![], live as f64);
    s.gauge(&f::TRANSCRIPT_OWED, vec![], owed as f64);
    s.gauge(&f::SPEECH_WAITING, vec![], waiting_bytes as f64);
    s.gauge(&f::SPEECH_BEHIND, vec![], behind_ms_max as f64 / 1_000.0);
    s.count(&f::SPEECH_STREAMS, vec![], streams);
    s.count(&f::SPEECH_RETRIES, vec![], retries);
    s.count(&f::SPEECH_CHANGES, vec![], changes);
    s.count(&f::SEGMENTS, vec![], finals);
    s.count(&f::SEGMENTS_LIVE, vec![], live_finals);
    s.count(&f::SEGMENT_DELAY, vec![], final_delay_ms_sum / 1_000);
    s.gauge(&f::SEGMENT_DELAY_MAX, vec![], final_delay_ms_max as f64 / 1_000.0);
}

/// What was asked to be done with calls, and said into them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ControlCounts {
    /// In the order of [`Outcome::ALL`].
    pub(crate) outcomes: [u64; Outcome::ALL.len()],
    pub(crate) said: SayCounts,
}

fn control_counts(s: &mut Scrape, ControlCounts { outcomes, said }: &ControlCounts) {
    for (outcome, count) in Outcome::ALL.iter().zip(outcomes) {
        s.count(&f::COMMANDS, vec![("outcome", outcome.name().to_owned())], *count);
    }
    let SayCounts { spoken, kept, failed, speaking_ms_sum } = *said;
    for (outcome, count) in [("spoken", spoken), ("kept", kept), ("failed", failed)] {
        s.count(&f::SAID, vec![("outcome", outcome.to_owned())], count);
    }
    s.count(&f::SPEAKING, vec![], speaking_ms_sum / 1_000);
}

/// The names of PBXs that are followed.
struct Names<'a>(BTreeMap<PbxId, &'a str>);

impl Names<'_> {
    fn of(&self, tenant: Option<TenantId>, pbx: PbxId) -> Labels {
        let name = self.0.get(&pbx).copied().unwrap_or_default();
        vec![
            ("tenant", tenant.map_or_else(String::new, |tenant| tenant.to_string())),
            ("pbx", pbx.to_string()),
            ("pbx_name", name.to_owned()),
        ]
    }
}

/// These labels and more.
fn with<const N: usize>(labels: &Labels, more: [(&'static str, &str); N]) -> Labels {
    labels.iter().cloned().chain(more.map(|(name, value)| (name, value.to_owned()))).collect()
}

fn shards(s: &mut Scrape, MediaStats { shards }: &MediaStats, flows_max: u64) {
    for (number, stats) in shards.iter().enumerate() {
        let ShardStats {
            address,
            recv_buffer_bytes,
            flows,
            packets,
            bytes,
            batches,
            foreign,
            malformed,
            truncated,
            wrong_payload_type,
            kernel_dropped,
            dropped_by_us,
            receive_errors,
            chunks_asked,
            chunks_answered,
            mailbox_full,
            keeper_full,
            events_full,
        } = stats;
        let shard: Labels = vec![("shard", number.to_string())];
        s.gauge(&f::SHARD, with(&shard, [("address", &address.to_string())]), 1.0);
        s.gauge(&f::SHARD_FLOWS, shard.clone(), *flows as f64);
        s.gauge(&f::SHARD_FLOWS_MAX, shard.clone(), flows_max as f64);
        s.gauge(&f::SHARD_RECV_BUFFER, shard.clone(), *recv_buffer_bytes as f64);
        let counts = [
            (&f::SHARD_PACKETS, packets),
            (&f::SHARD_BYTES, bytes),
            (&f::SHARD_BATCHES, batches),
            (&f::SHARD_KERNEL_DROPPED, kernel_dropped),
            (&f::SHARD_DROPPED_BY_US, dropped_by_us),
            (&f::SHARD_RECEIVE_ERRORS, receive_errors),
            (&f::SHARD_CHUNKS_ASKED, chunks_asked),
            (&f::SHARD_CHUNKS_ANSWERED, chunks_answered),
        ];
        counts.into_iter().for_each(|(family, count)| s.count(family, shard.clone(), *count));
        let known = [("foreign", foreign), ("truncated", truncated), ("wrong_payload_type", wrong_payload_type)];
        let malformed = PacketError::ALL.into_iter().map(|e| (e.name(), &malformed[e.index()]));
        for (reason, count) in known.into_iter().chain(malformed) {
            s.count(&f::SHARD_PACKETS_REFUSED, with(&shard, [("reason", reason)]), *count);
        }
        for (queue, count) in [("mailbox", mailbox_full), ("keeper", keeper_full), ("events", events_full)] {
            s.count(&f::SHARD_QUEUE_FULL, with(&shard, [("queue", queue)]), *count);
        }
    }
    for (queue, max) in [("mailbox", MAILBOX_MESSAGES), ("keeper", KEEPER_REQUESTS), ("events", EVENTS)] {
        s.gauge(&f::QUEUE_MAX, vec![("queue", queue.to_owned())], max as f64);
    }
}

fn open_flows(s: &mut Scrape, names: &Names<'_>, class: &FlowClass, open: &OpenFlows) {
    let FlowClass { tenant, pbx, direction, codec } = *class;
    let OpenFlows { flows, started, ledger, spool_bytes } = *open;
    let labels =
        with(&names.of(Some(tenant), pbx), [("direction", direction.name()), ("codec", codec.asterisk_name())]);
    s.gauge(&f::FLOW_OPEN, labels.clone(), flows as f64);
    s.gauge(&f::FLOW_STARTED, labels.clone(), started as f64);
    s.gauge(&f::FLOW_SPOOL, labels.clone(), spool_bytes as f64);
    for (what, count) in of_ledger(ledger) {
        s.gauge(&f::FLOW_PACKETS, with(&labels, [("what", what)]), count as f64);
    }
}

fn of_ledger(ledger: Ledger) -> [(&'static str, u64); 7] {
    let Ledger { expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us } = ledger;
    [
        ("expected", expected),
        ("received", received),
        ("lost", lost),
        ("late", late),
        ("duplicate", duplicate),
        ("kernel_dropped", kernel_dropped),
        ("dropped_by_us", dropped_by_us),
    ]
}

fn call_tally(s: &mut Scrape, pbx: &Labels, tally: &CallTally) {
    let CallTally {
        calls: CallCounts { live, in_hook, attaching, flowing, closing },
        waiting,
        events,
        recordings_complete,
        recordings_incomplete,
        missing,
        recorded_ms,
        recorded_bytes,
        flows,
        head_gap,
        attach,
    } = tally;
    s.gauge(&f::CALL_LIVE, pbx.clone(), *live as f64);
    s.gauge(&f::CALL_IN_HOOK, pbx.clone(), *in_hook as f64);
    for (state, count) in [("attaching", attaching), ("flowing", flowing), ("closing", closing)] {
        s.gauge(&f::CAPTURE_OPEN, with(pbx, [("state", state)]), *count as f64);
    }
    for (queue, count) in LINK_QUEUES.into_iter().zip(waiting) {
        s.gauge(&f::LINK_WAITING, with(pbx, [("queue", queue)]), *count as f64);
    }
    for (event, count) in events {
        s.count(&f::CALL_EVENTS, with(pbx, [("event", event)]), *count);
    }
    for (complete, count) in [("true", recordings_complete), ("false", recordings_incomplete)] {
        s.count(&f::RECORDING_FINISHED, with(pbx, [("complete", complete)]), *count);
    }
    for (reason, count) in Missing::ALL.into_iter().zip(missing) {
        s.count(&f::RECORDING_INCOMPLETE, with(pbx, [("reason", reason.name())]), *count);
    }
    s.count(&f::RECORDING_SECONDS, pbx.clone(), recorded_ms / 1_000);
    s.count(&f::RECORDING_BYTES, pbx.clone(), *recorded_bytes);
    for ((direction, codec), flow) in flows {
        let labels = with(pbx, [("direction", direction.name()), ("codec", codec.asterisk_name())]);
        let FlowTally { ledger, ssrc_changes, restarts, reordered, strays, corrupt_bytes } = *flow;
        for (what, count) in of_ledger(ledger) {
            s.count(&f::RECORDING_PACKETS, with(&labels, [("what", what)]), count);
        }
        let facts =
            [("ssrc_changes", ssrc_changes), ("restarts", restarts), ("reordered", reordered), ("strays", strays)];
        for (what, count) in facts {
            s.count(&f::RECORDING_STREAM, with(&labels, [("what", what)]), count);
        }
        s.count(&f::RECORDING_CORRUPT, labels, corrupt_bytes);
    }
    s.times(&f::CAPTURE_HEAD_GAP, pbx.clone(), head_gap);
    s.times(&f::CAPTURE_ATTACH, pbx.clone(), attach);
}

fn link(s: &mut Scrape, pbx: &Labels, observed: &LinkObservation) {
    let LinkObservation { tenant: _, pbx: _, name: _, ami, ari, ami_counts, ari_counts, breaker, waiting_max } =
        observed;
    for (side, is) in ami.iter().map(|ami| ("ami", ami)).chain([("ari", ari)]) {
        for state in LinkState::NAMES {
            let value = if state == is.name() { 1.0 } else { 0.0 };
            s.gauge(&f::LINK_STATE, with(pbx, [("side", side), ("state", state)]), value);
        }
    }
    for (queue, max) in LINK_QUEUES.into_iter().zip(waiting_max) {
        s.gauge(&f::LINK_WAITING_MAX, with(pbx, [("queue", queue)]), *max as f64);
    }
    let is_open = *breaker != BreakerState::Closed;
    s.gauge(&f::ARI_BREAKER, pbx.clone(), if is_open { 1.0 } else { 0.0 });
    let mut count = |counts: &[(&Family, u64)]| {
        counts.iter().for_each(|(family, count)| s.count(family, pbx.clone(), *count));
    };
    if let Some(ami_counts) = ami_counts {
        count(&of_ami(ami_counts));
    }
    count(&of_ari(ari_counts));
    for (reason, failed) in ari_failures(ari_counts) {
        s.count(&f::ARI_REQUESTS_FAILED, with(pbx, [("reason", reason)]), failed);
    }
}

fn of_ami(counts: &aimg_ami::Counts) -> [(&'static Family, u64); 9] {
    let aimg_ami::Counts {
        events,
        links_up,
        failures,
        overflows,
        unreadable_streams,
        skipped_lines,
        actions,
        action_timeouts,
        stray_messages,
    } = *counts;
    [
        (&f::AMI_EVENTS, events),
        (&f::AMI_LINKS_UP, links_up),
        (&f::AMI_FAILURES, failures),
        (&f::AMI_OVERFLOWS, overflows),
        (&f::AMI_UNREADABLE, unreadable_streams),
        (&f::AMI_SKIPPED_LINES, skipped_lines),
        (&f::AMI_ACTIONS, actions),
        (&f::AMI_ACTION_TIMEOUTS, action_timeouts),
        (&f::AMI_STRAY_MESSAGES, stray_messages),
    ]
}

/// All but the failures of requests.
fn of_ari(counts: &aimg_ari::Counts) -> [(&'static Family, u64); 9] {
    let aimg_ari::Counts {
        requests,
        requests_not_sent: _,
        requests_crowded_out: _,
        requests_broken_off: _,
        requests_maybe_done: _,
        requests_rejected: _,
        breaker_opened,
        streams_up,
        streams_lost,
        streams_overflowed,
        streams_replaced,
        events,
        events_other,
        messages_garbled,
    } = *counts;
    [
        (&f::ARI_REQUESTS, requests),
        (&f::ARI_BREAKER_OPENED, breaker_opened),
        (&f::ARI_STREAMS_UP, streams_up),
        (&f::ARI_STREAMS_LOST, streams_lost),
        (&f::ARI_STREAMS_OVERFLOWED, streams_overflowed),
        (&f::ARI_STREAMS_REPLACED, streams_replaced),
        (&f::ARI_EVENTS, events),
        (&f::ARI_EVENTS_OTHER, events_other),
        (&f::ARI_GARBLED, messages_garbled),
    ]
}

/// The failures of requests, none counted twice.
fn ari_failures(counts: &aimg_ari::Counts) -> [(&'static str, u64); 5] {
    let held_back = counts.requests_crowded_out + counts.requests_broken_off;
    [
        ("unsent", counts.requests_not_sent.saturating_sub(held_back)),
        ("crowded_out", counts.requests_crowded_out),
        ("broken_off", counts.requests_broken_off),
        ("maybe_done", counts.requests_maybe_done),
        ("rejected", counts.requests_rejected),
    ]
}

fn journal_counts(s: &mut Scrape, observed: &JournalObservation) {
    let JournalObservation { counts, waiting, waiting_max, is_away } = *observed;
    let JournalCounts { written, overflowed, refused, retried } = counts;
    s.count(&f::JOURNAL_WRITTEN, vec![], written);
    s.count(&f::JOURNAL_OVERFLOWED, vec![], overflowed);
    s.count(&f::JOURNAL_REFUSED, vec![], refused);
    s.count(&f::JOURNAL_RETRIED, vec![], retried);
    s.gauge(&f::JOURNAL_WAITING, vec![], waiting as f64);
    s.gauge(&f::JOURNAL_WAITING_MAX, vec![], waiting_max as f64);
    s.gauge(&f::JOURNAL_AWAY, vec![], if is_away { 1.0 } else { 0.0 });
}

fn disk_report(s: &mut Scrape, observed: &DiskReport) {
    let DiskReport { spool, recordings, reserve_bytes, refused } = observed;
    s.gauge(&f::DISK_RESERVE, vec![], *reserve_bytes as f64);
    s.count(&f::DISK_REFUSED, vec![], *refused);
    for (place, room) in [("spool", spool), ("recordings", recordings)] {
        let DiskRoom { dir: _, free_bytes, is_low } = room;
        let labels: Labels = vec![("place", place.to_owned())];
        // Where the system does not tell, there is no value.
        if let Some(free_bytes) = free_bytes {
            s.gauge(&f::DISK_FREE, labels.clone(), *free_bytes as f64);
        }
        s.gauge(&f::DISK_LOW, labels, if *is_low { 1.0 } else { 0.0 });
    }
}

/// Those that were raised, and the others with 0 and no subject, so that a rule can name each.
fn alarm_states(s: &mut Scrape, names: &Names<'_>, states: &[AlarmState]) {
    let raised: BTreeSet<Alarm> = states.iter().map(|state| state.alarm).collect();
    let never = Alarm::ALL.iter().filter(|alarm| !raised.contains(alarm));
    let never = never.map(|&alarm| AlarmState { alarm, subject: Subject::GATEWAY, active: false, raised: 0 });
    for AlarmState { alarm, subject, active, raised } in states.iter().copied().chain(never) {
        let Subject { tenant, pbx, shard, place } = subject;
        let mut labels: Labels =
            vec![("alarm", alarm.name().to_owned()), ("severity", alarm.severity().name().to_owned())];
        match (tenant, pbx) {
            (tenant, Some(pbx)) => labels.extend(names.of(tenant, pbx)),
            (Some(tenant), None) => labels.push(("tenant", tenant.to_string())),
            (None, _) => {}
        }
        labels.extend(shard.map(|number| ("shard", number.to_string())));
        labels.extend(place.map(|place| ("place", place.to_owned())));
        s.gauge(&f::ALARM, labels.clone(), if active { 1.0 } else { 0.0 });
        s.count(&f::ALARM_RAISED, labels, raised);
    }
}

fn socket_counts(s: &mut Scrape, counts: &SocketCounts) {
    let SocketCounts { open, refused, received, sent, lagged, ended } = *counts;
    s.gauge(&f::SOCKET_OPEN, vec![], open as f64);
    s.count(&f::SOCKET_REFUSED, vec![], refused);
    for (end, count) in End::ALL.into_iter().zip(ended) {
        s.count(&f::SOCKET_ENDED, vec![("reason", end.name().to_owned())], count);
    }
    s.count(&f::SOCKET_RECEIVED, vec![], received);
    s.count(&f::SOCKET_SENT, vec![], sent);
    s.count(&f::SOCKET_LAGGED, vec![], lagged);
}

fn bus_counts(s: &mut Scrape, counts: BusCounts) {
    let BusCounts { published, subscriptions, missed, resyncs, kept, kept_bytes } = counts;
    s.count(&f::BUS_PUBLISHED, vec![], published);
    s.gauge(&f::BUS_SUBSCRIPTIONS, vec![], subscriptions as f64);
    s.count(&f::BUS_MISSED, vec![], missed);
    s.count(&f::BUS_RESYNCS, vec![], resyncs);
    s.gauge(&f::BUS_KEPT, vec![], kept as f64);
    s.gauge(&f::BUS_KEPT_BYTES, vec![], kept_bytes as f64);
}

fn webhook_counts(s: &mut Scrape, observed: &aimg_webhooks::Observation) {
    let aimg_webhooks::Observation { delivered, failed, gave_up, disabled, sending, sending_max, pending, oldest_age } =
        *observed;
    for (outcome, count) in [("delivered", delivered), ("failed", failed), ("gave_up", gave_up)] {
        s.count(&f::WEBHOOK_DELIVERIES, vec![("outcome", outcome.to_owned())], count);
    }
    s.count(&f::WEBHOOK_DISABLED, vec![], disabled);
    s.gauge(&f::WEBHOOK_SENDING, vec![], sending as f64);
    s.gauge(&f::WEBHOOK_SENDING_MAX, vec![], sending_max as f64);
    s.gauge(&f::WEBHOOK_PENDING, vec![], pending as f64);
    s.gauge(&f::WEBHOOK_OLDEST, vec![], oldest_age.as_secs_f64());
}

fn http_counts(s: &mut Scrape, http: &Counters, connections_max: usize) {
    let Counters { accepted, open, full, accept_failures, connection_failures, requests, refused, timeouts } = http;
    s.gauge(&f::HTTP_CONNECTIONS, vec![], open.load(Ordering::Relaxed) as f64);
    s.gauge(&f::HTTP_CONNECTIONS_MAX, vec![], connections_max as f64);
    let counts = [
        (&f::HTTP_ACCEPTED, accepted),
        (&f::HTTP_FULL, full),
        (&f::HTTP_ACCEPT_FAILURES, accept_failures),
        (&f::HTTP_CONNECTION_FAILURES, connection_failures),
        (&f::HTTP_REQUESTS, requests),
        (&f::HTTP_REFUSED, refused),
        (&f::HTTP_TIMEOUTS, timeouts),
    ];
    counts.into_iter().for_each(|(family, count)| s.count(family, vec![], count.load(Ordering::Relaxed)));
}
