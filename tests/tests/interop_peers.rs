//! The programs against peers that were written from the protocol's description alone, in another
//! language, with botocore's signatures and openssl's envelopes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot read what it checks must fail")]
#![allow(clippy::disallowed_methods, reason = "these tests are the world around the programs, not a part of them")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The peers keep to the protocol themselves: without this the other two tests would prove nothing.
#[test]
fn peers_agree_with_each_other() {
    run_peers("self");
}

/// The agent, against a commands service and a bucket that know nothing of it.
#[test]
fn agent_works_for_a_service_that_is_not_ours() {
    run_peers("agent");
}

/// The control service, against an agent and an SDK that know nothing of it.
#[test]
fn service_serves_agents_that_are_not_ours() {
    run_peers("control");
}

fn run_peers(what: &str) {
    let profile = profile_directory();
    let Some(python) = python(&profile) else {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: there is no interop environment with the AWS command line; `make test` makes one\n"),
        );
        return;
    };
    let interop = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let mut command = Command::new(python);
    command.args(["-B", "-m", "peers", "-q", what]).current_dir(interop).stdin(Stdio::null());
    for (variable, program) in [("SLIPWAY_AGENT", "slipway-agent"), ("SLIPWAY_CONTROL", "slipway-control")] {
        let path = profile.join(program);
        assert!(path.exists(), "{} is not built; `cargo build --workspace` builds it", path.display());
        command.env(variable, path);
    }
    let output = command.output().expect("python starts");
    // Through the test's own output, so that a good run stays quiet.
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the checks of `{what}` ended with {}", output.status);
}

/// The target directory's profile in which this test was built, such as `target/debug`.
fn profile_directory() -> PathBuf {
    let own = std::env::current_exe().expect("this test is a file");
    own.parent().and_then(Path::parent).expect("it lies in the deps of a profile").to_owned()
}

/// The interpreter of the environment that the interop tests share, beside the profiles.
fn python(profile: &Path) -> Option<PathBuf> {
    let python = profile.parent()?.join("interop/bin/python");
    python.exists().then_some(python)
}
