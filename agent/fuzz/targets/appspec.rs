//! Any bytes as an AppSpec file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::appspec::check(data));
