//! Hosts whose only way out is a forward proxy, and one that demands a password: Debian's tinyproxy.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::forward::{Admits, ForwardProxy};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::secret::Secret;
use slipway_tests::until::until;

use crate::expect::{contains, failed_in, page, succeeded};
use crate::secrets::collect;

const USER: &str = "host-1";
const PASSWORD: &str = "hunter-2.7f3a9c55e0";
/// For tries that have pauses between them.
const LONG: Duration = Duration::from_secs(180);

/// Runs a test, or says why it does not.
fn with_tinyproxy(test: impl FnOnce(&Place) -> Result<()>) -> Result<()> {
    if !ForwardProxy::is_installed() {
        // Not by `eprintln!`, which nobody sees of a test that passes.
        std::io::stderr().write_all(b"skipped: there is no tinyproxy here; it is in the package tinyproxy-bin\n")?;
        return Ok(());
    }
    scenario(test)
}

/// Host and port of the service, and the same by another name.
fn two_names(fleet: &Fleet<'_>) -> (String, String) {
    let address = fleet.control.endpoint().trim_start_matches("https://").to_owned();
    let named = address.replace("127.0.0.1", "localhost");
    (address, named)
}

/// Deploys, and says that it worked.
fn deploys(place: &Place, fleet: &Fleet<'_>) -> Result<()> {
    let destination = place.path().join("app");
    let hook = Hook::new("AfterInstall", "env; cat /proc/$PPID/cmdline");
    let bundle = fleet.group.push("v1", &app(&destination, "page", &[hook]), BundleKind::Tgz)?;
    succeeded(&finish(&fleet.api, &fleet.group.begin(&bundle)?, LONG)?)?;
    ensure!(page(&destination)? == "page");
    Ok(())
}

/// Nothing that is left but the configuration holds the password.
fn is_nowhere(place: &Place, fleet: &Fleet<'_>, password: &str) -> Result<()> {
    let secret = Secret::new("the proxy's password", password);
    let known = [fleet.control.data().to_owned(), fleet.agent.home().join("conf"), place.path().join("proxies")];
    let mut searched = Vec::new();
    collect(place.path(), &known, &mut searched)?;
    for name in ["status.json", "agent-web-1.log"] {
        ensure!(searched.iter().any(|(path, text)| path.ends_with(name) && !text.is_empty()), "{name} is not there");
    }
    for (path, text) in &searched {
        ensure!(secret.in_text(text).is_none(), "the password is in {path}");
    }
    Ok(())
}

#[test]
fn a_deployment_goes_through_a_proxy_that_demands_a_password() -> Result<()> {
    with_tinyproxy(|place| {
        let mut fleet = Fleet::gather(place)?;
        let proxy = ForwardProxy::start(place, "proxy", Admits::Knowing(USER, PASSWORD))?;
        let (address, named) = two_names(&fleet);
        let credentials = format!("{USER}:{PASSWORD}");
        let settings = format!(
            "proxy_uri: {}\ns3_endpoint_override: https://{named}\nverbose: true\n",
            proxy.address(&credentials)
        );
        fleet.agent.configure("20-proxy.yml", &settings)?;
        fleet.agent.start()?;
        deploys(place, &fleet)?;
        let asked = proxy.asked();
        ensure!(asked.contains(&address) && asked.contains(&named), "not both went through it: {asked:?}");
        is_nowhere(place, &fleet, PASSWORD)
    })
}

#[test]
fn commands_and_bundles_have_proxies_of_their_own() -> Result<()> {
    with_tinyproxy(|place| {
        let mut fleet = Fleet::gather(place)?;
        let commands = ForwardProxy::start(place, "commands", Admits::Everybody)?;
        let bundles = ForwardProxy::start(place, "bundles", Admits::Knowing(USER, PASSWORD))?;
        let unused = ForwardProxy::start(place, "unused", Admits::Everybody)?;
        let (address, named) = two_names(&fleet);
        let settings = format!(
            "proxy_uri: {}\ncontrol_proxy_uri: {}\ns3_proxy_uri: {}\ns3_endpoint_override: https://{named}\n",
            unused.address(""),
            commands.address(""),
            bundles.address(&format!("{USER}:{PASSWORD}"))
        );
        fleet.agent.configure("20-proxy.yml", &settings)?;
        fleet.agent.start()?;
        deploys(place, &fleet)?;
        for (proxy, only) in [(&commands, &address), (&bundles, &named)] {
            let asked = proxy.asked();
            ensure!(!asked.is_empty() && asked.iter().all(|asked| asked == only), "{only} only: {asked:?}");
        }
        ensure!(unused.asked().is_empty(), "{:?}", unused.asked());
        Ok(())
    })
}

#[test]
fn no_proxy_keeps_a_service_away_from_it() -> Result<()> {
    with_tinyproxy(|place| {
        let mut fleet = Fleet::gather(place)?;
        let proxy = ForwardProxy::start(place, "proxy", Admits::Everybody)?;
        let (address, named) = two_names(&fleet);
        let settings = format!(
            "proxy_uri: {}\nno_proxy: [.internal, localhost]\ns3_endpoint_override: https://{named}\n",
            proxy.address("")
        );
        fleet.agent.configure("20-proxy.yml", &settings)?;
        fleet.agent.start()?;
        deploys(place, &fleet)?;
        let asked = proxy.asked();
        ensure!(!asked.is_empty() && asked.iter().all(|asked| *asked == address), "{address} only: {asked:?}");
        Ok(())
    })
}

#[test]
fn a_wrong_password_is_told_with_the_hop_and_the_remedy() -> Result<()> {
    const WRONG: &str = "wrong-1.5b1e0c77aa";
    with_tinyproxy(|place| {
        let mut fleet = Fleet::gather(place)?;
        let proxy = ForwardProxy::start(place, "proxy", Admits::Knowing(USER, PASSWORD))?;
        let wrong = proxy.address(&format!("{USER}:{WRONG}"));
        let shown = proxy.address("");
        let said = ["through the proxy", &shown, "the proxy refused it", "user and password in its own"];
        // For bundles first: the deployment's message says it.
        fleet.agent.configure("20-proxy.yml", &format!("s3_proxy_uri: {wrong}\n"))?;
        fleet.agent.start()?;
        let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Tgz)?;
        let finished = finish(&fleet.api, &fleet.group.begin(&bundle)?, LONG)?;
        contains(&failed_in(&finished, "DownloadBundle")?, &said)?;
        fleet.agent.stop()?;
        // For everything: `status` says it, and the log.
        fleet.agent.configure("20-proxy.yml", &format!("proxy_uri: {wrong}\nwait_after_error: 1\n"))?;
        fleet.agent.start()?;
        let why = until("status to say that polls fail", PATIENCE, || {
            let connection = fleet.agent.status()?["daemon"]["connection"].clone();
            let why = connection["why"].as_str().unwrap_or_default().to_owned();
            Ok((connection["state"] == "failing").then_some(why))
        })?;
        contains(&why, &said)?;
        contains(&fleet.agent.log(), &said)?;
        fleet.agent.stop()?;
        // And one that nobody has told of a password says so.
        fleet.agent.configure("20-proxy.yml", &format!("proxy_uri: {shown}\nwait_after_error: 1\n"))?;
        fleet.agent.start()?;
        until("the log to say what is missing", PATIENCE, || {
            Ok(fleet.agent.log().contains("it wants a user and a password").then_some(()))
        })?;
        ensure!(secretless(&finished.info.to_string(), WRONG), "the password is in the report");
        is_nowhere(place, &fleet, WRONG)
    })
}

fn secretless(text: &str, password: &str) -> bool {
    Secret::new("the proxy's password", password).in_text(text.as_bytes()).is_none()
}
