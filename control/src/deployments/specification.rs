//! The deployment specification that hosts are given, and the name under which they ask for it.

use std::time::Duration;

use slipway_protocol::specification::{AgentActionOverrides, AgentOverrides, Binding, DeploymentSpecification};

use super::Deployment;
use crate::clock::Moment;
use crate::ids::DeploymentId;
use crate::instances::Realm;

/// Where hosts look for the AppSpec.
const APP_SPEC_FILENAME: &str = "appspec.yml";

/// How long a specification counts from when it is signed. An agent asks for a new one for each command, and tries for less
/// than five minutes to get it.
const VALID_FOR: Duration = Duration::from_secs(60 * 60);

/// The name under which a host asks for a deployment's specification.
pub fn execution_id(realm: &Realm, deployment_id: &str) -> String {
    format!("codedeploy/{}/{}/{deployment_id}", realm.region, realm.account)
}

/// The deployment that an execution id names.
pub fn deployment_of(execution_id: &str) -> Option<DeploymentId> {
    let parts: Vec<&str> = execution_id.split('/').collect();
    match parts.as_slice() {
        ["codedeploy", _, _, id] => DeploymentId::from_request(Some((*id).to_owned())).ok(),
        _ => None,
    }
}

/// What a deployment's host is told to do, in all of its events. `AllPossibleLifecycleEvents` is left out: AWS's agents
/// stumble over it.
pub fn content(deployment: &Deployment, host: &str, now: Moment) -> DeploymentSpecification {
    let mut revision = deployment.revision.specification();
    if let (Some(s3), Some(pinned)) = (&mut revision.s3_revision, &deployment.pinned) {
        s3.version = Some(pinned.version.clone());
        s3.checksum_sha256 = Some(pinned.sha256.clone());
    }
    DeploymentSpecification {
        deployment_id: Some(deployment.id.as_str().to_owned()),
        deployment_group_id: Some(deployment.group_id.clone()),
        deployment_group_name: Some(deployment.group_name.clone()),
        application_name: Some(deployment.application_name.clone()),
        deployment_creator: Some(deployment.creator.to_string()),
        deployment_type: Some("IN_PLACE".to_owned()),
        app_spec_filename: Some(APP_SPEC_FILENAME.to_owned()),
        agent_action_overrides: Some(AgentActionOverrides {
            agent_overrides: Some(AgentOverrides {
                file_exists_behavior: Some(deployment.options.file_exists.to_string()),
            }),
        }),
        all_possible_lifecycle_events: None,
        reuse_archive_from_deployment_id: deployment.reuse_archive_from.clone(),
        github_access_token: None,
        revision: Some(revision),
        binding: Some(Binding {
            host_identifier: host.to_owned(),
            issued_at: now.seconds(),
            expires_at: now.after(VALID_FOR).seconds(),
            // A group's deployments are created one after the other, each later than the one before; so it goes on from there
            // when the service's data comes from a backup.
            sequence: deployment.created.millis(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execution_ids_name_their_deployment() {
        let realm = Realm { region: "eu-west-1".into(), account: "123456789012".into() };
        let id = DeploymentId::random();
        let text = execution_id(&realm, id.as_str());
        assert_eq!(deployment_of(&text), Some(id));
        assert!(text.len() <= 129 && text.split('/').count() >= 4 && text.split('/').all(|part| !part.is_empty()));
        for bad in ["", "codedeploy/a/b/c", "x/a/b/d-ABCDEF123", "codedeploy/a/b/d-ABCDEF123/x"] {
            assert_eq!(deployment_of(bad), None, "{bad}");
        }
    }
}
