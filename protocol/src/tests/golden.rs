//! One golden file for each type and direction. A file is what travels; it is never written by
//! these tests, so a change of the wire shows as a failure here and as a diff in review.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::commands::*;
use crate::diagnostics::{Diagnostics, ErrorCode};
use crate::specification::*;
use crate::wire::{ErrorBody, FORMAT_JSON, FORMAT_PKCS7_JSON, FORMAT_TEXT_JSON};

const HOST: &str = "arn:aws:iam::123456789012:user/web-1";
const COMMAND: &str = "WyJjb20uYW1hem9uIiwiZC1BQkMxMjNERUYiLDQyXQ==";
const EXECUTION: &str = "123456789012/eu-west-1/d-ABC123DEF/arn:aws:iam::123456789012:user/web-1";

/// Holds `value` and the golden text to each other: the text parses to the value, also when a newer
/// peer adds members that we do not know, and the value becomes the text's JSON, nothing more or less.
fn holds<T: Serialize + DeserializeOwned + PartialEq + Debug>(golden: &str, value: &T) {
    let wire: Value = serde_json::from_str(golden).unwrap();
    assert_eq!(&serde_json::from_str::<T>(golden).unwrap(), value, "the golden text parses to the value");
    assert_eq!(serde_json::to_value(value).unwrap(), wire, "the value becomes the golden text");
    let newer = with_unknown_members(wire);
    assert_eq!(&serde_json::from_value::<T>(newer).unwrap(), value, "unknown members change nothing");
}

/// Adds a member that no version of the protocol has to every object of a document.
fn with_unknown_members(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let known = members.into_iter().map(|(name, member)| (name, with_unknown_members(member)));
            let unknown = ("FromTheFuture".to_owned(), json!({"Nested": [1, null, "x"]}));
            Value::Object(std::iter::once(unknown).chain(known).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(with_unknown_members).collect()),
        other => other,
    }
}

#[test]
fn poll() {
    holds(
        include_str!("../../golden/poll_host_command.request.json"),
        &PollHostCommandInput { host_identifier: HOST.to_owned() },
    );
    holds(
        include_str!("../../golden/poll_host_command.response.json"),
        &PollHostCommandOutput {
            host_command: Some(HostCommand {
                host_command_identifier: COMMAND.to_owned(),
                host_identifier: HOST.to_owned(),
                deployment_execution_id: EXECUTION.to_owned(),
                command_name: "DownloadBundle".to_owned(),
                // Beyond what a double can hold: AWS's nonces are 64-bit.
                nonce: Some(9_007_199_254_740_993),
            }),
        },
    );
    holds(
        include_str!("../../golden/poll_host_command.response.idle.json"),
        &PollHostCommandOutput { host_command: None },
    );
}

#[test]
fn an_explicit_null_is_an_absent_command() {
    let idle: PollHostCommandOutput = serde_json::from_str(r#"{"HostCommand":null}"#).unwrap();
    assert_eq!(idle, PollHostCommandOutput::default());
}

#[test]
fn get_specification() {
    holds(
        include_str!("../../golden/get_deployment_specification.request.json"),
        &GetDeploymentSpecificationInput {
            deployment_execution_id: EXECUTION.to_owned(),
            host_identifier: HOST.to_owned(),
        },
    );
    let pem = "-----BEGIN PKCS7-----\nMIIBATANBgkqhkiG9w0BBwI=\n-----END PKCS7-----\n";
    holds(
        include_str!("../../golden/get_deployment_specification.response.json"),
        &GetDeploymentSpecificationOutput {
            deployment_system: Some("CodeDeploy".to_owned()),
            deployment_specification: Some(SpecificationEnvelopes {
                generic_envelope: Some(Envelope::new(FORMAT_PKCS7_JSON, pem.to_owned())),
                variant_id: Some("generic".to_owned()),
                variant_envelope: Some(Envelope::new(FORMAT_TEXT_JSON, "{}".to_owned())),
            }),
        },
    );
}

#[test]
fn acknowledge() {
    let noop = Acknowledgement { is_command_noop: true };
    holds(include_str!("../../golden/acknowledgement.payload.json"), &noop);
    holds(
        include_str!("../../golden/put_host_command_acknowledgement.request.json"),
        &PutHostCommandAcknowledgementInput {
            host_command_identifier: COMMAND.to_owned(),
            diagnostics: Some(Envelope::new(FORMAT_JSON, serde_json::to_string(&noop).unwrap())),
        },
    );
    holds(
        include_str!("../../golden/put_host_command_acknowledgement.response.json"),
        &CommandStatusOutput { command_status: Some(CommandStatus::InProgress) },
    );
    holds(
        include_str!("../../golden/put_host_command_acknowledgement.response.empty.json"),
        &CommandStatusOutput { command_status: None },
    );
}

#[test]
fn complete() {
    let diagnostics = Diagnostics {
        error_code: ErrorCode::ScriptFailed,
        script_name: "scripts/validate.sh".to_owned(),
        message: "it failed".to_owned(),
        log: String::new(),
    };
    holds(
        include_str!("../../golden/put_host_command_complete.request.json"),
        &PutHostCommandCompleteInput {
            host_command_identifier: COMMAND.to_owned(),
            command_status: CommandStatus::Failed,
            diagnostics: Some(Envelope::new(FORMAT_JSON, diagnostics.to_payload())),
        },
    );
}

#[test]
fn update() {
    let diagnostics = Diagnostics {
        error_code: ErrorCode::Success,
        script_name: String::new(),
        message: "40 of 100 MB".to_owned(),
        log: String::new(),
    };
    holds(
        include_str!("../../golden/post_host_command_update.request.json"),
        &PostHostCommandUpdateInput {
            host_command_identifier: COMMAND.to_owned(),
            estimated_completion_time: Some(1_792_345_678.25),
            diagnostics: Some(Envelope::new(FORMAT_JSON, diagnostics.to_payload())),
        },
    );
    holds(
        include_str!("../../golden/post_host_command_update.response.json"),
        &CommandStatusOutput { command_status: Some(CommandStatus::Failed) },
    );
}

#[test]
fn diagnostics_payload() {
    holds(
        include_str!("../../golden/diagnostics.payload.json"),
        &Diagnostics {
            error_code: ErrorCode::ScriptFailed,
            script_name: "scripts/validate.sh".to_owned(),
            message: "Script at specified location: scripts/validate.sh failed with exit code 3".to_owned(),
            log: "LifecycleEvent - ValidateService\nScript - scripts/validate.sh\n\
                  [stderr]the page says “hello, wörld”\n"
                .to_owned(),
        },
    );
}

#[test]
fn command_status_names() {
    let names = [
        (CommandStatus::Pending, "Pending"),
        (CommandStatus::InProgress, "InProgress"),
        (CommandStatus::Succeeded, "Succeeded"),
        (CommandStatus::Failed, "Failed"),
    ];
    for (status, name) in names {
        holds(&format!("{name:?}"), &status);
    }
    assert!(serde_json::from_str::<CommandStatus>("\"succeeded\"").is_err(), "names are case-sensitive");
}

#[test]
fn error_body() {
    holds(
        include_str!("../../golden/error.json"),
        &ErrorBody { kind: "ClientException".to_owned(), message: "The host command is not known.".to_owned() },
    );
}

#[test]
fn errors_of_other_services_are_read_too() {
    let spaced: ErrorBody =
        serde_json::from_str(r#"{"__type":"com.amazonaws.codedeploy#ThrottlingException","Message":"Rate exceeded"}"#)
            .unwrap();
    assert_eq!(spaced.name(), "ThrottlingException");
    assert_eq!(spaced.message, "Rate exceeded");
    assert_eq!(serde_json::from_str::<ErrorBody>("{}").unwrap().name(), "");
}

fn hello_web(deployment_id: &str, group: [&str; 2], revision: Revision) -> DeploymentSpecification {
    DeploymentSpecification {
        deployment_id: Some(deployment_id.to_owned()),
        deployment_group_id: Some(group[0].to_owned()),
        deployment_group_name: Some(group[1].to_owned()),
        application_name: Some("hello-web".to_owned()),
        revision: Some(revision),
        ..DeploymentSpecification::default()
    }
}

const PRODUCTION: [&str; 2] = ["0f3d4c5a-9a53-4a4c-8d3f-2f6f0d1f7a10", "production"];

#[test]
fn specification_with_every_member_for_s3() {
    let revision = Revision {
        revision_type: Some("S3".to_owned()),
        s3_revision: Some(S3Revision {
            bucket: Some("bundles".to_owned()),
            key: Some("hello-web/2.zip".to_owned()),
            bundle_type: Some("zip".to_owned()),
            version: Some("1792345678.0001".to_owned()),
            etag: Some("9a0364b9e99bb480dd25e1f0284c8555".to_owned()),
            checksum_sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned()),
        }),
        ..Revision::default()
    };
    let events = ["ApplicationStop", "DownloadBundle", "Install", "WarmUp"];
    holds(
        include_str!("../../golden/specification.s3.json"),
        &DeploymentSpecification {
            deployment_creator: Some("codeDeployRollback".to_owned()),
            deployment_type: Some("IN_PLACE".to_owned()),
            app_spec_filename: Some("appspec.yml".to_owned()),
            agent_action_overrides: Some(AgentActionOverrides {
                agent_overrides: Some(AgentOverrides { file_exists_behavior: Some("DISALLOW".to_owned()) }),
            }),
            all_possible_lifecycle_events: Some(events.map(str::to_owned).to_vec()),
            reuse_archive_from_deployment_id: Some("d-OLD123OLD".to_owned()),
            binding: Some(Binding {
                host_identifier: "arn:aws:iam::111122223333:user/host-1".to_owned(),
                issued_at: 1_792_345_678,
                expires_at: 1_792_349_278,
                sequence: 1_792_345_600_123,
            }),
            ..hello_web("d-ABC123DEF", PRODUCTION, revision)
        },
    );
}

#[test]
fn specification_without_a_version_says_null() {
    let revision = Revision {
        revision_type: Some("S3".to_owned()),
        s3_revision: Some(S3Revision {
            bucket: Some("bundles".to_owned()),
            key: Some("hello-web/1.tgz".to_owned()),
            bundle_type: Some("tgz".to_owned()),
            ..S3Revision::default()
        }),
        ..Revision::default()
    };
    holds(
        include_str!("../../golden/specification.s3.unversioned.json"),
        &hello_web("d-ABC123DEF", PRODUCTION, revision),
    );
}

#[test]
fn specification_for_github() {
    let revision = Revision {
        revision_type: Some("GitHub".to_owned()),
        github_revision: Some(GitHubRevision {
            account: Some("example".to_owned()),
            repository: Some("hello-web".to_owned()),
            commit_id: Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned()),
            bundle_type: Some("tar".to_owned()),
        }),
        ..Revision::default()
    };
    let arn = "arn:aws:codedeploy:eu-west-1:123456789012:deployment/d-ABC123DEF";
    holds(
        include_str!("../../golden/specification.github.json"),
        &DeploymentSpecification {
            github_access_token: Some("ghp_notARealTokenAtAll".to_owned()),
            ..hello_web(arn, PRODUCTION, revision)
        },
    );
}

#[test]
fn specification_for_a_local_deploy() {
    let revision = Revision {
        revision_type: Some("Local Directory".to_owned()),
        local_revision: Some(LocalRevision {
            location: Some("/srv/hello-web".to_owned()),
            bundle_type: Some("directory".to_owned()),
        }),
        ..Revision::default()
    };
    holds(
        include_str!("../../golden/specification.local.json"),
        &hello_web("d-ABC123DEF-local", ["default-local-deployment-group", "LocalFleet"], revision),
    );
}
