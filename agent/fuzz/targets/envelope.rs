//! Any bytes as the specification of a deployment, and as changes of the envelope around it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::envelope::check(data));
