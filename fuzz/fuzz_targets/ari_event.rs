//! A message of the ARI event socket.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(aimg_ari::Event::parse(data)));
