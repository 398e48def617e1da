//! Operations on on-premises instances.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Moment;
use crate::error::ApiError;
use crate::ids::{self, InstanceName};
use crate::instances::{self, Identity, IdentityKind, Instance, Registered, Registration};
use crate::keys;
use crate::page::{self, Page, Start};
use crate::service::Service;
use crate::tags::{Selection, Tag, TagFilter, WireFilter};
use crate::text::words;

/// Most instances in one request that changes tags.
const MOST: usize = 100;
/// Most instances that can be asked for at a time.
const MOST_ASKED_FOR: usize = 25;

words! {
    /// Filter of ListOnPremisesInstances.
    enum RegistrationStatus {
        Registered = "Registered",
        Deregistered = "Deregistered",
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RegisterInput {
    instance_name: Option<String>,
    iam_session_arn: Option<String>,
    iam_user_arn: Option<String>,
}

pub(super) async fn register(service: &Service, input: RegisterInput) -> Result<Value, ApiError> {
    let name = ids::instance_name(input.instance_name)?;
    let identity = match (input.iam_user_arn, input.iam_session_arn) {
        (Some(_), Some(_)) => {
            return Err(ApiError::client(
                "MultipleIamArnsProvidedException",
                "Give iamUserArn or iamSessionArn, not both.",
            ));
        }
        (None, None) => {
            return Err(ApiError::client("IamArnRequiredException", "iamUserArn or iamSessionArn is missing."));
        }
        (Some(arn), None) => identity(&arn, IdentityKind::User)?,
        (None, Some(arn)) => identity(&arn, IdentityKind::Session)?,
    };
    let registration = Registration { name, identity, tags: Vec::new() };
    match instances::register(service.pool(), service.realm(), &registration).await? {
        Registered::New => Ok(json!({})),
        Registered::Already => Err(ApiError::client(
            "InstanceNameAlreadyRegisteredException",
            format!("The instance {} is registered already, with this identity.", registration.name),
        )),
    }
}

fn identity(arn: &str, kind: IdentityKind) -> Result<Identity, ApiError> {
    let error = match kind {
        IdentityKind::User => "InvalidIamUserArnException",
        IdentityKind::Session => "InvalidIamSessionArnException",
    };
    let (service, resource) = kind.place();
    let message = || format!("{arn:.300?} is not of the form arn:aws:{service}::<12 digits>:{resource}<name>.");
    Identity::of_kind(kind, arn).ok_or_else(|| ApiError::client(error, message()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NameInput {
    instance_name: Option<String>,
}

pub(super) async fn deregister(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let name = InstanceName::from_request(input.instance_name)?;
    let mut change = service.change().await?;
    let mut ended = Vec::new();
    for arn in instances::deregister(change.db(), &name).await? {
        ended.extend(keys::revoke_of(change.db(), &arn).await?);
        // A poll that is held ends now.
        change.stir(&arn);
    }
    change.commit().await?;
    tracing::info!(instance = %name, keys = ended.join(" "), "deregistered; its keys are revoked");
    Ok(json!({}))
}

/// The API's `InstanceInfo`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceInfo {
    instance_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    iam_session_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iam_user_arn: Option<String>,
    instance_arn: String,
    register_time: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    deregister_time: Option<Moment>,
    /// Always there: `aws deploy deregister` reads it.
    tags: Vec<Tag>,
}

impl From<Instance> for InstanceInfo {
    fn from(instance: Instance) -> Self {
        let Identity { kind, arn } = instance.identity;
        let (iam_user_arn, iam_session_arn) = match kind {
            IdentityKind::User => (Some(arn), None),
            IdentityKind::Session => (None, Some(arn)),
        };
        Self {
            instance_name: instance.name,
            iam_session_arn,
            iam_user_arn,
            instance_arn: instance.arn,
            register_time: instance.registered,
            deregister_time: instance.deregistered,
            tags: instance.tags.into_iter().map(|(key, value)| Tag { key, value }).collect(),
        }
    }
}

fn not_registered(name: &InstanceName) -> ApiError {
    ApiError::client(
        "InstanceNotRegisteredException",
        format!(
            "There is no on-premises instance {name}; `aws deploy list-on-premises-instances` shows those there are."
        ),
    )
}

pub(super) async fn get(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let name = InstanceName::from_request(input.instance_name)?;
    let found = instances::by_name(&mut *service.pool().acquire().await?, name.as_str()).await?;
    let instance = found.ok_or_else(|| not_registered(&name))?;
    Ok(json!({ "instanceInfo": InstanceInfo::from(instance) }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NamesInput {
    instance_names: Option<Vec<String>>,
    tags: Option<Vec<Tag>>,
}

fn names(list: Option<Vec<String>>, most: usize, too_many: &str) -> Result<Vec<InstanceName>, ApiError> {
    let list = super::batch(list, most, ("InstanceNameRequiredException", too_many))?;
    list.into_iter().map(|name| InstanceName::from_request(Some(name))).collect()
}

/// Those that are there; others are left out, as with AWS.
pub(super) async fn batch_get(service: &Service, input: NamesInput) -> Result<Value, ApiError> {
    let names = names(input.instance_names, MOST_ASKED_FOR, "BatchLimitExceededException")?;
    let mut reader = service.pool().acquire().await?;
    let mut found = Vec::new();
    for name in names {
        found.extend(instances::by_name(&mut reader, name.as_str()).await?.map(InstanceInfo::from));
    }
    Ok(json!({ "instanceInfos": found }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListInput {
    registration_status: Option<String>,
    tag_filters: Option<Vec<WireFilter>>,
    next_token: Option<String>,
}

pub(super) async fn list(service: &Service, input: ListInput) -> Result<Value, ApiError> {
    let status = super::word(input.registration_status, "InvalidRegistrationStatusException")?;
    let start = Start::from_request(input.next_token, "ListOnPremisesInstances", &(status, &input.tag_filters))?;
    let filters = input
        .tag_filters
        .unwrap_or_default()
        .into_iter()
        .map(TagFilter::try_from)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| ApiError::client("InvalidTagFilterException", reason))?;
    let selection = if filters.is_empty() { None } else { Some(Selection::Any(filters)) };
    let all = instances::all(&mut *service.pool().acquire().await?).await?;
    let mut names: Vec<String> = all
        .into_iter()
        .filter(|instance| match status {
            None => true,
            Some(RegistrationStatus::Registered) => instance.deregistered.is_none(),
            Some(RegistrationStatus::Deregistered) => instance.deregistered.is_some(),
        })
        .filter(|instance| selection.as_ref().is_none_or(|selection| selection.matches(&instance.tags)))
        .map(|instance| instance.name)
        .filter(|name| start.after().is_none_or(|after| name.as_str() > after))
        .collect();
    names.sort();
    names.dedup();
    names.truncate(page::SIZE + 1);
    Ok(Page::cut(names, &start, String::clone).answer("instanceNames"))
}

fn some_tags(list: Option<Vec<Tag>>) -> Result<Vec<Tag>, ApiError> {
    let list = list.filter(|list| !list.is_empty());
    list.ok_or_else(|| ApiError::client("TagRequiredException", "The request names no tags."))
}

fn tags(list: Option<Vec<Tag>>) -> Result<Vec<Tag>, ApiError> {
    let list = some_tags(list)?;
    match list.iter().find_map(Tag::problem) {
        Some(problem) => Err(ApiError::client("InvalidTagException", problem)),
        None => Ok(list),
    }
}

/// What is to become of tags.
#[derive(Clone, Copy)]
enum Tagging {
    Add,
    Remove,
}

async fn retag(service: &Service, input: NamesInput, tagging: Tagging) -> Result<Value, ApiError> {
    let tags = match tagging {
        Tagging::Add => tags(input.tags)?,
        // What an earlier version took can be removed.
        Tagging::Remove => some_tags(input.tags)?,
    };
    let names = names(input.instance_names, MOST, "InstanceLimitExceededException")?;
    let mut change = service.change().await?;
    for name in names {
        let found = instances::by_name(change.db(), name.as_str()).await?;
        let instance = found.ok_or_else(|| not_registered(&name))?;
        match tagging {
            Tagging::Remove => instances::remove_tags(change.db(), &instance.arn, &tags).await?,
            Tagging::Add => {
                if !instances::set_tags(change.db(), &instance.arn, &tags).await? {
                    return Err(instances::RegisterError::TooManyTags(name).into());
                }
            }
        }
    }
    change.commit().await?;
    Ok(json!({}))
}

pub(super) async fn add_tags(service: &Service, input: NamesInput) -> Result<Value, ApiError> {
    retag(service, input, Tagging::Add).await
}

pub(super) async fn remove_tags(service: &Service, input: NamesInput) -> Result<Value, ApiError> {
    retag(service, input, Tagging::Remove).await
}
