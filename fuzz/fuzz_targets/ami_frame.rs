//! An AMI stream, whole and byte by byte.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aimg_ami::fuzz::fuzz_frame(data));
