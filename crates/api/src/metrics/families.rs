//! The list of metrics. `docs/metrics.md` is made from it.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows, from 0 at the start of the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Values sorted into buckets.
    Histogram,
}

/// A metric, by whatever labels.
#[derive(Debug)]
pub(crate) struct Family {
    /// Its name; that of a counter ends in `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The names of its labels. None of them grows with the number of calls.
    pub(crate) labels: &'static [&'static str],
    /// What it tells: one line.
    pub(crate) help: &'static str,
    /// What to do when it is not as it should be; nothing where it only informs.
    #[cfg_attr(not(test), expect(dead_code, reason = "docs/metrics.md is made from it, by a test"))]
    pub(crate) cure: &'static str,
}

impl Family {
    /// Its name in the description, which for counters is without `_total`.
    pub(crate) fn stem(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

macro_rules! families {
    ($($name:ident: $kind:ident $metric:literal [$($label:literal),*] $help:literal $(, $cure:literal)?;)*) => {
        $(pub(crate) static $name: Family = Family {
            name: $metric,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
            cure: concat!($($cure)?),
        };)*

        /// Every metric, in the order in which they are shown.
        pub(crate) static ALL: &[&Family] = &[$(&$name),*];
    };
}

families! {
    BUILD: Gauge "aimg_build_info" ["version"] "Always 1; the version is in the label.";
    UPTIME: Gauge "aimg_uptime_seconds" [] "Age of the worker process: counters begin with it.";
    WORKER_DEATHS: Counter "aimg_worker_deaths_total" [] "Workers that died under this parent.",
        "Should be 0: report the log.";

    SHARD: Gauge "aimg_shard_info" ["shard", "address"] "Always 1; where the shard receives is in the label.";
    SHARD_FLOWS: Gauge "aimg_shard_flows" ["shard"] "Open flows.";
    SHARD_FLOWS_MAX: Gauge "aimg_shard_flows_max" ["shard"] "Flows that may be open; more are refused and their captures fail.",
        "When `aimg_shard_flows` comes near: raise `media.flows_max` or `media.shards`.";
    SHARD_RECV_BUFFER: Gauge "aimg_shard_recv_buffer_bytes" ["shard"] "The receive buffer that the kernel gave, by its own accounting.",
        "Less than twice `media.recv_buffer_bytes`: raise `net.core.rmem_max`.";
    SHARD_PACKETS: Counter "aimg_shard_packets_total" ["shard"] "Datagrams received.";
    SHARD_BYTES: Counter "aimg_shard_bytes_total" ["shard"] "Their bytes.";
    SHARD_BATCHES: Counter "aimg_shard_batches_total" ["shard"] "System calls that brought at least one.";
    SHARD_PACKETS_REFUSED: Counter "aimg_shard_packets_refused_total" ["shard", "reason"]
        "Datagrams received that are no packet of a flow: foreign (unknown source), truncated, wrong_payload_type, or malformed by reason.",
        "A few foreign ones at the end of calls are normal. Many: somebody else sends to the port.";
    SHARD_KERNEL_DROPPED: Counter "aimg_shard_kernel_dropped_packets_total" ["shard"]
        "Packets that the kernel dropped because the receive buffer was full.", "Alarm `kernel_dropped`.";
    SHARD_DROPPED_BY_US: Counter "aimg_shard_dropped_by_us_packets_total" ["shard"]
        "Packets of flows that found no room in their spool.", "Alarm `dropped_by_us`.";
    SHARD_RECEIVE_ERRORS: Counter "aimg_shard_receive_errors_total" ["shard"] "Failed receive calls.",
        "Alarm `receive_failed`.";
    SHARD_CHUNKS_ASKED: Counter "aimg_shard_chunks_asked_total" ["shard"] "Pieces of spool asked of the keeper.";
    SHARD_CHUNKS_ANSWERED: Counter "aimg_shard_chunks_answered_total" ["shard"] "Pieces of spool that the keeper made or could not make.",
        "Behind the asked ones for long: alarm `keeper_behind`.";
    SHARD_QUEUE_FULL: Counter "aimg_shard_queue_full_total" ["shard", "queue"]
        "Times that a queue was full: mailbox (to the shard), keeper, events (from the shard). What found no room is tried again.",
        "Give the machine more CPU, the spool a faster disk.";
    QUEUE_MAX: Gauge "aimg_queue_max" ["queue"] "What may wait: mailbox (each shard), keeper, events (all shards).";

    FLOW_OPEN: Gauge "aimg_flow_open" ["tenant", "pbx", "pbx_name", "direction", "codec"] "Open flows.";
    FLOW_STARTED: Gauge "aimg_flow_started" ["tenant", "pbx", "pbx_name", "direction", "codec"] "Open flows of which a packet has come.",
        "Less than `aimg_flow_open` for long: Asterisk's RTP does not reach the gateway; see `aimg doctor`.";
    FLOW_SPOOL: Gauge "aimg_flow_spool_bytes" ["tenant", "pbx", "pbx_name", "direction", "codec"] "Bytes in the spools of open flows.";
    FLOW_PACKETS: Gauge "aimg_flow_packets" ["tenant", "pbx", "pbx_name", "direction", "codec", "what"]
        "The ledgers of open flows added up: expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us.";
    FLOW_LEFT_BEHIND: Counter "aimg_flow_left_behind_total" []
        "Flows of the worker before that this one could not go on with: nobody was expected to send to them yet, or their spools are damaged.",
        "A call or two that were being attached at that moment are normal: they get another part. More: look at the spool's disk.";

    CALL_LIVE: Gauge "aimg_call_live" ["tenant", "pbx", "pbx_name"] "Calls that are not over.";
    CALL_IN_HOOK: Gauge "aimg_call_in_hook" ["tenant", "pbx", "pbx_name"] "Channels that wait in the hook for their capture.";
    CAPTURE_OPEN: Gauge "aimg_capture_open" ["tenant", "pbx", "pbx_name", "state"]
        "Captures that are attaching, flowing (both directions) or closing.";
    CHANNEL_UNCLAIMED: Counter "aimg_channel_unclaimed_total" ["tenant", "pbx", "pbx_name", "reason"]
        "Channels of a PBX that several tenants share which are nobody's: no rule claims them, or the hook was given a wrong argument.",
        "They are not captured. `aimg pbx rules` and `aimg pbx match` say which rule is missing; the log tells technology and context.";
    CALL_EVENTS: Counter "aimg_call_events_total" ["tenant", "pbx", "pbx_name", "event"]
        "What happened to calls, by the names of their events; a change of state by the state.",
        "`tap_failed`, `hook_timed_out`, `lost` and `recording_failed` should not grow.";
    CAPTURE_ATTACH: Histogram "aimg_capture_attach_seconds" ["tenant", "pbx", "pbx_name"]
        "From the opening of a capture to the first packet of both directions; counted when the recording is finished.";
    CAPTURE_HEAD_GAP: Histogram "aimg_capture_head_gap_seconds" ["tenant", "pbx", "pbx_name"]
        "From the answer to the first captured packet of the later direction, 0 when it came before.",
        "Above 0: the PBX answers at once; use the hook to lose nothing.";
    UNCLAIMED: Counter "aimg_unclaimed_total" ["what"]
        "Messages for what had ended meanwhile: flow_news (no link waits), capture_orders.";

    RECORDING_FINISHING: Gauge "aimg_recording_finishing" [] "Recordings that are being finished or wait for it.",
        "Growing: the disk of the recordings is too slow.";
    RECORDING_BACKLOG: Gauge "aimg_recording_backlog" [] "Recordings that the disk did not take; they are tried again.",
        "Make room on the disk of the recordings.";
    RECORDING_BACKLOG_MAX: Gauge "aimg_recording_backlog_max" [] "Recordings that may wait so.";
    RECORDING_BACKLOG_OVERFLOWED: Counter "aimg_recording_backlog_overflowed_total" []
        "Recordings beyond it; the next start finishes them from their spools.", "Make room, then restart the gateway.";
    LISTENER_OPEN: Gauge "aimg_listener_open" [] "Those who listen to calls, over HTTP and WebSocket.";
    LISTENER_MAX: Gauge "aimg_listener_max" [] "Those who may listen at once.";
    LISTENER_REFUSED: Counter "aimg_listener_refused_total" []
        "Those who were not let in because too many listened, to the session, to the tenant's or to all.";
    LISTENER_FRAMES: Counter "aimg_listener_frames_total" [] "Frames of 20 ms that listeners took.";
    LISTENER_SKIPPED: Counter "aimg_listener_skipped_packets_total" []
        "Packets that listeners skipped because they read too slowly. Recordings have them.",
        "Look at the network to the listeners, and whether they stopped reading.";
    LISTENER_LATE: Counter "aimg_listener_late_packets_total" []
        "Packets that came too late to be heard live. Recordings have them.",
        "Growing: Asterisk or the network to it is overloaded.";
    TRANSCRIPT_LIVE: Gauge "aimg_transcript_live" [] "Transcripts that are written while their calls go on.";
    TRANSCRIPT_OWED: Gauge "aimg_transcript_owed" []
        "Transcripts that wait to be made, or finished, from a recording.",
        "Growing: the recogniser is away or too slow; `aimg speech` asks it.";
    SPEECH_WAITING: Gauge "aimg_speech_waiting_bytes" [] "Audio of calls that waits in memory to be recognised.";
    SPEECH_BEHIND: Gauge "aimg_speech_behind_seconds" []
        "The most audio of one side of a call that no recogniser has been given yet.",
        "Alarm `speech_behind`.";
    SPEECH_STREAMS: Counter "aimg_speech_streams_total" [] "Streams to recognisers that were opened.";
    SPEECH_RETRIES: Counter "aimg_speech_retries_total" []
        "Streams that failed, or could not be opened; what was not told is recognised again.",
        "The reasons are in the log; `aimg speech` asks the recognisers.";
    SPEECH_CHANGES: Counter "aimg_speech_changes_total" [] "Times that the other recogniser took over.";
    SEGMENTS: Counter "aimg_segments_total" [] "Final segments.";
    SEGMENTS_LIVE: Counter "aimg_segments_live_total" [] "Final segments that came while their calls went on.";
    SEGMENT_DELAY: Counter "aimg_segment_delay_seconds_total" []
        "From the last audio of an utterance to its final text, of all live final segments together.",
        "Divided by `aimg_segments_live_total`: how late text is.";
    SEGMENT_DELAY_MAX: Gauge "aimg_segment_delay_max_seconds" [] "The longest of them.";
    RECORDING_FINISHED: Counter "aimg_recording_finished_total" ["tenant", "pbx", "pbx_name", "complete"]
        "Recordings finished; complete is true when nothing that Asterisk sent is missing.";
    RECORDING_INCOMPLETE: Counter "aimg_recording_incomplete_total" ["tenant", "pbx", "pbx_name", "reason"]
        "Incomplete recordings by reason; one can have several.",
        "`lost_before_us`: the network. `kernel_dropped`, `dropped_by_us`, `damaged`: this machine. `ended_early`, `begun_late`: a restart.";
    RECORDING_FAILED: Counter "aimg_recording_failures_total" []
        "Tries to finish a recording that failed; the spools are kept.", "Alarm `recording_unfinished`.";
    RECORDING_SECONDS: Counter "aimg_recording_seconds_total" ["tenant", "pbx", "pbx_name"] "Length of finished recordings.";
    RECORDING_BYTES: Counter "aimg_recording_bytes_total" ["tenant", "pbx", "pbx_name"] "Bytes of finished recordings.";
    RECORDING_PACKETS: Counter "aimg_recording_packets_total" ["tenant", "pbx", "pbx_name", "direction", "codec", "what"]
        "The ledgers of finished recordings added up, as their certificates say: expected, received, lost, late, duplicate, kernel_dropped, dropped_by_us.",
        "`dropped_by_us` is a defect, `kernel_dropped` this machine, `lost` the network.";
    RECORDING_STREAM: Counter "aimg_recording_stream_total" ["tenant", "pbx", "pbx_name", "direction", "codec", "what"]
        "What else certificates tell of the streams: ssrc_changes, restarts, reordered (packets), strays (packets).";
    RECORDING_CORRUPT: Counter "aimg_recording_corrupt_bytes_total" ["tenant", "pbx", "pbx_name", "direction", "codec"]
        "Bytes of spools that were damaged.", "Look at the spool's disk.";

    LINK_STATE: Gauge "aimg_link_state" ["tenant", "pbx", "pbx_name", "side", "state"]
        "1 for the state in which ami or ari is, 0 for the others.", "Alarms `ami_down`, `ari_down`, `ari_replaced`, `module_missing`.";
    LINK_WAITING: Gauge "aimg_link_queue_waiting" ["tenant", "pbx", "pbx_name", "queue"]
        "What waits: ami_events, ari_notices, inputs (of the reducer). As of half a second ago.";
    LINK_WAITING_MAX: Gauge "aimg_link_queue_max" ["tenant", "pbx", "pbx_name", "queue"]
        "What may wait. More events: the connection is given up and the state read anew; more inputs: who has one waits.";
    AMI_EVENTS: Counter "aimg_ami_events_total" ["tenant", "pbx", "pbx_name"] "Events read from AMI.";
    AMI_LINKS_UP: Counter "aimg_ami_up_total" ["tenant", "pbx", "pbx_name"] "Times that AMI came up.";
    AMI_FAILURES: Counter "aimg_ami_failures_total" ["tenant", "pbx", "pbx_name"] "Times that connecting failed or the connection was lost.",
        "Alarm `ami_down`.";
    AMI_OVERFLOWS: Counter "aimg_ami_overflows_total" ["tenant", "pbx", "pbx_name"] "Of the failures: events waited past their bound.",
        "Alarm `events_overflowed`.";
    AMI_UNREADABLE: Counter "aimg_ami_unreadable_streams_total" ["tenant", "pbx", "pbx_name"] "Of the failures: what came is not AMI.",
        "Something else listens on the PBX's AMI port.";
    AMI_SKIPPED_LINES: Counter "aimg_ami_skipped_lines_total" ["tenant", "pbx", "pbx_name"] "Lines without a key, left out of their messages.";
    AMI_ACTIONS: Counter "aimg_ami_actions_total" ["tenant", "pbx", "pbx_name"] "Actions sent, pings not counted.";
    AMI_ACTION_TIMEOUTS: Counter "aimg_ami_action_timeouts_total" ["tenant", "pbx", "pbx_name"] "Of these: not answered in time.",
        "The PBX is overloaded.";
    AMI_STRAY_MESSAGES: Counter "aimg_ami_stray_messages_total" ["tenant", "pbx", "pbx_name"] "Answers that nobody waited for any more.";
    ARI_REQUESTS: Counter "aimg_ari_requests_total" ["tenant", "pbx", "pbx_name"] "Requests begun.";
    ARI_REQUESTS_FAILED: Counter "aimg_ari_requests_failed_total" ["tenant", "pbx", "pbx_name", "reason"]
        "Requests that failed: unsent (no connection), crowded_out (too many waited), broken_off (breaker open), maybe_done (no answer), rejected (answered with an error).",
        "Rejected ones are normal when calls end while they are being captured. The others: the PBX or the network.";
    ARI_BREAKER: Gauge "aimg_ari_breaker_open" ["tenant", "pbx", "pbx_name"] "1 while requests are held back because the PBX does not answer.",
        "Alarm `breaker_open`.";
    ARI_BREAKER_OPENED: Counter "aimg_ari_breaker_opened_total" ["tenant", "pbx", "pbx_name"] "Times that requests were held back from then on.";
    ARI_STREAMS_UP: Counter "aimg_ari_streams_up_total" ["tenant", "pbx", "pbx_name"] "Times that the event stream came up.";
    ARI_STREAMS_LOST: Counter "aimg_ari_streams_lost_total" ["tenant", "pbx", "pbx_name"] "Times that it could not be had or was lost.",
        "Alarm `ari_down`.";
    ARI_STREAMS_OVERFLOWED: Counter "aimg_ari_streams_overflowed_total" ["tenant", "pbx", "pbx_name"] "Of the lost: events waited past their bound.",
        "Alarm `events_overflowed`.";
    ARI_STREAMS_REPLACED: Counter "aimg_ari_streams_replaced_total" ["tenant", "pbx", "pbx_name"] "Times that another program took the application.",
        "Alarm `ari_replaced`.";
    ARI_EVENTS: Counter "aimg_ari_events_total" ["tenant", "pbx", "pbx_name"] "Events read from ARI.";
    ARI_EVENTS_OTHER: Counter "aimg_ari_events_other_total" ["tenant", "pbx", "pbx_name"] "Of these: of an unknown type or with fields missing.";
    ARI_GARBLED: Counter "aimg_ari_messages_garbled_total" ["tenant", "pbx", "pbx_name"] "Messages that were no event at all.";

    ARI_LISTENER: Counter "aimg_ari_listener_connections_total" ["outcome"]
        "Connections of PBXs that open ARI's event stream to us: accepted, refused (nobody's), crowded_out, failed. Only where ari.listen is set.",
        "Refused ones: compare the PBX's websocket_client.conf with `aimg pbx show`.";

    JOURNAL_WRITTEN: Counter "aimg_journal_rows_written_total" [] "Rows that the store has.";
    JOURNAL_OVERFLOWED: Counter "aimg_journal_rows_overflowed_total" [] "Rows that were lost because too many waited.",
        "Alarm `journal_overflowed`.";
    JOURNAL_REFUSED: Counter "aimg_journal_rows_refused_total" [] "Rows that the store refused for good.", "Alarm `row_refused`.";
    JOURNAL_RETRIED: Counter "aimg_journal_retries_total" [] "Transactions that had to be tried again.", "Alarm `store_unwritable`.";
    JOURNAL_WAITING: Gauge "aimg_journal_rows_waiting" [] "Rows that wait for the store.";
    JOURNAL_WAITING_MAX: Gauge "aimg_journal_rows_waiting_max" [] "Rows that may wait.";
    JOURNAL_AWAY: Gauge "aimg_journal_store_away" [] "1 while the store cannot be written.", "Alarm `store_unwritable`.";

    DISK_FREE: Gauge "aimg_disk_free_bytes" ["place"] "Bytes that the gateway may still write: on the disk of the spool, of the recordings.",
        "Alarm `disk_low`.";
    DISK_LOW: Gauge "aimg_disk_low" ["place"] "1 while that disk has less than the reserve: no capture begins.", "Alarm `disk_low`.";
    DISK_RESERVE: Gauge "aimg_disk_reserve_bytes" [] "What is kept free of both.";
    DISK_REFUSED: Counter "aimg_disk_captures_refused_total" [] "Captures that did not begin for want of room.", "Alarm `disk_low`.";

    WEBHOOK_DELIVERIES: Counter "aimg_webhook_deliveries_total" ["outcome"]
        "Messages to webhooks: delivered, failed (an attempt; most are tried again), or gave_up (tried for three days).",
        "Many failed ones: look which webhooks are failing (`GET /api/v1/webhooks`), and tell their tenants.";
    WEBHOOK_DISABLED: Counter "aimg_webhook_disabled_total" [] "Webhooks that were disabled because nothing reached them.",
        "The log names each; the tenant enables it again.";
    WEBHOOK_SENDING: Gauge "aimg_webhook_sending" [] "Messages to webhooks that are under way.";
    WEBHOOK_SENDING_MAX: Gauge "aimg_webhook_sending_max" [] "So many may be; the others wait.";
    WEBHOOK_PENDING: Gauge "aimg_webhook_pending" []
        "Messages of all nodes that wait to be sent to enabled webhooks, first or again; counted every ten seconds.";
    WEBHOOK_OLDEST: Gauge "aimg_webhook_oldest_pending_seconds" [] "How old the oldest of them is.",
        "Over minutes while few attempts fail: this node does not keep up, or the store is slow.";
    COMMANDS: Counter "aimg_commands_total" ["outcome"]
        "What was asked to be done with calls: done, not_possible, refused (by Asterisk, or nobody could speak it), away (the PBX), unknown (maybe done), overflowed.",
        "`unknown` and `overflowed` should not grow: the PBX answers slowly, or too much is asked of it.";
    SAID: Counter "aimg_said_total" ["outcome"]
        "Texts that were to be said into calls: spoken, kept (spoken before), failed.", "`aimg speech` asks the voices.";
    SPEAKING: Counter "aimg_speaking_seconds_total" [] "What speaking them took.";
    HTTP_CONNECTIONS: Gauge "aimg_http_connections" [] "Open connections to this service.";
    HTTP_CONNECTIONS_MAX: Gauge "aimg_http_connections_max" [] "Connections that may be open; others wait in the kernel.";
    HTTP_ACCEPTED: Counter "aimg_http_connections_accepted_total" [] "Connections taken.";
    HTTP_FULL: Counter "aimg_http_connections_full_total" [] "Times that all places were taken.";
    HTTP_ACCEPT_FAILURES: Counter "aimg_http_accept_failures_total" [] "Connections that could not be taken.", "Look at the limit of open files.";
    HTTP_CONNECTION_FAILURES: Counter "aimg_http_connection_failures_total" [] "Connections that ended in an error: too slow, no HTTP, cut.";
    HTTP_REQUESTS: Counter "aimg_http_requests_total" [] "Requests.";
    HTTP_REFUSED: Counter "aimg_http_requests_refused_total" [] "Requests refused: a host name that is not allowed, or metrics for whom they are not.";
    HTTP_TIMEOUTS: Counter "aimg_http_request_timeouts_total" [] "Requests whose answer took too long.";

    SOCKET_OPEN: Gauge "aimg_websocket_open" [] "Open WebSockets.";
    SOCKET_REFUSED: Counter "aimg_websocket_refused_total" [] "Requests for a WebSocket that were refused.";
    SOCKET_ENDED: Counter "aimg_websocket_ended_total" ["reason"] "WebSockets that ended: left, cut, slow, silent, not_authenticated, too_many, talkative, oversized, no_text or stopped.",
        "`slow`: the client, or the network to it, does not keep up.";
    SOCKET_RECEIVED: Counter "aimg_websocket_received_total" [] "Messages of clients.";
    SOCKET_SENT: Counter "aimg_websocket_sent_total" [] "Messages to clients.";
    SOCKET_LAGGED: Counter "aimg_websocket_lagged_total" [] "Times that a client was skipped ahead because it was too slow.";

    BUS_PUBLISHED: Counter "aimg_bus_published_total" [] "Notices of what happens, told to whoever listens.";
    BUS_SUBSCRIPTIONS: Gauge "aimg_bus_subscriptions" [] "Who listens.";
    BUS_MISSED: Counter "aimg_bus_missed_total" [] "Notices that listeners missed because they fell too far behind.",
        "Slow WebSocket clients, or a network that is. The state of things is in the REST API.";
    BUS_RESYNCS: Counter "aimg_bus_resyncs_total" [] "Times that a listener came back and what it had missed was forgotten.";
    BUS_KEPT: Gauge "aimg_bus_kept" [] "Notices that are remembered for those who come back.";
    BUS_KEPT_BYTES: Gauge "aimg_bus_kept_bytes" [] "About how many bytes they take.";

    ALARM: Gauge "aimg_alarm" ["alarm", "severity", "tenant", "pbx", "pbx_name", "shard", "place"] "1 while the alarm is up; see the alarms.";
    ALARM_RAISED: Counter "aimg_alarm_raised_total" ["alarm", "severity", "tenant", "pbx", "pbx_name", "shard", "place"] "Times that the alarm was raised.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use aimg_gateway::Alarm;

    use super::*;

    #[test]
    fn names_are_as_they_should_be() {
        let names: BTreeSet<_> = ALL.iter().map(|family| family.stem()).collect();
        assert_eq!(names.len(), ALL.len(), "a name is there twice");
        for Family { name, kind, labels, help, .. } in ALL {
            assert!(name.starts_with("aimg_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains(['"', '\\', '\n']), "{name}: {help}");
            assert!(!labels.iter().any(|label| ["session", "number", "channel"].contains(label)), "{name}");
        }
    }

    fn metrics_table() -> String {
        let head = "| metric | type | labels | what it tells | what to do |\n|---|---|---|---|---|\n";
        ALL.iter().fold(head.to_owned(), |table, Family { name, kind, labels, help, cure }| {
            let kind = format!("{kind:?}").to_lowercase();
            let labels = labels.join(", ");
            format!("{table}| `{name}` | {kind} | {labels} | {help} | {cure} |\n")
        })
    }

    fn alarms_table() -> String {
        let head = "| alarm | severity | what it says | what to do |\n|---|---|---|---|\n";
        Alarm::ALL.iter().fold(head.to_owned(), |table, alarm| {
            let (name, severity, says, cure) = (alarm.name(), alarm.severity().name(), alarm.says(), alarm.cure());
            format!("{table}| `{name}` | {severity} | {says} | {cure} |\n")
        })
    }

    #[test]
    fn the_document_lists_every_metric_and_alarm_as_it_is() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let mut document = fs::read_to_string(&path).unwrap();
        let is_update = std::env::var_os("UPDATE_DOCS").is_some();
        for (what, expected) in [("alarms", alarms_table()), ("metrics", metrics_table())] {
            let [begin, end] = ["begin", "end"].map(|mark| format!("<!-- made from the list of {what}: {mark} -->\n"));
            let (before, rest) = document.split_once(&begin).unwrap();
            let (table, after) = rest.split_once(&end).unwrap();
            if is_update {
                document = [before, &begin, &expected, &end, after].concat();
            } else {
                assert_eq!(table, expected, "run `UPDATE_DOCS=1 cargo test -p aimg-api` to write the tables anew");
            }
        }
        if is_update {
            fs::write(&path, document).unwrap();
        }
    }
}
