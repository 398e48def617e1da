//! An agent as the protocol page describes it, without a host under it.

use std::sync::Arc;

use serde_json::{Value, json};
use slipway_protocol::commands::HostCommand;

use crate::caller::Caller;
use crate::commands;
use crate::error::ApiError;
use crate::service::Service;

/// What a host does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Runs it, well.
    Succeed,
    /// Has no scripts for it.
    Noop,
    /// Runs it, badly.
    Fail,
}

pub(super) type Script = Arc<dyn Fn(&str, &str) -> Behaviour + Send + Sync>;

#[derive(Clone)]
pub(super) struct Agent {
    pub(super) service: Service,
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) version: &'static str,
}

impl Agent {
    pub(super) fn new(service: Service, name: &str, arn: &str) -> Self {
        Self { service, name: name.to_owned(), arn: arn.to_owned(), version: "slipway-agent/0.1.0" }
    }

    pub(super) fn caller(&self) -> Caller {
        Caller::Host { access_key_id: format!("AKIA{}", self.name), host_arn: self.arn.clone() }
    }

    pub(super) async fn call(&self, operation: &str, input: Value) -> Result<Value, ApiError> {
        let body = input.to_string();
        commands::handle(&self.service, &self.caller(), Some(self.version), operation, body.as_bytes()).await
    }

    pub(super) async fn poll(&self) -> Option<HostCommand> {
        let answer = self.call("PollHostCommand", json!({ "HostIdentifier": self.arn })).await.unwrap();
        let command: Option<HostCommand> =
            serde_json::from_value(answer.get("HostCommand").cloned().unwrap_or_default()).unwrap();
        if let Some(command) = &command {
            assert_eq!(command.host_identifier, self.arn);
        }
        command
    }

    /// Polls until there is a command of this name.
    pub(super) async fn expect(&self, event: &str) -> HostCommand {
        let command = self.poll().await.unwrap_or_else(|| panic!("{} got no command, not {event}", self.name));
        assert_eq!(command.command_name, event, "{}", self.name);
        command
    }

    pub(super) async fn acknowledge(&self, command: &HostCommand, noop: bool) -> String {
        let input = json!({
            "HostCommandIdentifier": command.host_command_identifier,
            "Diagnostics": { "Format": "JSON", "Payload": json!({ "IsCommandNoop": noop }).to_string() },
        });
        let answer = self.call("PutHostCommandAcknowledgement", input).await.unwrap();
        answer["CommandStatus"].as_str().unwrap().to_owned()
    }

    pub(super) async fn complete(&self, command: &HostCommand, behaviour: Behaviour) {
        let (status, code, script, message, log) = match behaviour {
            Behaviour::Fail => {
                ("Failed", 4, "scripts/check.sh", "Script at scripts/check.sh ended with 7", "one\ntwo\nlast words")
            }
            Behaviour::Succeed | Behaviour::Noop => ("Succeeded", 0, "", "Succeeded", ""),
        };
        let payload = json!({ "error_code": code, "script_name": script, "message": message, "log": log });
        let input = json!({
            "HostCommandIdentifier": command.host_command_identifier,
            "CommandStatus": status,
            "Diagnostics": { "Format": "JSON", "Payload": payload.to_string() },
        });
        assert_eq!(self.call("PutHostCommandComplete", input).await.unwrap(), json!({}));
    }

    /// Fetches the specification, as every agent does for every command.
    pub(super) async fn specification(&self, command: &HostCommand) -> Value {
        let input = json!({ "DeploymentExecutionId": command.deployment_execution_id, "HostIdentifier": self.arn });
        let answer = self.call("GetDeploymentSpecification", input).await.unwrap();
        assert_eq!(answer["DeploymentSystem"], "CodeDeploy");
        let envelope = &answer["DeploymentSpecification"]["GenericEnvelope"];
        assert_eq!(envelope["Format"], "PKCS7/JSON");
        content(envelope["Payload"].as_str().unwrap())
    }

    /// One event from poll to completion.
    pub(super) async fn handle(&self, command: &HostCommand, behaviour: Behaviour) {
        self.specification(command).await;
        let noop = behaviour == Behaviour::Noop;
        match self.acknowledge(command, noop).await.as_str() {
            "InProgress" => self.complete(command, behaviour).await,
            "Succeeded" => assert!(noop),
            "Failed" => {}
            other => panic!("acknowledgement was answered with {other}"),
        }
    }

    /// The next event, which must be this one, from poll to completion.
    pub(super) async fn step(&self, event: &str, behaviour: Behaviour) {
        let command = self.expect(event).await;
        self.handle(&command, behaviour).await;
    }

    /// Works on one deployment until it is given a command of another, which is left to its lease.
    pub(super) async fn work(self, deployment: String, behave: Script) {
        loop {
            let Some(command) = self.poll().await else { continue };
            if !command.deployment_execution_id.ends_with(&deployment) {
                return;
            }
            self.handle(&command, behave(&self.name, &command.command_name)).await;
        }
    }
}

/// The JSON inside of a CMS SignedData. Whether the signature holds is tested with the signer.
fn content(pem: &str) -> Value {
    use cms::content_info::ContentInfo;
    use cms::signed_data::SignedData;
    use der::asn1::OctetString;
    use der::{Decode, Document};

    let (label, document) = Document::from_pem(pem).unwrap();
    assert_eq!(label, "PKCS7");
    let info = ContentInfo::from_der(document.as_bytes()).unwrap();
    let data: SignedData = info.content.decode_as().unwrap();
    let octets = data.encap_content_info.econtent.unwrap();
    let octets = OctetString::from_der(&der::Encode::to_der(&octets).unwrap()).unwrap();
    serde_json::from_slice(octets.as_bytes()).unwrap()
}
