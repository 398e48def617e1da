//! Any records as the journal that an install is settled by.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::settle::check(data));
