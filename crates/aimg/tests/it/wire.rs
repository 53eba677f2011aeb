//! What went over the loopback interface: the RTP that Asterisk sent and received, stream by stream.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use aimg_audio::g711::ULAW_SILENCE;
use aimg_core::Timestamp;
use aimg_recording::FlowCertificate;
use aimg_testbed::{Asterisk, Capture};

/// Bytes of an RTP header as Asterisk and SIPp send it.
const RTP_HEADER_BYTES: usize = 12;

/// Microseconds of a packet's audio.
pub(crate) const PACKET_US: i64 = 20_000;

/// The kernel stamps a packet once, for the capture and for the gateway's socket; but the gateway reads two clocks, one after
/// the other, to take the stamp over to its own, and may be put aside in between.
const CLOCKS_APART_US_MAX: i64 = 5_000;

/// One packet of audio.
#[derive(Clone, Debug)]
pub(crate) struct Rtp {
    pub(crate) at: Timestamp,
    sequence: u16,
    audio: Vec<u8>,
}

/// The packets of one source to one destination, as they were sent.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    pub(crate) packets: Vec<Rtp>,
}

/// A capture that goes on.
#[derive(Debug)]
pub(crate) struct Wire(Capture);

impl Wire {
    /// Captures all RTP of an Asterisk, in both directions, from here on.
    pub(crate) fn tap(asterisk: &Asterisk) -> Self {
        let (first, last) = asterisk.rtp_ports();
        Self(Capture::start(&format!("udp and portrange {first}-{last} and udp[8] = 0x80")).unwrap())
    }

    /// All streams seen until here.
    pub(crate) fn streams(self) -> Vec<Stream> {
        let captured = self.0.stop().unwrap();
        assert_eq!(captured.dropped, 0, "tcpdump was too slow: this is no truth to compare with");
        let mut streams = BTreeMap::<_, Stream>::new();
        for packet in captured.packets {
            let (source, destination) = (packet.source, packet.destination);
            let (header, audio) = packet.payload.split_at(RTP_HEADER_BYTES);
            let sequence = u16::from_be_bytes([header[2], header[3]]);
            // A port is used again by a later call: its SSRC is another one.
            let stream = streams.entry((source, destination, header[8..].to_vec()));
            let stream = stream.or_insert_with(|| Stream { source, destination, packets: Vec::new() });
            stream.packets.push(Rtp { at: packet.at, sequence, audio: audio.to_owned() });
        }
        streams.into_values().collect()
    }
}

/// Those of the streams that went to this address.
pub(crate) fn sent_to(streams: &[Stream], destination: SocketAddrV4) -> Vec<&Stream> {
    let streams: Vec<&Stream> = streams.iter().filter(|s| s.destination == destination).collect();
    for stream in &streams {
        let followed = |pair: &[Rtp]| pair[1].sequence == pair[0].sequence.wrapping_add(1);
        assert!(stream.packets.windows(2).all(followed), "Asterisk sends in order and leaves nothing out");
    }
    streams
}

impl Stream {
    /// What was heard of it between two moments.
    pub(crate) fn between(&self, from: Timestamp, to: Timestamp) -> Vec<u8> {
        let within = self.packets.iter().filter(|packet| (from..to).contains(&packet.at));
        within.flat_map(|packet| packet.audio.iter().copied()).collect()
    }

    /// How far its sender strayed from a packet every 20 ms, in microseconds: what a busy machine does to it.
    pub(crate) fn unsteadiness_us(&self) -> i64 {
        let begin = self.packets[0].at;
        let lates = self.packets.iter().zip(0i64..).map(|(p, n)| p.at.micros_since(begin) - n * PACKET_US);
        let (least, most) = lates.fold((0, 0), |(least, most), late| (late.min(least), late.max(most)));
        most - least
    }

    /// The samples of silence in a channel of µ-law that holds this stream's first packets, byte for byte and in order, and
    /// nothing else but silence before, between and after them. Nothing if something else is in the channel.
    fn silence_beside(&self, packets: usize, channel: &[u8]) -> Option<usize> {
        let mut rest = channel;
        for packet in self.packets.get(..packets)? {
            while !rest.starts_with(&packet.audio) {
                let (&first, after) = rest.split_first()?;
                if first != ULAW_SILENCE {
                    return None;
                }
                rest = after;
            }
            rest = &rest[packet.audio.len()..];
        }
        let audio: usize = self.packets[..packets].iter().map(|p| p.audio.len()).sum();
        rest.iter().all(|&b| b == ULAW_SILENCE).then_some(channel.len() - audio)
    }
}

/// The stream that began when a flow's certificate says, of which a channel holds as many packets, from the first one on,
/// as that says; and the samples of silence beside them. Calls with the same speech can sound the same, and others begin
/// within the same moment: time and bytes decide together.
#[track_caller]
pub(crate) fn stream_of<'a>(streams: &[&'a Stream], flow: &FlowCertificate, channel: &[u8]) -> (&'a Stream, usize) {
    let first_packet_at = flow.first_packet_at.expect("a packet was captured");
    let apart_us = |s: &Stream| s.packets[0].at.micros_since(first_packet_at).abs();
    let received = usize::try_from(flow.ledger.received).unwrap();
    let mut near: Vec<&Stream> = streams.iter().copied().filter(|s| apart_us(s) <= CLOCKS_APART_US_MAX).collect();
    near.sort_by_key(|s| apart_us(s));
    let held = near.iter().find_map(|s| Some((*s, s.silence_beside(received, channel)?)));
    let began: Vec<_> = near.iter().map(|s| (apart_us(s), s.packets.len())).collect();
    held.unwrap_or_else(|| {
        panic!("the channel is not the first {received} packets of any of these (µs, packets): {began:?}")
    })
}
