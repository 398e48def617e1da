//! Operations on deployment configurations.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::apps::configs;
use crate::error::ApiError;
use crate::health::{MinimumHealthy, MinimumType};
use crate::ids::ConfigName;
use crate::page::{Page, Start};
use crate::service::Service;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CreateInput {
    deployment_config_name: Option<String>,
    minimum_healthy_hosts: Option<MinimumInput>,
    traffic_routing_config: Option<Value>,
    compute_platform: Option<String>,
    zonal_config: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MinimumInput {
    #[serde(rename = "type")]
    kind: Option<String>,
    value: Option<i64>,
}

pub(super) async fn create(service: &Service, input: CreateInput) -> Result<Value, ApiError> {
    let name = ConfigName::from_request(input.deployment_config_name)?;
    if input.compute_platform.as_deref().is_some_and(|platform| platform != "Server") {
        return Err(ApiError::client(
            "InvalidComputePlatformException",
            "This service deploys to hosts: computePlatform is Server.",
        ));
    }
    if input.traffic_routing_config.is_some() {
        return Err(ApiError::client(
            "InvalidTrafficRoutingConfigurationException",
            "Traffic routing belongs to Lambda functions and ECS services; give minimumHealthyHosts.",
        ));
    }
    if input.zonal_config.is_some() {
        return Err(ApiError::client(
            "InvalidZonalDeploymentConfigurationException",
            "Zonal configurations are not supported by this service yet; leave zonalConfig out.",
        ));
    }
    let minimum = minimum(input.minimum_healthy_hosts)?;
    let mut change = service.change().await?;
    let id = configs::create(change.db(), &name, minimum).await?;
    change.commit().await?;
    Ok(json!({ "deploymentConfigId": id }))
}

fn minimum(input: Option<MinimumInput>) -> Result<MinimumHealthy, ApiError> {
    let invalid = |message: &str| ApiError::client("InvalidMinimumHealthyHostValueException", message);
    let input = input.ok_or_else(|| invalid("minimumHealthyHosts is missing from the request."))?;
    let value = input
        .value
        .and_then(|value| u32::try_from(value).ok())
        .ok_or_else(|| invalid("minimumHealthyHosts.value is a number of 0 or more."))?;
    match input.kind.as_deref() {
        Some("HOST_COUNT") => Ok(MinimumHealthy { kind: MinimumType::HostCount, value }),
        Some("FLEET_PERCENT") if value <= 99 => Ok(MinimumHealthy { kind: MinimumType::FleetPercent, value }),
        Some("FLEET_PERCENT") => Err(invalid("minimumHealthyHosts.value is 0 to 99 with the type FLEET_PERCENT.")),
        _ => Err(invalid("minimumHealthyHosts.type is HOST_COUNT or FLEET_PERCENT.")),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NameInput {
    deployment_config_name: Option<String>,
}

pub(super) async fn get(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let name = ConfigName::from_request(input.deployment_config_name)?;
    let config = configs::find(&mut *service.pool().acquire().await?, name.as_str()).await?;
    Ok(json!({ "deploymentConfigInfo": config.info() }))
}

pub(super) async fn delete(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let name = ConfigName::from_request(input.deployment_config_name)?;
    let mut change = service.change().await?;
    configs::delete(change.db(), &name).await?;
    change.commit().await?;
    Ok(json!({}))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListInput {
    next_token: Option<String>,
}

pub(super) async fn list(service: &Service, input: ListInput) -> Result<Value, ApiError> {
    let start = Start::from_request(input.next_token, "ListDeploymentConfigs", &())?;
    let names = configs::names(&mut *service.pool().acquire().await?).await?;
    Ok(Page::of(names, &start, |name| (built_in_place(name), name.clone()))?.answer("deploymentConfigsList"))
}

/// The built-in ones come first, in the order of the reference.
fn built_in_place(name: &str) -> usize {
    configs::built_in().iter().position(|config| config.name == name).unwrap_or(usize::MAX)
}

/// The name of a configuration where it may be left out: an empty one is not a missing one.
pub(super) fn optional_name(name: String) -> Result<ConfigName, ApiError> {
    ConfigName::from_request(Some(name)).map_err(|error| {
        let message = "deploymentConfigName is empty; leave it out to have the default.";
        match error.name.as_str() {
            "DeploymentConfigNameRequiredException" => {
                ApiError::client("InvalidDeploymentConfigNameException", message)
            }
            _ => error,
        }
    })
}
