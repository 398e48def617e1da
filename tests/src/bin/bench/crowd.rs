//! The control service under a crowd of connections on which nothing is ever asked.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use slipway_tests::control::Control;
use slipway_tests::place::Place;

use crate::figure::Figure;

/// Connections that begin a handshake and stop.
const CROWD: usize = 1000;
/// Calls, each over a connection of its own.
const CALLS: usize = 20;
/// Descriptors of a service that the crowd could use up, and of one that has room for it.
const DESCRIPTORS: [u32; 2] = [256, 4_096];
/// Most milliseconds for the slowest call.
const SLOWEST_MS: f64 = 200.0;
/// The type, version and length of a TLS record, whose content never comes.
const BEGUN_RECORD: [u8; 5] = [0x16, 3, 1, 2, 0];

/// The slowest signed call while the crowd is there.
pub fn measure(place: &Place) -> Result<Vec<Figure>> {
    let (mut slowest, mut details) = (0.0_f64, Vec::new());
    for descriptors in DESCRIPTORS {
        let control = Control::start_with_descriptors(place, descriptors)?;
        let apis = (0..CALLS).map(|number| control.administrator(&format!("operator-{number}")));
        let apis = apis.collect::<Result<Vec<_>>>()?;
        let address = control.endpoint().trim_start_matches("https://").to_owned();
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            let mut stream = TcpStream::connect(&address)?;
            // The service may have closed it by now to make room.
            let _ = stream.write_all(&BEGUN_RECORD);
            crowd.push(stream);
        }
        let mut of_these = 0.0_f64;
        for api in &apis {
            let began = Instant::now();
            api.call("ListApplications", json!({}))?;
            of_these = of_these.max(began.elapsed().as_secs_f64() * 1000.0);
        }
        details.push(format!("{of_these:.0} ms with {descriptors} descriptors"));
        slowest = slowest.max(of_these);
    }
    let what = "slowest of 20 calls beside 1,000 half-open";
    Ok(vec![Figure { what, unit: "ms", measured: slowest, bound: SLOWEST_MS, details: details.join(", ") }])
}
