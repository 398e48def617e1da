//! Any bytes as a list of digests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::digests::check(data));
