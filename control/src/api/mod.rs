//! The public API: what operators, their tools and their pipelines ask.

mod applications;
mod configs;
mod deployments;
mod group_wishes;
mod groups;
mod instances;
mod resource_tags;
mod revisions;
mod structures;
mod targets;

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use crate::caller::Caller;
use crate::deployments::Target;
use crate::error::ApiError;
use crate::service::Service;
use crate::text::UnknownWord;

/// Longest description, in characters.
const LONGEST_DESCRIPTION: usize = 256;

/// Answers one call.
///
/// # Errors
/// Those that the API reference gives for the operation; `AccessDeniedException` (403) for a host's
/// key, one that says that it is not supported (400) for what is not there yet, `UnknownOperationException`
/// (404) for what there is not.
pub async fn handle(service: &Service, caller: &Caller, operation: &str, body: &[u8]) -> Result<Value, ApiError> {
    if let Caller::Host { access_key_id, host_arn } = caller {
        return Err(ApiError {
            status: 403,
            name: "AccessDeniedException".to_owned(),
            message: format!(
                "The access key {access_key_id} belongs to the agent of {host_arn} and may not use the public API; use \
                 an administrator's key (`slipway-control keys create --administrator NAME`)."
            ),
        });
    }
    match operation {
        "AddTagsToOnPremisesInstances" => instances::add_tags(service, parse(body)?).await,
        "BatchGetApplicationRevisions" => revisions::batch_get(service, parse(body)?).await,
        "BatchGetApplications" => applications::batch_get(service, parse(body)?).await,
        "BatchGetDeploymentGroups" => groups::batch_get(service, parse(body)?).await,
        "BatchGetDeploymentInstances" => targets::batch_get_instances(service, parse(body)?).await,
        "BatchGetDeploymentTargets" => targets::batch_get_targets(service, parse(body)?).await,
        "BatchGetDeployments" => deployments::batch_get(service, parse(body)?).await,
        "BatchGetOnPremisesInstances" => instances::batch_get(service, parse(body)?).await,
        "CreateApplication" => applications::create(service, parse(body)?).await,
        "CreateDeployment" => deployments::create(service, parse(body)?).await,
        "CreateDeploymentConfig" => configs::create(service, parse(body)?).await,
        "CreateDeploymentGroup" => groups::create(service, parse(body)?).await,
        "DeleteApplication" => applications::delete(service, parse(body)?).await,
        "DeleteDeploymentConfig" => configs::delete(service, parse(body)?).await,
        "DeleteDeploymentGroup" => groups::delete(service, parse(body)?).await,
        "DeregisterOnPremisesInstance" => instances::deregister(service, parse(body)?).await,
        "GetApplication" => applications::get(service, parse(body)?).await,
        "GetApplicationRevision" => revisions::get(service, parse(body)?).await,
        "GetDeployment" => deployments::get(service, parse(body)?).await,
        "GetDeploymentConfig" => configs::get(service, parse(body)?).await,
        "GetDeploymentGroup" => groups::get(service, parse(body)?).await,
        "GetDeploymentInstance" => targets::get_instance(service, parse(body)?).await,
        "GetDeploymentTarget" => targets::get_target(service, parse(body)?).await,
        "GetOnPremisesInstance" => instances::get(service, parse(body)?).await,
        "ListApplicationRevisions" => revisions::list(service, parse(body)?).await,
        "ListApplications" => applications::list(service, parse(body)?).await,
        "ListDeploymentConfigs" => configs::list(service, parse(body)?).await,
        "ListDeploymentGroups" => groups::list(service, parse(body)?).await,
        "ListDeploymentInstances" => targets::list_instances(service, parse(body)?).await,
        "ListDeploymentTargets" => targets::list_targets(service, parse(body)?).await,
        "ListDeployments" => deployments::list(service, parse(body)?).await,
        "ListOnPremisesInstances" => instances::list(service, parse(body)?).await,
        "ListTagsForResource" => resource_tags::list(service, parse(body)?).await,
        "RegisterApplicationRevision" => revisions::register(service, parse(body)?).await,
        "RegisterOnPremisesInstance" => instances::register(service, parse(body)?).await,
        "RemoveTagsFromOnPremisesInstances" => instances::remove_tags(service, parse(body)?).await,
        "StopDeployment" => deployments::stop(service, parse(body)?).await,
        "TagResource" => resource_tags::tag(service, parse(body)?).await,
        "UntagResource" => resource_tags::untag(service, parse(body)?).await,
        "UpdateApplication" => applications::update(service, parse(body)?).await,
        "UpdateDeploymentGroup" => groups::update(service, parse(body)?).await,
        "ContinueDeployment" | "SkipWaitTimeForInstanceTermination" => {
            let why = "this service deploys in place only, and blue/green is not there yet";
            Err(not_there(operation, "UnsupportedActionForDeploymentTypeException", why))
        }
        "PutLifecycleEventHookExecutionStatus" => {
            let why = "it belongs to deployments of Lambda functions and ECS services";
            Err(not_there(operation, "UnsupportedActionForDeploymentTypeException", why))
        }
        "DeleteGitHubAccountToken" | "ListGitHubAccountTokenNames" => {
            let why = "this service keeps no GitHub tokens; public repositories need none";
            Err(not_there(operation, "OperationNotSupportedException", why))
        }
        // The model has no error for it.
        "DeleteResourcesByExternalId" => {
            Err(not_there(operation, "OperationNotSupportedException", "it belongs to AWS CloudFormation"))
        }
        other => Err(ApiError {
            status: 404,
            name: "UnknownOperationException".to_owned(),
            message: format!("The CodeDeploy API has no operation {other:.100}."),
        }),
    }
}

/// The API's `LifecycleEventList` of a deployment's host.
///
/// # Errors
/// Those of the database.
pub async fn lifecycle_events(db: &mut SqliteConnection, target: &Target) -> Result<Vec<Value>, ApiError> {
    targets::events(db, target).await
}

fn not_there(operation: &str, name: &str, why: &str) -> ApiError {
    ApiError::client(name, format!("{operation} is not supported: {why}."))
}

/// A request's members. An empty body is one without members.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    let wrong = |why: String| {
        ApiError::client("SerializationException", format!("The request is not as the API has it: {why}."))
    };
    let request: Value = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    structures::check(&request).map_err(wrong)?;
    serde_json::from_value(request).map_err(|error| wrong(error.to_string()))
}

/// A member that is one of some words.
fn word<T: FromStr<Err = UnknownWord>>(member: Option<String>, error: &str) -> Result<Option<T>, ApiError> {
    member
        .map(|text| text.parse().map_err(|unknown: UnknownWord| ApiError::client(error, unknown.to_string())))
        .transpose()
}

/// A member that is a list of words.
fn words<T: FromStr<Err = UnknownWord>>(member: Option<Vec<String>>, error: &str) -> Result<Option<Vec<T>>, ApiError> {
    let parse =
        |text: String| text.parse().map_err(|unknown: UnknownWord| ApiError::client(error, unknown.to_string()));
    member.map(|list| list.into_iter().map(parse).collect()).transpose()
}

/// A list that must have items, and not too many.
fn batch<T>(items: Option<Vec<T>>, most: usize, names: (&str, &str)) -> Result<Vec<T>, ApiError> {
    let (missing, too_many) = names;
    match items {
        Some(items) if items.len() > most => Err(ApiError::client(
            too_many,
            format!("The request names {} items; at most {most} can be asked for at a time.", items.len()),
        )),
        Some(items) if !items.is_empty() => Ok(items),
        _ => Err(ApiError::client(missing, "The request names no items.")),
    }
}

fn description(text: Option<String>) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if text.chars().count() > LONGEST_DESCRIPTION => Err(ApiError::client(
            "DescriptionTooLongException",
            format!("The description has {} characters; at most {LONGEST_DESCRIPTION} are kept.", text.chars().count()),
        )),
        other => Ok(other),
    }
}
