//! A spool file, and a chunk of one.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aimg_spool::fuzz::fuzz_file(data));
