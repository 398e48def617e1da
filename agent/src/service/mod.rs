//! Client of the commands service.

pub mod error;
pub mod target;
mod wire_log;

use ::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use ::http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipway_protocol::commands::{
    Acknowledgement, CommandStatus, CommandStatusOutput, Envelope, GetDeploymentSpecificationInput,
    GetDeploymentSpecificationOutput, HostCommand, PollHostCommandInput, PollHostCommandOutput,
    PostHostCommandUpdateInput, PutHostCommandAcknowledgementInput, PutHostCommandCompleteInput, operation,
};
use slipway_protocol::diagnostics::Diagnostics;
use slipway_protocol::wire;
use url::Url;

pub use error::{Asked, ServiceError};
pub use target::{Fips, Flavor, Target};
pub use wire_log::WireLog;

use crate::http::{self, Client};
use crate::identity::{self, Access, Host, Provider, Scope};

/// Longest answer that is read, in bytes: a specification in its envelope and some room.
const MAX_ANSWER: usize = 2 * wire::MAX_SPECIFICATION;
/// Has the form of an execution id, and is none.
const NO_DEPLOYMENT: &str = "none/none/none/none";

/// The commands service as one host sees it.
#[derive(Debug)]
pub struct CommandsService {
    client: Client,
    target: Target,
    flavor: Flavor,
    provider: Provider,
    manner: Manner,
}

/// How it is spoken with.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What goes into the agent version header.
    pub version: String,
    /// Whether what is said is logged.
    pub wire: WireLog,
}

impl CommandsService {
    /// A client as the host that `provider` knows.
    pub fn new(client: Client, target: Target, flavor: Flavor, provider: Provider, manner: Manner) -> Self {
        Self { client, target, flavor, provider, manner }
    }

    /// Where it is for a host.
    pub fn endpoint(&self, host: &Host) -> Result<Url, ServiceError> {
        self.target.endpoint(self.flavor, host).map_err(ServiceError::NoEndpoint)
    }

    /// Who asks, and with which credentials.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The next command, if there is one. The service may hold the request open until there is.
    pub async fn poll(&self) -> Result<Option<HostCommand>, ServiceError> {
        let input = PollHostCommandInput { host_identifier: self.provider.host().await?.identifier.clone() };
        let output: PollHostCommandOutput = self.call(operation::POLL_HOST_COMMAND, &input).await?;
        Ok(output.host_command)
    }

    /// Whether this host may poll, without taking a command: one request lacks what a poll needs, and the other asks
    /// for a deployment that cannot be. Who may not ask is refused before what is asked is looked at.
    pub async fn try_permission(&self) -> Result<(), ServiceError> {
        let input = GetDeploymentSpecificationInput {
            deployment_execution_id: NO_DEPLOYMENT.to_owned(),
            host_identifier: self.provider.host().await?.identifier.clone(),
        };
        let poll = self.call::<_, serde_json::Value>(operation::POLL_HOST_COMMAND, &serde_json::json!({})).await;
        let specification = self.call::<_, serde_json::Value>(operation::GET_DEPLOYMENT_SPECIFICATION, &input).await;
        [poll, specification].into_iter().try_for_each(|answer| match answer {
            Ok(_) | Err(ServiceError::Client { .. }) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// The envelope of a command's deployment specification, unverified.
    pub async fn specification(&self, command: &HostCommand) -> Result<Envelope, ServiceError> {
        let input = GetDeploymentSpecificationInput {
            deployment_execution_id: command.deployment_execution_id.clone(),
            host_identifier: self.provider.host().await?.identifier.clone(),
        };
        let output: GetDeploymentSpecificationOutput =
            self.call(operation::GET_DEPLOYMENT_SPECIFICATION, &input).await?;
        if let Some(system) = output.deployment_system.as_deref()
            && system != "CodeDeploy"
        {
            return Err(ServiceError::Unusable(format!(
                "the deployment system is {system:?}, expected \"CodeDeploy\""
            )));
        }
        output
            .deployment_specification
            .and_then(|specification| specification.generic_envelope)
            .ok_or_else(|| ServiceError::Unusable("the answer holds no deployment specification".to_owned()))
    }

    /// Says that a command was taken; the answer tells whether to run it.
    pub async fn acknowledge(
        &self,
        command: &HostCommand,
        acknowledgement: Acknowledgement,
    ) -> Result<Option<CommandStatus>, ServiceError> {
        let payload = serde_json::to_string(&acknowledgement)
            .map_err(|error| ServiceError::Unusable(format!("the acknowledgement is not JSON: {error}")))?;
        let input = PutHostCommandAcknowledgementInput {
            host_command_identifier: command.host_command_identifier.clone(),
            diagnostics: Some(Envelope::new(wire::FORMAT_JSON, payload)),
        };
        let output: CommandStatusOutput = self.call(operation::PUT_HOST_COMMAND_ACKNOWLEDGEMENT, &input).await?;
        Ok(output.command_status)
    }

    /// Reports a command's result.
    pub async fn complete(
        &self,
        command: &str,
        status: CommandStatus,
        diagnostics: &Diagnostics,
    ) -> Result<(), ServiceError> {
        let input = PutHostCommandCompleteInput {
            host_command_identifier: command.to_owned(),
            command_status: status,
            diagnostics: Some(Envelope::new(wire::FORMAT_JSON, diagnostics.to_payload())),
        };
        let _: serde_json::Value = self.call(operation::PUT_HOST_COMMAND_COMPLETE, &input).await?;
        Ok(())
    }

    /// Reports a command's progress.
    pub async fn update(&self, command: &str, diagnostics: &Diagnostics) -> Result<(), ServiceError> {
        let input = PostHostCommandUpdateInput {
            host_command_identifier: command.to_owned(),
            estimated_completion_time: None,
            diagnostics: Some(Envelope::new(wire::FORMAT_JSON, diagnostics.to_payload())),
        };
        let _: serde_json::Value = self.call(operation::POST_HOST_COMMAND_UPDATE, &input).await?;
        Ok(())
    }

    async fn call<I: Serialize, O: DeserializeOwned>(&self, operation: &str, input: &I) -> Result<O, ServiceError> {
        let body = serde_json::to_vec(input)
            .map_err(|error| ServiceError::Unusable(format!("the request is not JSON: {error}")))?;
        let access = self.provider.access().await?;
        let request = self.request(operation, body, &access).await?;
        let said = self.manner.wire.request(operation, &request);
        let answer = self.client.send(request).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = http::read_body(answer, MAX_ANSWER).await?;
        said.answer(status, &headers, &body);
        if status != StatusCode::OK {
            let host = self.provider.host().await?.identifier.clone();
            let asked = Asked { operation: operation.to_owned(), caller: access.caller(), host };
            let error = ServiceError::from_answer(asked, status, &headers, &said.tellable(&body));
            if matches!(error, ServiceError::Unaccepted { .. }) {
                self.provider.refused().await;
            }
            // What was refused may have been replaced while the service held the request.
            return Err(error.in_view_of(&access, &self.provider.read_again().await?));
        }
        serde_json::from_slice(&body).map_err(|error| {
            if let Some(foreign) = http::Foreign::of(status, &headers, &said.tellable(&body)) {
                return ServiceError::Foreign(foreign);
            }
            // The error's own words can repeat what the answer holds.
            let (kind, line, column) = (error.classify(), error.line(), error.column());
            ServiceError::Unusable(format!(
                "the answer to {operation} is not what the protocol says ({kind:?} error at line {line}, column {column})"
            ))
        })
    }

    async fn request(&self, operation: &str, body: Vec<u8>, access: &Access) -> Result<reqwest::Request, ServiceError> {
        let endpoint = self.endpoint(&*self.provider.host().await?)?;
        let target = format!("{}.{operation}", self.flavor.target_prefix());
        let mut request = reqwest::Request::new(Method::POST, endpoint);
        let headers = [
            (CONTENT_TYPE, wire::CONTENT_TYPE),
            (HeaderName::from_static(wire::AGENT_VERSION_HEADER), self.manner.version.as_str()),
            (HeaderName::from_static(wire::TARGET_HEADER), target.as_str()),
        ];
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)
                .map_err(|error| ServiceError::Unusable(format!("{value:?} is no {name} header: {error}")))?;
            request.headers_mut().insert(name, value);
        }
        *request.body_mut() = Some(body.into());
        let scope = Scope { service: self.flavor.signing_name(), region: &access.region };
        identity::sign(&mut request, &access.credentials, scope, Timestamp::now())
            .map_err(|error| ServiceError::Unusable(error.to_string()))?;
        Ok(request)
    }
}
