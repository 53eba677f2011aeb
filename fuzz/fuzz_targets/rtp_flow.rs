//! The datagrams of one flow, and their ledger.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aimg_rtp::fuzz::fuzz_flow(data));
