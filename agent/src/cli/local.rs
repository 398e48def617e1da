//! Deployments that this process carries out itself, for `deploy-local` and `rollback`.

mod live;
mod show;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::notices::Notices;
use super::settings::{Context, asker};
use super::{FAILED, local_findings};
use crate::deployment::DeploymentSpec;
use crate::disk::{Dir, Watch};
use crate::engine::{Execution, Life, Order};
use crate::hooks::{Wish, Wishes};
use crate::identity::Caller;
use crate::ids::{DeploymentId, HostCommandId};
use crate::ledger::{Ledger, Received, Work};
use crate::lifecycle::Command;
use crate::outcome::Outcome;
use crate::store::{self, Mark};
pub(super) use show::Manner;
use show::Show;

/// How often requests are looked for where the kernel tells nothing of them, and at least.
const LOOK: Duration = Duration::from_secs(1);

/// What to deploy and which commands to run for it, in order.
#[derive(Debug)]
pub(super) struct LocalDeployment {
    pub(super) spec: DeploymentSpec,
    pub(super) commands: Vec<Command>,
    /// The earlier deployment whose revision it brings back, and since when that is good; for `rollback`.
    pub(super) brings_back: Option<BroughtBack>,
}

/// An earlier deployment that is gone back to.
#[derive(Debug)]
pub(super) struct BroughtBack {
    pub(super) deployment: DeploymentId,
    /// When it was marked as good, if it was.
    pub(super) good: Option<Mark>,
}

/// An id as AWS's local tool makes them.
pub(super) fn random_id() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let random: String = (0..9).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])).collect();
    format!("d-{random}-local")
}

/// Runs every command until one fails, and shows it.
pub(super) fn deploy(
    context: &Context,
    deployment: &LocalDeployment,
    manner: Manner,
    notices: &Notices,
) -> anyhow::Result<ExitCode> {
    let engine = context.engine(context.runtime_of_its_own()?, context.provider(Caller::Person))?;
    let mut spec = deployment.spec.clone();
    spec.signer = Some(format!("by hand: {}", asker()?));
    let spec = &spec;
    let mut show = Show::begin(&context.layout, deployment, manner, notices);
    let wishes = Arc::new(Wishes::new()?);
    wishes.listen(show.wait_listener());
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
            show.skipped(command.name());
            continue;
        }
        let received =
            Received { command: order.id.clone(), name: command.name().to_owned(), execution: String::new() };
        let work =
            Work { deployment: spec.deployment_id.clone(), group: spec.group_id.clone(), spec_sha256: String::new() };
        ledger.begin(received, work).context("nothing was run, since the record of it could not be written")?;
        show.event_begins(command.name());
        let (id, group) = (spec.deployment_id.as_str(), spec.group_id.as_str());
        let span = tracing::warn_span!("command", event = command.name(), deployment_id = id, group);
        let execution = span.in_scope(|| engine.execute(&order, &wishes));
        if let Execution::Over(outcome) = &execution
            && let Err(error) = ledger.finish_locally(&order.id, outcome.clone())
        {
            tracing::warn!(%error, "`history` will not know how this ended");
        }
        match execution {
            // Nobody asks a local deployment for that.
            Execution::HandedOver => bail!("the script of {} goes on without this command", command.name()),
            Execution::Over(outcome) => {
                show.event_ended(&outcome);
                if let Outcome::Failed(failure) = outcome {
                    let findings = local_findings::text(context, spec, command, &failure);
                    show.failed(command.name(), &failure, findings.as_deref())?;
                    return Ok(ExitCode::from(FAILED));
                }
            }
        }
    }
    engine.note_end(spec);
    show.succeeded()?;
    Ok(ExitCode::SUCCESS)
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
