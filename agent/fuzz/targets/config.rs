//! Any bytes as the agent's configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::config::check(data));
