//! `deployments` and `deployment`: what is going on, and what went wrong where.

use std::fmt::Write as _;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::table::{aligned, one_line};
use super::{Data, open_database, say};
use crate::api;
use crate::clock::{Moment, spoken};
use crate::deployments::{Deployment, TargetStatus, by_id, overview};

/// Arguments of `deployments`.
#[derive(Debug, Args)]
pub struct Deployments {
    #[command(flatten)]
    data: Data,
    /// Show those of this application alone
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Show at most this many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    number: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `deployment`.
#[derive(Debug, Args)]
pub struct OneDeployment {
    /// The deployment's id, d-…
    id: String,
    #[command(flatten)]
    data: Data,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Deployments {
    pub async fn run(self) -> anyhow::Result<()> {
        let pool = open_database(&self.data.open()?).await?;
        let mut db = pool.acquire().await?;
        let mut all = Vec::new();
        for deployment in overview::newest(&mut db, self.application.as_deref(), self.number).await? {
            let counts = overview::counts(&mut db, &deployment).await?;
            all.push((deployment, counts));
        }
        drop(db);
        pool.close().await;
        if self.json {
            let all: Vec<Value> = all.iter().map(|(deployment, counts)| to_json(deployment, counts)).collect();
            return say(&format!("{}\n", json!({ "deployments": all })));
        }
        if all.is_empty() {
            return say("There are no deployments. `aws deploy create-deployment` makes one.\n");
        }
        let names = ["DEPLOYMENT", "GROUP", "STATUS", "HOSTS", "REVISION", "CREATED", "TOOK", "BY"];
        let rows = all.iter().map(|(deployment, counts)| {
            vec![
                deployment.id.as_str().to_owned(),
                format!("{}/{}", deployment.application_name, deployment.group_name),
                deployment.status.to_string(),
                counted(counts),
                one_line(&deployment.revision.short()),
                deployment.created.to_string(),
                took(deployment),
                deployment.creator.to_string(),
            ]
        });
        say(&aligned(&std::iter::once(names.map(str::to_owned).to_vec()).chain(rows).collect::<Vec<_>>()))
    }
}

impl OneDeployment {
    pub async fn run(self) -> anyhow::Result<()> {
        let pool = open_database(&self.data.open()?).await?;
        let mut db = pool.acquire().await?;
        let deployment = by_id(&mut db, &self.id).await?.with_context(|| {
            format!("there is no deployment {}; `slipway-control deployments` shows the newest ones", self.id)
        })?;
        let counts = overview::counts(&mut db, &deployment).await?;
        let hosts = hosts(&mut db, &deployment).await?;
        drop(db);
        pool.close().await;
        if self.json {
            let mut told = to_json(&deployment, &counts);
            told["hosts"] = Value::Array(hosts);
            return say(&format!("{told}\n"));
        }
        say(&text(&deployment, &counts, &hosts))
    }
}

/// Each host with its events, as the API has them.
async fn hosts(db: &mut SqliteConnection, deployment: &Deployment) -> anyhow::Result<Vec<Value>> {
    let mut hosts = Vec::new();
    for target in overview::targets(db, deployment).await? {
        let events = api::lifecycle_events(db, &target).await?;
        hosts.push(json!({ "name": target.instance_name, "status": target.status, "lifecycleEvents": events }));
    }
    Ok(hosts)
}

fn text(deployment: &Deployment, counts: &[(TargetStatus, i64)], hosts: &[Value]) -> String {
    let mut out = String::new();
    let group = format!("{}/{}", deployment.application_name, deployment.group_name);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{} of {group}: {}, {}", deployment.id.as_str(), deployment.status, counted(counts));
    let _ = writeln!(out, "revision  {}", one_line(&deployment.revision.short()));
    let _ = writeln!(out, "created   {} by {}, {}", deployment.created, deployment.creator, deployment.config_name);
    if deployment.completed.is_some() {
        let _ = writeln!(out, "took      {}", took(deployment));
    }
    if let Some((code, message)) = &deployment.error {
        let _ = writeln!(out, "error     {code}: {}", one_line(message));
    }
    for (what, id) in [("rolled back by", &deployment.rollback_deployment_id), ("rolls back", &deployment.rollback_of)]
    {
        if let Some(id) = id {
            let _ = writeln!(out, "{what} {id}");
        }
    }
    for message in deployment.messages.iter().chain(&deployment.rollback_message) {
        let _ = writeln!(out, "note      {}", one_line(message));
    }
    let mut rows = vec![["HOST", "STATUS", "EVENT"].map(str::to_owned).to_vec()];
    let mut failures = String::new();
    for host in hosts {
        let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = host["lifecycleEvents"].as_array().map(Vec::as_slice).unwrap_or_default();
        let begun = |event: &&Value| !matches!(event["status"].as_str(), Some("Pending" | "Skipped"));
        let failed = events.iter().find(|event| event["status"] == "Failed");
        let event = failed.or_else(|| events.iter().rev().find(begun));
        let shown = event.map(|event| format!("{} {}", of(&event["lifecycleEventName"]), of(&event["status"])));
        rows.push(vec![of(&host["name"]), of(&host["status"]), shown.unwrap_or_else(|| "-".to_owned())]);
        if let Some(failed) = failed {
            let diagnostics = &failed["diagnostics"];
            let script = diagnostics["scriptName"].as_str().map(|script| format!(" in {}", one_line(script)));
            let _ = writeln!(
                failures,
                "\n{} failed in {}{}: {}",
                of(&host["name"]),
                of(&failed["lifecycleEventName"]),
                script.unwrap_or_default(),
                one_line(diagnostics["message"].as_str().unwrap_or("its agent gave no reason"))
            );
            for line in diagnostics["logTail"].as_str().unwrap_or_default().lines() {
                let _ = writeln!(failures, "    {}", one_line(line));
            }
        }
    }
    format!("{out}\n{}{failures}", aligned(&rows))
}

fn counted(counts: &[(TargetStatus, i64)]) -> String {
    let all: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    if all.is_empty() { "no hosts".to_owned() } else { all.join(", ") }
}

fn took(deployment: &Deployment) -> String {
    match deployment.completed {
        Some(completed) => spoken(completed.since(deployment.created)),
        None => format!("{} so far", spoken(Moment::now().since(deployment.created))),
    }
}

fn to_json(deployment: &Deployment, counts: &[(TargetStatus, i64)]) -> Value {
    let counts: serde_json::Map<String, Value> =
        counts.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
    json!({
        "deploymentId": deployment.id,
        "application": deployment.application_name,
        "deploymentGroup": deployment.group_name,
        "deploymentConfig": deployment.config_name,
        "status": deployment.status,
        "targets": counts,
        "revision": deployment.revision,
        "creator": deployment.creator,
        "created": deployment.created.to_string(),
        "completed": deployment.completed.map(|moment| moment.to_string()),
        "error": deployment.error.as_ref().map(|(code, message)| json!({ "code": code, "message": message })),
        "rollbackDeploymentId": deployment.rollback_deployment_id,
        "rollbackOf": deployment.rollback_of,
        "messages": deployment.messages,
    })
}
