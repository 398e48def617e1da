//! A hook's unit carries the limits of the AppSpec.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use slipway_tests::revision::Revision;

use crate::app::{DESTINATION, Order};
use crate::host::{Host, succeeded};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are at least; where the control groups have no memory, it cannot be limited.
pub const CHECKS: u64 = 1;

const SCRIPT: &str = "\
order=/srv/orders/AfterInstall
echo \"$DEPLOYMENT_ID $LIFECYCLE_EVENT $$\" >> \"$order/runs\"
read -r code < \"$order/exit-code\"
exit \"$code\"";
/// Holds 200 MB at once, and says so if it could.
const GREEDY: &str = "held=$(head -c 200000000 /dev/zero | tr '\\0' x)\necho \"held ${#held}\"";
const MEMORY_MAX: u64 = 64 << 20;

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "limits")?;
    host.check(report, "memory_max and cpu_quota are those of the hook's unit", |host| read_back(host));
    let controllers = host.machine.run(&["cat", "/sys/fs/cgroup/cgroup.controllers"])?;
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        host.check(report, "a hook that wants more memory than it may have fails", |host| enforced(host));
    } else {
        report.notes.push(
            "whether limits are enforced was not tried: memory and cpu belong to the old control group hierarchy here"
                .to_owned(),
        );
    }
    Ok(())
}

fn read_back(host: &Host<'_>) -> Result<()> {
    let order = Order::wait(host.machine.root(), "AfterInstall")?;
    let deployment = host.begin(&host.push("limits", &limited(SCRIPT))?)?;
    order.begun()?;
    properties(host, &deployment)?;
    order.end_with(0)?;
    succeeded(&host.finish(&deployment)?)
}

fn properties(host: &Host<'_>, deployment: &str) -> Result<()> {
    let name = host.hook_unit(deployment, "AfterInstall")?;
    let memory: u64 = host.property(&name, "MemoryMax")?.parse().context("the unit has no MemoryMax")?;
    ensure!(memory == MEMORY_MAX, "MemoryMax is {memory}");
    let quota = host.property(&name, "CPUQuotaPerSecUSec")?;
    ensure!(quota == "500ms", "CPUQuotaPerSecUSec is {quota}");
    Ok(())
}

fn enforced(host: &Host<'_>) -> Result<()> {
    let finished = host.finish(&host.begin(&host.push("greedy", &limited(GREEDY))?)?)?;
    let event = finished.failed_event()?;
    ensure!(event.name == "AfterInstall", "{} failed instead: {}", event.name, event.diagnostics);
    ensure!(!event.diagnostic("logTail").contains("held"), "it could: {}", event.diagnostics);
    Ok(())
}

fn limited(script: &str) -> Revision {
    let destination = Path::new(DESTINATION).display();
    let appspec = format!(
        "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {destination}\nhooks:\n  AfterInstall:\n    \
         - location: scripts/limited.sh\n      timeout: 60\n      memory_max: 64M\n      cpu_quota: 50%\n"
    );
    Revision::with_appspec(&appspec).file("content/page", "limits").script("scripts/limited.sh", script)
}
