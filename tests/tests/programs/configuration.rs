//! Configuration that is wrong.

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::scenario;

use crate::expect::contains;

#[test]
fn a_bad_value_stops_the_agent_with_its_place_and_what_is_allowed() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("20-bad.yml", "# a comment\nmax_revisions: 0\nwait_between_runs: often\n")?;
        let output = agent.output(&["run"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2), "it ended with {}:\n{said}", output.status);
        contains(&said, &["20-bad.yml:2", "max_revisions", "0", "20-bad.yml:3", "wait_between_runs", "often"])
    })
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest_known_one() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("20-typo.yml", "max_revision: 3\n")?;
        let output = agent.output(&["recover"])?;
        let warned = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{warned}");
        contains(&warned, &["20-typo.yml:1", "max_revision", "max_revisions"])
    })
}

#[test]
fn a_host_without_an_identity_is_told_what_was_tried() -> Result<()> {
    scenario(|place| {
        let mut agent = Agent::alone(place, "web-1")?;
        let missing = place.path().join("no-such-file.yml");
        agent.configure("20-identity.yml", &format!("on_premises_config_file: {}\n", missing.display()))?;
        agent.start()?;
        slipway_tests::until::until("the agent to say what is missing", std::time::Duration::from_secs(20), || {
            let log = agent.log();
            Ok((log.contains("on-premises file") && log.contains("AWS_HOST_IDENTIFIER")).then_some(()))
        })
    })
}
