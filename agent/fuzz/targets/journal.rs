//! Any bytes as the journal of an install, and as damage of one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::journal::check(data));
