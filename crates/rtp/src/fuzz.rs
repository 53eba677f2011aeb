//! The fuzz target of this crate as a plain function: for cargo-fuzz, and for tests over the kept corpus.

use std::time::Duration;

use aimg_core::Timestamp;

use crate::{Arrival, Ledger, LedgerBuilder, Packet};

/// Before each datagram: its bytes, the milliseconds since the one before, and the kernel's drops since then.
const PREFIX_BYTES: usize = 3;

/// Reads `data` as the datagrams of one flow and keeps their ledger.
///
/// # Panics
///
/// When the ledger does not add up after any packet: that is what a fuzzer looks for.
pub fn fuzz_flow(mut data: &[u8]) {
    let mut ledger = LedgerBuilder::new(8_000);
    let (mut at, mut kernel_drops, mut kept) = (Timestamp::from_micros(0), 0_u32, 0);
    while let Some((&[bytes, pause_ms, drops], rest)) = data.split_first_chunk::<PREFIX_BYTES>() {
        let (datagram, after) = rest.split_at(rest.len().min(usize::from(bytes)));
        data = after;
        at = at + Duration::from_millis(u64::from(pause_ms));
        kernel_drops = kernel_drops.wrapping_add(u32::from(drops));
        let Ok(packet) = Packet::parse(datagram) else { continue };
        assert!(packet.payload.len() < datagram.len(), "more payload than bytes");
        kept += 1;
        ledger.observe(Arrival::of(&packet, at, kernel_drops));
        let Ledger { expected, received, lost, duplicate, late, .. } = ledger.ledger();
        assert_eq!(expected, received + ledger.ledger().missing(), "the ledger does not add up");
        assert_eq!(received + duplicate + ledger.facts().strays, kept, "a packet is counted twice or not at all");
        assert!(late <= received && lost <= expected && ledger.facts().jitter_ms >= 0.0);
    }
}
