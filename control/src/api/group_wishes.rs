//! What users wish of a deployment group, and what of it this service can do.

use serde::Deserialize;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use crate::apps::configs;
use crate::apps::groups::GroupSettings;
use crate::apps::rollback_rule::{AutoRollback, RollbackEvent};
use crate::error::ApiError;
use crate::tags::{MOST_FILTERS, MOST_SETS, Selection, TagFilter, WireFilter};

/// What CreateDeploymentGroup and UpdateDeploymentGroup have in common. A member that is not there
/// leaves what there is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wishes {
    deployment_config_name: Option<String>,
    ec2_tag_filters: Option<Vec<WireFilter>>,
    on_premises_instance_tag_filters: Option<Vec<WireFilter>>,
    auto_scaling_groups: Option<Vec<String>>,
    pub(super) service_role_arn: Option<String>,
    trigger_configurations: Option<Vec<Value>>,
    alarm_configuration: Option<AlarmInput>,
    auto_rollback_configuration: Option<RollbackInput>,
    outdated_instances_strategy: Option<String>,
    deployment_style: Option<StyleInput>,
    blue_green_deployment_configuration: Option<Value>,
    load_balancer_info: Option<Value>,
    ec2_tag_set: Option<Ec2SetInput>,
    on_premises_tag_set: Option<OnPremisesSetInput>,
    ecs_services: Option<Vec<Value>>,
    ec2_deployment_options: Option<Value>,
    termination_hook_enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AlarmInput {
    enabled: bool,
}

impl AlarmInput {
    /// Alarms are not watched, and a deployment that relies on them must not go on without.
    pub(super) fn refuse_if_enabled(self) -> Result<(), ApiError> {
        if self.enabled {
            return Err(ApiError::client(
                "InvalidAlarmConfigException",
                "This service watches no alarms yet: leave the alarm configuration out, or switch it off.",
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RollbackInput {
    enabled: bool,
    events: Option<Vec<String>>,
}

impl RollbackInput {
    pub(super) fn rule(self) -> Result<AutoRollback, ApiError> {
        let events: Option<Vec<RollbackEvent>> = super::words(self.events, "InvalidAutoRollbackConfigException")?;
        let events = events.unwrap_or_default();
        if self.enabled && events.contains(&RollbackEvent::StopOnAlarm) {
            return Err(ApiError::client(
                "InvalidAutoRollbackConfigException",
                "This service watches no alarms yet, so DEPLOYMENT_STOP_ON_ALARM would never roll back: leave the event out.",
            ));
        }
        AutoRollback { enabled: self.enabled, events }.from_request()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StyleInput {
    deployment_type: Option<String>,
    deployment_option: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ec2SetInput {
    ec2_tag_set_list: Option<Vec<Vec<WireFilter>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OnPremisesSetInput {
    on_premises_tag_set_list: Option<Vec<Vec<WireFilter>>>,
}

/// Names of errors about one kind of tags.
struct TagErrors {
    invalid: &'static str,
    combination: &'static str,
}

const EC2: TagErrors =
    TagErrors { invalid: "InvalidEC2TagException", combination: "InvalidEC2TagCombinationException" };
const ON_PREMISES: TagErrors =
    TagErrors { invalid: "InvalidTagException", combination: "InvalidOnPremisesTagCombinationException" };

impl Wishes {
    /// Refuses what this service cannot do, so that nobody relies on it.
    fn refuse_unsupported(&mut self) -> Result<(), ApiError> {
        let refuse = |name: &str, message: &str| Err(ApiError::client(name, message));
        let is_there = |value: &Option<Value>| {
            value.as_ref().is_some_and(|value| value.as_object().is_none_or(|members| !members.is_empty()))
        };
        let StyleInput { deployment_type, deployment_option } = self.deployment_style.take().unwrap_or_default();
        if deployment_type.is_some_and(|kind| kind != "IN_PLACE") {
            return refuse(
                "InvalidDeploymentStyleException",
                "This service deploys IN_PLACE only; BLUE_GREEN is not there yet.",
            );
        }
        if deployment_option.is_some_and(|option| option != "WITHOUT_TRAFFIC_CONTROL") {
            return refuse(
                "InvalidDeploymentStyleException",
                "This service deploys WITHOUT_TRAFFIC_CONTROL only; load balancers are not there yet.",
            );
        }
        if is_there(&self.blue_green_deployment_configuration) {
            return refuse(
                "InvalidBlueGreenDeploymentConfigurationException",
                "Blue/green deployments are not there yet; leave blueGreenDeploymentConfiguration out.",
            );
        }
        if is_there(&self.load_balancer_info) {
            return refuse(
                "InvalidLoadBalancerInfoException",
                "Load balancers are not there yet; leave loadBalancerInfo out.",
            );
        }
        if self.trigger_configurations.as_ref().is_some_and(|triggers| !triggers.is_empty()) {
            return refuse(
                "InvalidTriggerConfigException",
                "Triggers are not there yet; leave triggerConfigurations out.",
            );
        }
        if self.ecs_services.as_ref().is_some_and(|services| !services.is_empty()) {
            return refuse("InvalidECSServiceException", "This service deploys to hosts, not to ECS services.");
        }
        if is_there(&self.ec2_deployment_options) {
            return refuse("InvalidInputException", "ec2DeploymentOptions are not there yet; leave them out.");
        }
        if self.termination_hook_enabled == Some(true) {
            return refuse(
                "InvalidInputException",
                "Termination hooks belong to Auto Scaling groups, which are not there yet; leave terminationHookEnabled out.",
            );
        }
        let has_filters = self.ec2_tag_filters.as_ref().is_some_and(|filters| !filters.is_empty());
        let sets = self.ec2_tag_set.as_ref().and_then(|set| set.ec2_tag_set_list.as_ref());
        if has_filters || sets.is_some_and(|sets| !sets.is_empty()) {
            return refuse(
                "InvalidEC2TagException",
                "EC2 tags match no host of this service yet: register the hosts as on-premises instances \
                 (`slipway-control host-config`), and give onPremisesInstanceTagFilters.",
            );
        }
        if self.auto_scaling_groups.as_ref().is_some_and(|groups| !groups.is_empty()) {
            return refuse(
                "InvalidAutoScalingGroupException",
                "Auto Scaling groups match no host of this service yet: register the hosts as on-premises instances \
                 (`slipway-control host-config`), and give onPremisesInstanceTagFilters.",
            );
        }
        self.alarm_configuration.take().unwrap_or_default().refuse_if_enabled()
    }

    /// Puts the wishes into a group's settings.
    pub(super) async fn apply(
        mut self,
        db: &mut SqliteConnection,
        settings: &mut GroupSettings,
    ) -> Result<(), ApiError> {
        self.refuse_unsupported()?;
        if let Some(name) = self.deployment_config_name {
            let name = super::configs::optional_name(name)?;
            settings.deployment_config_name = configs::find(db, name.as_str()).await?.name;
        }
        if let Some(arn) = self.service_role_arn {
            // Creating a group has asked for one already.
            let is_empty = arn.is_empty();
            settings.service_role_arn = role(Some(arn)).map_err(|error| match is_empty {
                true => {
                    ApiError::client("InvalidRoleException", "serviceRoleArn is empty; leave it out to keep the role.")
                }
                false => error,
            })?;
        }
        let ec2_sets = self.ec2_tag_set.map(|set| set.ec2_tag_set_list.unwrap_or_default());
        if let Some(selection) = selection(self.ec2_tag_filters, ec2_sets, &EC2)? {
            settings.ec2 = selection;
        }
        let sets = self.on_premises_tag_set.map(|set| set.on_premises_tag_set_list.unwrap_or_default());
        if let Some(selection) = selection(self.on_premises_instance_tag_filters, sets, &ON_PREMISES)? {
            settings.on_premises = selection;
        }
        if let Some(names) = self.auto_scaling_groups {
            settings.auto_scaling_groups = names;
        }
        if let Some(rollback) = self.auto_rollback_configuration {
            settings.auto_rollback = rollback.rule()?;
        }
        if let Some(strategy) = super::word(self.outdated_instances_strategy, "InvalidInputException")? {
            settings.outdated_instances = strategy;
        }
        settings.termination_hook_enabled = self.termination_hook_enabled.or(settings.termination_hook_enabled);
        Ok(())
    }
}

pub(super) fn role(arn: Option<String>) -> Result<String, ApiError> {
    let arn = arn
        .filter(|arn| !arn.is_empty())
        .ok_or_else(|| ApiError::client("RoleRequiredException", "serviceRoleArn is missing from the request."))?;
    if !arn.starts_with("arn:") || arn.len() > 2048 {
        return Err(ApiError::client(
            "InvalidRoleException",
            format!(
                "serviceRoleArn {arn:.300?} is no ARN. This service needs no role; any arn:aws:iam::<account>:role/<name> will do."
            ),
        ));
    }
    Ok(arn)
}

fn selection(
    filters: Option<Vec<WireFilter>>,
    sets: Option<Vec<Vec<WireFilter>>>,
    errors: &TagErrors,
) -> Result<Option<Selection>, ApiError> {
    let parse = |filters: Vec<WireFilter>| -> Result<Vec<TagFilter>, ApiError> {
        if filters.len() > MOST_FILTERS {
            return Err(ApiError::client(
                errors.invalid,
                format!("At most {MOST_FILTERS} tag filters can stand together."),
            ));
        }
        let parsed = filters.into_iter().map(TagFilter::try_from).collect::<Result<Vec<_>, _>>();
        parsed.map_err(|reason| ApiError::client(errors.invalid, reason))
    };
    Ok(match (filters, sets) {
        (None, None) => None,
        (Some(filters), Some(sets)) if !filters.is_empty() && !sets.is_empty() => {
            return Err(ApiError::client(
                errors.combination,
                "Give tag filters or a tag set, not both; filters are the same as one set.",
            ));
        }
        (_, Some(sets)) if !sets.is_empty() => {
            if sets.len() > MOST_SETS {
                return Err(ApiError::client(
                    "TagSetListLimitExceededException",
                    format!("A tag set has {} groups; at most {MOST_SETS} can be given.", sets.len()),
                ));
            }
            Some(Selection::Each(sets.into_iter().map(parse).collect::<Result<_, _>>()?))
        }
        (Some(filters), _) if !filters.is_empty() => Some(Selection::Any(parse(filters)?)),
        _ => Some(Selection::Nothing),
    })
}
