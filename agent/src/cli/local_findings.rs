//! After a local deployment that failed of its revision: what else is wrong with it, so that one round mends all.

use super::output::visible_lines;
use super::settings::Context;
use crate::deployment::{DeploymentSpec, RevisionSource};
use crate::lifecycle::Command;
use crate::outcome::Failure;
use crate::revision::Revision;
use crate::validate::{self, Finding, Severity};

/// What `validate` finds in the deployment's revision, beyond what its failure tells. Nothing where the failure
/// is not the revision's, or no mistake is left to tell.
pub(super) fn text(context: &Context, spec: &DeploymentSpec, command: &Command, failure: &Failure) -> Option<String> {
    if !matches!(command, Command::DownloadBundle | Command::Install) {
        return None;
    }
    let root = context.layout.archive(&spec.group_id, &spec.deployment_id);
    let shown = match &spec.source {
        RevisionSource::LocalDirectory { path } | RevisionSource::LocalFile { path, .. } => path.clone(),
        _ => root.clone(),
    };
    let revision = Revision::at(root);
    // What cannot be looked at was not unpacked.
    let validation = validate::revision(&revision, &shown, &spec.appspec_filename, &context.host_rules()).ok()?;
    let is_told = |finding: &&Finding| failure.message.contains(&finding.message);
    let rest: Vec<&Finding> = validation.findings().iter().filter(|finding| !is_told(finding)).collect();
    if rest.iter().all(|finding| finding.severity == Severity::Warning) {
        return None;
    }
    let mut text: String = rest.iter().map(|finding| visible_lines(&finding.to_string()) + "\n").collect();
    if validation.omitted() > 0 {
        text.push_str(&format!("and {} more that are not shown\n", validation.omitted()));
    }
    Some(text)
}
