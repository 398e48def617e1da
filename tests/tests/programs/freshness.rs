//! Specifications that are rightly signed and not meant for here and now: replayed, for another host, expired, older than what
//! the host was given before.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_tests::deployment::Finished;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{Place, scenario};
use slipway_tests::proxy::Proxy;
use slipway_tests::revision::{BundleKind, app};

use crate::envelope::{Forger, content, has_openssl, signed_over};
use crate::expect::{contains, page, succeeded};

/// What becomes of the specifications from now on.
type Change = Arc<Mutex<Box<dyn Fn(&mut Value) + Send>>>;

/// A fleet whose specifications are changed on their way, and signed again by the service's own key.
struct Changed<'a> {
    place: &'a Place,
    fleet: Fleet<'a>,
    change: Change,
    _proxy: Proxy,
}

impl<'a> Changed<'a> {
    fn start(place: &'a Place) -> Result<Self> {
        let mut fleet = Fleet::gather(place)?;
        let (work, own) = (place.directory("forger")?, fleet.control.data().join("pki/spec-signer.pem"));
        let change: Change = Arc::new(Mutex::new(Box::new(|_| {})));
        let on_the_way = Arc::clone(&change);
        let proxy = Proxy::start(
            &fleet.control,
            Forger(move |pem: &str| {
                let mut specification: Value = serde_json::from_slice(&content(&work, pem)?)?;
                on_the_way.lock().unwrap_or_else(PoisonError::into_inner)(&mut specification);
                signed_over(&work, &serde_json::to_vec(&specification)?, &own, "sha256")
            }),
        )?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        Ok(Self { place, fleet, change, _proxy: proxy })
    }

    fn change_by(&self, change: impl Fn(&mut Value) + Send + 'static) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(change);
    }

    fn deploy(&self, text: &str) -> Result<Finished> {
        let revision = app(&self.place.path().join("app"), text, &[]);
        self.fleet.group.deploy(&self.fleet.group.push(text, &revision, BundleKind::Zip)?)
    }

    /// Deploys; the first event fails with a message that holds the parts, and what is installed stays.
    fn is_refused(&self, parts: &[&str]) -> Result<()> {
        let before = page(&self.place.path().join("app")).ok();
        let finished = self.deploy("refused")?;
        ensure!(finished.status() == "Failed", "{}", finished.info);
        let event = finished.failed_event()?;
        ensure!(event.name == "ApplicationStop", "{} failed: {}", event.name, event.diagnostics);
        contains(event.diagnostic("message"), parts)?;
        ensure!(page(&self.place.path().join("app")).ok() == before);
        Ok(())
    }
}

#[test]
fn a_specification_for_another_host_or_another_time_is_refused() -> Result<()> {
    if !has_openssl() {
        return Ok(());
    }
    scenario(|place| {
        let changed = Changed::start(place)?;
        changed.change_by(|spec| spec["SlipwayBinding"]["HostIdentifier"] = json!("arn:aws:iam::0:user/other"));
        changed.is_refused(&["is for the host", "user/other", "web-1"])?;
        changed.change_by(|spec| {
            let issued = spec["SlipwayBinding"]["IssuedAt"].as_i64().unwrap_or_default() - 3 * 3600;
            spec["SlipwayBinding"]["IssuedAt"] = json!(issued);
            spec["SlipwayBinding"]["ExpiresAt"] = json!(issued + 3600);
        });
        changed.is_refused(&["counts until", "by this host's clock", "set the clock right"])?;
        changed.change_by(|spec| {
            let issued = spec["SlipwayBinding"]["IssuedAt"].as_i64().unwrap_or_default() + 3600;
            spec["SlipwayBinding"]["IssuedAt"] = json!(issued);
            spec["SlipwayBinding"]["ExpiresAt"] = json!(issued + 3600);
        });
        changed.is_refused(&["was issued at", "by this host's clock"])?;
        changed.change_by(|spec| spec["SlipwayBinding"]["ExpiresAt"] = json!(i64::MAX));
        changed.is_refused(&["SlipwayBinding.ExpiresAt", "seconds since the epoch"])?;
        changed.change_by(|_| {});
        succeeded(&changed.deploy("v1")?)
    })
}

#[test]
fn what_is_older_than_the_newest_deployment_of_the_group_is_refused() -> Result<()> {
    if !has_openssl() {
        return Ok(());
    }
    scenario(|place| {
        let changed = Changed::start(place)?;
        // A service that binds nothing, as AWS's.
        changed.change_by(|spec| drop(spec.as_object_mut().and_then(|members| members.remove("SlipwayBinding"))));
        succeeded(&changed.deploy("unbound")?)?;
        changed.change_by(|_| {});
        let first = changed.deploy("v1")?;
        succeeded(&first)?;
        changed.change_by(|spec| spec["SlipwayBinding"]["Sequence"] = json!(1));
        changed.is_refused(&["has number 1 in its group", &first.id, "deploy it anew"])?;
        changed.change_by(|spec| drop(spec.as_object_mut().and_then(|members| members.remove("SlipwayBinding"))));
        changed.is_refused(&["neither for whom it is nor when it was made"])?;
        changed.change_by(|_| {});
        succeeded(&changed.deploy("v2")?)
    })
}

/// The same envelope, byte for byte, under the next command.
#[test]
fn an_envelope_that_is_replayed_for_another_deployment_is_refused() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let kept: Arc<Mutex<Option<String>>> = Arc::default();
        let first = Arc::clone(&kept);
        let replay = move |pem: &str| {
            let mut kept = first.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(kept.get_or_insert_with(|| pem.to_owned()).clone())
        };
        let proxy = Proxy::start(&fleet.control, Forger(replay))?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let push = |text: &str| fleet.group.push(text, &app(&place.path().join("app"), text, &[]), BundleKind::Zip);
        let deployed = fleet.group.deploy(&push("v1")?)?;
        succeeded(&deployed)?;
        let finished = fleet.group.deploy(&push("v2")?)?;
        ensure!(finished.status() == "Failed", "{}", finished.info);
        let message = finished.failed_event()?.diagnostic("message").to_owned();
        contains(&message, &[&deployed.id, &finished.id, "replays what was signed earlier"])?;
        ensure!(page(&place.path().join("app")).context("it is there")? == "v1");
        Ok(())
    })
}
