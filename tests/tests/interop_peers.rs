//! The programs against peers that were written from the protocol's description alone, in another
//! language, with botocore's signatures and openssl's envelopes (`tests/interop/peers`).
#![allow(clippy::disallowed_methods, reason = "these tests are the world around the programs, not a part of them")]

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries;

/// The peers keep to the protocol themselves: without this the other two tests would prove nothing.
#[test]
fn peers_agree_with_each_other() -> Result<()> {
    run_peers("self")
}

/// The agent, against a commands service and a bucket that know nothing of it.
#[test]
fn agent_works_for_a_service_that_is_not_ours() -> Result<()> {
    run_peers("agent")
}

/// The control service, against an agent and an SDK that know nothing of it.
#[test]
fn service_serves_agents_that_are_not_ours() -> Result<()> {
    run_peers("control")
}

fn run_peers(what: &str) -> Result<()> {
    let profile = binaries::profile_directory()?;
    let python = profile.parent().context("the profile is in a target directory")?.join("interop/bin/python");
    if !python.exists() {
        // Past the test harness, which keeps the output of tests that pass to itself.
        let _ = writeln!(std::io::stderr(), "skipped: there is no {}; `make test` makes it\n", python.display());
        return Ok(());
    }
    let mut command = Command::new(python);
    command.args(["-B", "-m", "peers", "-q", what]).current_dir(binaries::repository().join("tests/interop"));
    for (variable, program) in [("SLIPWAY_AGENT", "slipway-agent"), ("SLIPWAY_CONTROL", "slipway-control")] {
        let path = profile.join(program);
        ensure!(path.exists(), "{} is not built; `cargo build --workspace` builds it", path.display());
        command.env(variable, path);
    }
    let output = command.stdin(Stdio::null()).output().context("start python")?;
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the checks of `{what}` ended with {}", output.status);
    Ok(())
}
