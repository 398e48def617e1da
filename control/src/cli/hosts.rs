//! `hosts`: the fleet at a glance.

use clap::Args;
use serde_json::{Value, json};

use super::table::{aligned, one_line};
use super::{Data, open_database, say};
use crate::clock::{Moment, spoken};
use crate::deployments::overview::{self, Deployed};
use crate::instances::{self, Instance};

/// Arguments of `hosts`.
#[derive(Debug, Args)]
pub struct Hosts {
    #[command(flatten)]
    data: Data,
    /// Show the deregistered hosts too
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Hosts {
    pub async fn run(self) -> anyhow::Result<()> {
        let pool = open_database(&self.data.open()?).await?;
        let mut db = pool.acquire().await?;
        let mut deployed = overview::deployed(&mut db).await?;
        let hosts: Vec<(Instance, Vec<Deployed>)> = instances::all(&mut db)
            .await?
            .into_iter()
            .filter(|host| self.all || host.deregistered.is_none())
            .map(|host| {
                let has = deployed.remove(&host.arn).unwrap_or_default();
                (host, has)
            })
            .collect();
        drop(db);
        pool.close().await;
        if self.json {
            let all: Vec<Value> = hosts.iter().map(|(host, deployed)| to_json(host, deployed)).collect();
            return say(&format!("{}\n", json!({ "hosts": all })));
        }
        if hosts.is_empty() {
            return say("There are no hosts. `slipway-control host-config NAME --dir DIR` registers one.\n");
        }
        let names = ["HOST", "LAST HEARD", "AGENT", "TAGS", "DEPLOYED"].map(str::to_owned).to_vec();
        let now = Moment::now();
        let rows = hosts.iter().map(|(host, deployed)| row(host, deployed, now));
        say(&aligned(&std::iter::once(names).chain(rows).collect::<Vec<_>>()))
    }
}

fn row(host: &Instance, deployed: &[Deployed], now: Moment) -> Vec<String> {
    let heard = match (host.deregistered, host.last_seen) {
        (Some(moment), _) => format!("deregistered {moment}"),
        (None, Some(seen)) => format!("{} ago", spoken(now.since(seen))),
        (None, None) => "never".to_owned(),
    };
    let tags: Vec<String> = host.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let deployed: Vec<String> =
        deployed.iter().map(|has| format!("{}/{}: {}", has.application, has.group, has.revision.short())).collect();
    vec![
        host.name.clone(),
        heard,
        one_line(host.agent_version.as_deref().unwrap_or("-")),
        one_line(&tags.join(" ")),
        if deployed.is_empty() { "nothing".to_owned() } else { one_line(&deployed.join(", ")) },
    ]
}

fn to_json(host: &Instance, deployed: &[Deployed]) -> Value {
    let deployed: Vec<Value> = deployed
        .iter()
        .map(|has| {
            json!({
                "application": has.application,
                "deploymentGroup": has.group,
                "deploymentId": has.deployment,
                "revision": has.revision,
            })
        })
        .collect();
    json!({
        "name": host.name,
        "arn": host.arn,
        "identity": host.identity.arn,
        "registered": host.registered.to_string(),
        "deregistered": host.deregistered.map(|moment| moment.to_string()),
        "lastHeard": host.last_seen.map(|moment| moment.to_string()),
        "agentVersion": host.agent_version,
        "tags": host.tags,
        "deployed": deployed,
    })
}
