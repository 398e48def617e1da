//! Deployments that this process carries out itself, for `deploy-local` and `rollback`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::output::visible_text;
use super::settings::Context;
use super::{FAILED, local_findings};
use crate::deployment::DeploymentSpec;
use crate::disk::{Dir, Watch};
use crate::engine::{Execution, Life, Order};
use crate::hooks::{Wish, Wishes};
use crate::identity::Caller;
use crate::ids::{DeploymentId, HostCommandId};
use crate::ledger::{Ledger, Received, Work};
use crate::lifecycle::Command;
use crate::outcome::{Failure, Outcome, Warnings};
use crate::store;

/// How often requests are looked for where the kernel tells nothing of them, and at least.
const LOOK: Duration = Duration::from_secs(1);

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
    let engine = context.engine(context.runtime_of_its_own()?, context.provider(Caller::Person))?;
    let spec = &deployment.spec;
    println!("Deployment {} of {} to group {}", spec.deployment_id, spec.application_name, spec.group_id);
    let begun = Instant::now();
    let wishes = Arc::new(Wishes::new()?);
    wishes.listen(|holder| {
        if let Some(holder) = holder {
            eprintln!("  waiting behind {holder}");
        }
    });
    heed_cancel(context, &spec.deployment_id, wishes.clone())?;
    let ledger = Ledger::open(&context.layout)?;
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
        let received =
            Received { command: order.id.clone(), name: command.name().to_owned(), execution: String::new() };
        let work =
            Work { deployment: spec.deployment_id.clone(), group: spec.group_id.clone(), spec_sha256: String::new() };
        ledger.begin(received, work).context("nothing was run, since the record of it could not be written")?;
        let started = Instant::now();
        let (id, group) = (spec.deployment_id.as_str(), spec.group_id.as_str());
        let span = tracing::warn_span!("command", event = command.name(), deployment_id = id, group);
        let execution = span.in_scope(|| engine.execute(&order, &wishes));
        if let Execution::Over(outcome) = &execution
            && let Err(error) = ledger.finish_locally(&order.id, outcome.clone())
        {
            tracing::warn!(%error, "`history` will not know how this ended");
        }
        match execution {
            Execution::Over(Outcome::Succeeded { warnings, .. }) => {
                println!("  {:<20} succeeded in {:.1?}", command.name(), started.elapsed());
                warn(&warnings);
            }
            // Nobody asks a local deployment for that.
            Execution::HandedOver => bail!("the script of {} goes on without this command", command.name()),
            Execution::Over(Outcome::Failed(failure)) => {
                println!("  {:<20} FAILED after {:.1?}", command.name(), started.elapsed());
                warn(&failure.warnings);
                explain(context, deployment, &failure);
                local_findings::show(context, spec, command, &failure);
                return Ok(ExitCode::from(FAILED));
            }
        }
    }
    engine.note_end(spec);
    println!("Deployed {} in {:.1?}.", spec.deployment_id, begun.elapsed());
    Ok(ExitCode::SUCCESS)
}

/// Shows warnings below the line of their command.
fn warn(warnings: &Warnings) {
    for line in warnings.lines() {
        eprintln!("    warning: {}", visible_text(&line));
    }
}

/// Ends the deployment where somebody asks for that, as the daemon does with its own.
fn heed_cancel(context: &Context, deployment: &DeploymentId, wishes: Arc<Wishes>) -> anyhow::Result<()> {
    let (layout, deployment) = (context.layout.clone(), deployment.clone());
    Dir::open_or_create(layout.requests(), 0o700)?;
    let watch =
        Watch::directory(&layout.requests()).inspect_err(|error| tracing::debug!(%error, "looked at each second"));
    let heed = move || {
        loop {
            if let Ok(Some(request)) = store::read_cancel(&layout, &deployment) {
                let _ = wishes.make(Wish::Cancel(format!("the deployment was cancelled on this host {request}")));
                return;
            }
            if watch.as_ref().map_or(true, |watch| watch.wait(LOOK).is_err()) {
                std::thread::sleep(LOOK);
            }
        }
    };
    // It ends with the process.
    std::thread::Builder::new().name("requests".to_owned()).spawn(heed).context("a thread could not be started")?;
    Ok(())
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
