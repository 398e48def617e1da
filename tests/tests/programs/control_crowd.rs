//! A crowd that opens connections to the control service and says nothing keeps nobody out.

use std::io::Read;
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slipway_tests::control::Control;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::scenario;
use slipway_tests::until::until_true;

/// Connections that are opened and left.
const CROWD: usize = 1000;

/// Whether the other side has closed a connection.
fn is_closed(stream: &mut TcpStream) -> Result<bool> {
    stream.set_nonblocking(true)?;
    match stream.read(&mut [0]) {
        Ok(0) => Ok(true),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        Err(_) => Ok(true),
    }
}

#[test]
fn a_crowd_without_a_key_keeps_no_signed_call_out() -> Result<()> {
    scenario(|place| {
        // So few that the crowd could take all of them.
        let control = Control::start_with_descriptors(place, 256)?;
        let first = control.administrator("first")?;
        let address = control.endpoint().trim_start_matches("https://").to_owned();
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            crowd.push(TcpStream::connect(&address)?);
        }
        // Each from a connection of its own.
        for number in 0..5 {
            let api = control.administrator(&format!("late-{number}"))?;
            api.call("CreateApplication", json!({"applicationName": format!("app-{number}")}))?;
        }
        first.call("ListApplications", json!({}))?;
        let newest = crowd.last_mut().context("a crowd")?;
        ensure!(!is_closed(newest)?, "the calls waited until the crowd was sent away");
        until_true("the crowd to be sent away", PATIENCE, || {
            crowd.iter_mut().map(is_closed).try_fold(true, |all, one| Ok(all && one?))
        })
    })
}
