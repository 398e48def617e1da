//! Any bytes as a tar archive, with the checksums that it should have.
#![no_main]

use slipway_agent::deployment::BundleType;

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::unpack::check(
    &slipway_fuzz::tar_blocks::mended(data),
    BundleType::Tar
));
