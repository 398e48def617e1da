//! Who may do what: keys of hosts and of strangers.

use anyhow::{Result, ensure};
use serde_json::json;
use slipway_tests::api::Api;
use slipway_tests::fleet::{BUCKET, Fleet};
use slipway_tests::place::scenario;
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::sign::AccessKey;

use crate::expect::succeeded;

#[test]
fn a_wrong_secret_is_refused_everywhere() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let key = AccessKey { secret_access_key: "not-the-secret".to_owned(), ..fleet.api.key().clone() };
        let api = Api::new(fleet.control.endpoint(), &fleet.control.ca_file(), key)?;
        let refusal = api.refusal("ListApplications", json!({}))?;
        ensure!(refusal.status == 403, "{refusal}");
        ensure!(api.put(BUCKET, "x", b"x".to_vec()).is_err());
        let nobody = AccessKey { access_key_id: "AKIANOBODY0000000000".to_owned(), ..fleet.api.key().clone() };
        let api = Api::new(fleet.control.endpoint(), &fleet.control.ca_file(), nobody)?;
        ensure!(api.refusal("ListApplications", json!({}))?.status == 403);
        Ok(())
    })
}

#[test]
fn the_errors_are_those_of_the_reference() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let rows = [
            ("GetApplication", json!({"applicationName": "nobody"}), "ApplicationDoesNotExistException"),
            ("GetApplication", json!({}), "ApplicationNameRequiredException"),
            ("CreateApplication", json!({"applicationName": "a b"}), "InvalidApplicationNameException"),
            ("CreateApplication", json!({"applicationName": "hello-web"}), "ApplicationAlreadyExistsException"),
            ("GetDeployment", json!({"deploymentId": "d-AAAAAAAAA"}), "DeploymentDoesNotExistException"),
            ("GetDeployment", json!({}), "DeploymentIdRequiredException"),
            ("ListApplications", json!({"nextToken": "?"}), "InvalidNextTokenException"),
        ];
        for (operation, input, name) in rows {
            let refusal = fleet.api.refusal(operation, input.clone())?;
            ensure!(refusal.name.ends_with(name) && refusal.status == 400, "{operation} {input}: {refusal}");
            ensure!(!refusal.message.is_empty(), "{operation}: a refusal says why");
        }
        let unknown = fleet.api.refusal("MakeCoffee", json!({}))?;
        ensure!(unknown.status == 404, "{unknown}");
        Ok(())
    })
}

#[test]
fn a_second_deployment_to_a_busy_group_is_refused() -> Result<()> {
    scenario(|place| {
        // Nobody takes the first one's commands: the agent does not run.
        let fleet = Fleet::gather(place)?;
        let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Zip)?;
        let first = fleet.group.begin(&bundle)?;
        let second = fleet.group.begin(&bundle).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(second.contains("DeploymentLimitExceededException"), "{second}");
        fleet.api.call("StopDeployment", json!({"deploymentId": first}))?;
        Ok(())
    })
}

#[test]
fn a_stopped_deployment_sends_nothing_more() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "page", &[]), BundleKind::Zip)?;
        let id = fleet.group.begin(&bundle)?;
        fleet.api.call("StopDeployment", json!({"deploymentId": id}))?;
        let finished = slipway_tests::deployment::finish(&fleet.api, &id, slipway_tests::fleet::PATIENCE)?;
        ensure!(finished.status() == "Stopped", "{}", finished.info);
        fleet.agent.start()?;
        succeeded(&fleet.group.deploy(&bundle)?)?;
        Ok(())
    })
}
