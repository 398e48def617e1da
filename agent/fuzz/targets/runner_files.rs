//! Any bytes as the files of a hook's runner.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::runner_files::check(data));
