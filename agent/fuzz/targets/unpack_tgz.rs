//! Any bytes as a gzip file.
#![no_main]

use slipway_agent::deployment::BundleType;

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::unpack::check(data, BundleType::Tgz));
