//! Begins a deployment: which hosts, in which order, with what content.

use std::collections::HashMap;

use sqlx::types::Json;

use super::order::{Class, History, arrange, class};
use super::{
    Creator, Deployment, DeploymentOptions, DeploymentStatus, EVENTS, ErrorCode, EventStatus, Pinned, TargetStatus,
    active_in_group, bundle, by_id, history, last_successful, schedule,
};
use crate::apps::configs::Config;
use crate::apps::groups::Group;
use crate::apps::{Application, revisions};
use crate::clock::Moment;
use crate::error::ApiError;
use crate::health::Fleet;
use crate::ids::DeploymentId;
use crate::instances::{self, Instance};
use crate::revisions::RevisionLocation;
use crate::service::Change;

/// All that decides a new deployment.
#[derive(Clone, Debug)]
pub struct Order {
    /// The group's application.
    pub application: Application,
    /// Where to.
    pub group: Group,
    /// How many hosts at a time.
    pub config: Config,
    /// What.
    pub revision: RevisionLocation,
    /// How.
    pub options: DeploymentOptions,
    /// Why.
    pub source: Source,
}

/// Where a deployment comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A user names the revision.
    User,
    /// A user restarts what this deployment brought.
    Restart(Box<Deployment>),
    /// `of` ended badly, `to` was good.
    Rollback {
        /// What is rolled back.
        of: Box<Deployment>,
        /// What is returned to.
        to: Box<Deployment>,
    },
}

/// Why a deployment ends as soon as it is made.
enum Verdict {
    Go(Fleet),
    Done,
    Failed(ErrorCode, String),
}

/// Makes a deployment and gives its first hosts their first event.
///
/// # Errors
/// `DeploymentLimitExceededException` if the group is being deployed to,
/// `RevisionDoesNotExistException` if the embedded S3 should have the bundle and has not.
pub async fn launch(change: &mut Change<'_>, order: Order) -> Result<DeploymentId, ApiError> {
    let group = &order.group;
    if let Some(active) = active_in_group(change.db(), &group.id).await? {
        return Err(ApiError::client(
            "DeploymentLimitExceededException",
            format!(
                "The deployment group {} is being deployed to by {active}; wait for its end, or stop it with \
                 `aws deploy stop-deployment --deployment-id {active}`.",
                group.name
            ),
        ));
    }
    let pinned = match (&order.source, &order.revision) {
        (Source::Restart(last) | Source::Rollback { to: last, .. }, _) => last.pinned.clone(),
        (Source::User, RevisionLocation::S3(location)) => bundle::pin(change.db(), location).await?,
        (Source::User, RevisionLocation::GitHub(_)) => None,
    };
    let revision_key = match &pinned {
        Some(Pinned { sha256, .. }) => format!("{} sha256:{sha256}", order.revision.canonical()),
        None => order.revision.canonical(),
    };
    revisions::note_use(change.db(), &order.application, &order.revision).await?;

    let known = history::of_group(change.db(), &group.id).await?;
    let selected = select(change, &order, &known, &revision_key).await?;
    let mut messages: Vec<String> = group.settings.unreachable_hosts().into_iter().collect();
    messages.extend(selected.message.clone());
    let verdict = judge(&order, &selected);
    let draft = Draft { id: unused_id(change).await?, pinned, revision_key, messages };
    insert(change, &order, &draft, &verdict).await?;
    if let Verdict::Go(_) = verdict {
        insert_targets(change, &draft.id, &selected.hosts).await?;
        schedule::step(change, draft.id.as_str()).await?;
    }
    tracing::info!(
        deployment = %draft.id, group = group.name, hosts = selected.hosts.len(), "deployment created"
    );
    Ok(draft.id)
}

/// The hosts of a deployment in their order.
struct Selected {
    hosts: Vec<Instance>,
    message: Option<String>,
}

async fn select(
    change: &mut Change<'_>,
    order: &Order,
    known: &HashMap<String, History>,
    revision_key: &str,
) -> sqlx::Result<Selected> {
    let class_of = |host: &Instance| class(known.get(&host.arn), revision_key);
    let selection = &order.group.settings.on_premises;
    let mut hosts: Vec<Instance> = instances::all(change.db()).await?;
    hosts.retain(|host| host.deregistered.is_none() && selection.matches(&host.tags));
    let mut message = None;
    if order.options.update_outdated_instances_only {
        let all = hosts.len();
        hosts.retain(|host| class_of(host) != Class::Current);
        let current = all - hosts.len();
        if current > 0 {
            message = Some(format!("{current} of {all} hosts have this revision already and are left as they are."));
        }
    }
    Ok(Selected { hosts: arrange(hosts, class_of), message })
}

fn judge(order: &Order, selected: &Selected) -> Verdict {
    let hosts = u32::try_from(selected.hosts.len()).unwrap_or(u32::MAX);
    if hosts == 0 {
        return if selected.message.is_some() {
            Verdict::Done
        } else {
            Verdict::Failed(
                ErrorCode::NoInstances,
                format!(
                    "No registered on-premises instance matches the tags of the deployment group {}; compare \
                     `aws deploy get-deployment-group` with `aws deploy batch-get-on-premises-instances`.",
                    order.group.name
                ),
            )
        };
    }
    match order.config.minimum.of_fleet(hosts) {
        Ok(fleet) => Verdict::Go(fleet),
        Err(no_room) => Verdict::Failed(
            ErrorCode::HealthConstraintsInvalid,
            format!("{} cannot be applied: {no_room}.", order.config.name),
        ),
    }
}

struct Draft {
    id: DeploymentId,
    pinned: Option<Pinned>,
    revision_key: String,
    messages: Vec<String>,
}

async fn unused_id(change: &mut Change<'_>) -> sqlx::Result<DeploymentId> {
    loop {
        let id = DeploymentId::random();
        if by_id(change.db(), id.as_str()).await?.is_none() {
            return Ok(id);
        }
    }
}

async fn insert(change: &mut Change<'_>, order: &Order, draft: &Draft, verdict: &Verdict) -> sqlx::Result<()> {
    let Order { application, group, config, revision, options, source } = order;
    // A clock that went back does not bring a deployment before the one that it follows: hosts refuse what is older.
    let newest: Option<i64> = sqlx::query_scalar("SELECT MAX(created_ms) FROM deployments WHERE group_id = ?")
        .bind(&group.id)
        .fetch_one(change.db())
        .await?;
    let now = newest.map_or(change.now(), |newest| change.now().max(Moment::from_millis(newest + 1)));
    let deadline = now.after(change.service().options().deployment_within);
    let previous = last_successful(change.db(), &group.id).await?.map(|last| Json(last.revision));
    let (creator, rollback_of, reuse) = match source {
        Source::User => (Creator::User, None, None),
        Source::Restart(last) => (Creator::User, None, Some(last.id.as_str())),
        Source::Rollback { of, .. } => (Creator::Rollback, Some(of.id.as_str()), None),
    };
    let rollback_message =
        rollback_of.map(|failed| format!("Deployment {} is triggered to roll back deployment {failed}.", draft.id));
    let (status, fleet, error) = match verdict {
        Verdict::Go(fleet) => (DeploymentStatus::InProgress, *fleet, None),
        Verdict::Done => (DeploymentStatus::Succeeded, Fleet::stored(0, 0), None),
        Verdict::Failed(code, message) => (DeploymentStatus::Failed, Fleet::stored(0, 0), Some((*code, message))),
    };
    let running = status == DeploymentStatus::InProgress;
    sqlx::query(
        "INSERT INTO deployments (id, application_id, application_name, group_id, group_name, config_name, status, \
         creator, revision, revision_key, previous_revision, s3_bucket, s3_key, pinned_version, pinned_sha256, \
         reuse_archive_from, options, messages, created_ms, started_ms, deadline_ms, completed_ms, error_code, error_message, \
         rollback_of, rollback_message, fleet, minimum_healthy) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(draft.id.as_str())
    .bind(&application.id)
    .bind(&application.name)
    .bind(&group.id)
    .bind(&group.name)
    .bind(&config.name)
    .bind(status)
    .bind(creator)
    .bind(revision.canonical())
    .bind(&draft.revision_key)
    .bind(previous)
    .bind(revision.s3().map(|s3| s3.bucket.as_str()))
    .bind(revision.s3().map(|s3| s3.key.as_str()))
    .bind(draft.pinned.as_ref().map(|pinned| pinned.version.as_str()))
    .bind(draft.pinned.as_ref().map(|pinned| pinned.sha256.as_str()))
    .bind(reuse)
    .bind(Json(options))
    .bind(Json(&draft.messages))
    .bind(now)
    .bind(running.then_some(now))
    .bind(deadline)
    .bind((!running).then_some(now))
    .bind(error.map(|(code, _)| code))
    .bind(error.map(|(_, message)| message.as_str()))
    .bind(rollback_of)
    .bind(rollback_message)
    .bind(fleet.hosts())
    .bind(fleet.minimum())
    .execute(change.db())
    .await?;
    Ok(())
}

async fn insert_targets(change: &mut Change<'_>, id: &DeploymentId, hosts: &[Instance]) -> sqlx::Result<()> {
    let now = change.now();
    for (rank, host) in hosts.iter().enumerate() {
        sqlx::query(
            "INSERT INTO targets (deployment_id, instance_arn, instance_name, host_identifier, rank, status, updated_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.as_str())
        .bind(&host.arn)
        .bind(&host.name)
        .bind(&host.identity.arn)
        .bind(i64::try_from(rank).unwrap_or(i64::MAX))
        .bind(TargetStatus::Pending)
        .bind(now)
        .execute(change.db())
        .await?;
    }
    sqlx::query(
        "INSERT INTO events (target_id, position, name, status) \
         SELECT t.id, e.key, e.value, ? FROM targets t, json_each(?) e WHERE t.deployment_id = ?",
    )
    .bind(EventStatus::Pending)
    .bind(Json(EVENTS))
    .bind(id.as_str())
    .execute(change.db())
    .await?;
    Ok(())
}
