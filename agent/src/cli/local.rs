//! Deployments that this process carries out itself, for `deploy-local` and `rollback`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;

use super::FAILED;
use super::settings::Context;
use crate::deployment::DeploymentSpec;
use crate::engine::{Execution, Life, Order};
use crate::hooks::Wishes;
use crate::ids::HostCommandId;
use crate::lifecycle::Command;
use crate::outcome::{Failure, Outcome};

/// What to deploy and which commands to run for it, in order.
#[derive(Debug)]
pub(super) struct LocalDeployment {
    pub(super) spec: DeploymentSpec,
    pub(super) commands: Vec<Command>,
}

/// An id as AWS's local tool makes them.
pub(super) fn random_id() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let random: String = (0..9).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])).collect();
    format!("d-{random}-local")
}

/// Runs every command until one fails, a line for each.
pub(super) fn deploy(context: &Context, deployment: &LocalDeployment) -> anyhow::Result<ExitCode> {
    let runtime = context.runtime()?;
    let engine = context.engine(runtime.handle().clone())?;
    let spec = &deployment.spec;
    println!("Deployment {} of {} to group {}", spec.deployment_id, spec.application_name, spec.group_id);
    let (begun, wishes) = (Instant::now(), Wishes::new()?);
    for command in &deployment.commands {
        let order = Order {
            id: HostCommandId::new(format!("local/{}/{}", spec.deployment_id, command.name())),
            command: command.clone(),
            spec: spec.clone(),
            life: Life::First,
        };
        if engine.is_noop(&order) {
            println!("  {:<20} no scripts", command.name());
            continue;
        }
        let started = Instant::now();
        match engine.execute(&order, &wishes) {
            Execution::Over(Outcome::Succeeded { .. }) => {
                println!("  {:<20} succeeded in {:.1?}", command.name(), started.elapsed());
            }
            // Nobody asks a local deployment for that.
            Execution::HandedOver => bail!("the script of {} goes on without this command", command.name()),
            Execution::Over(Outcome::Failed(failure)) => {
                println!("  {:<20} FAILED after {:.1?}", command.name(), started.elapsed());
                explain(context, deployment, &failure);
                return Ok(ExitCode::from(FAILED));
            }
        }
    }
    println!("Deployed {} in {:.1?}.", spec.deployment_id, begun.elapsed());
    Ok(ExitCode::SUCCESS)
}

fn explain(context: &Context, deployment: &LocalDeployment, failure: &Failure) {
    let spec = &deployment.spec;
    eprintln!("\n{}", failure.message);
    if !failure.log.is_empty() {
        eprintln!("\nThe end of the scripts' output:");
        for line in failure.log.lines() {
            eprintln!("  {line}");
        }
        let log = context.layout.scripts_log(&spec.group_id, &spec.deployment_id);
        eprintln!("All of it is in {}.", log.display());
    }
}
