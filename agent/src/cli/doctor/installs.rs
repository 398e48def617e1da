//! Installs that were cut off and are not settled.

use super::Host;
use super::finding::{Finding, Verdict};
use crate::install;

pub(super) fn installs(host: &Host<'_>) -> Vec<Finding> {
    let finding = |tried: String, verdict| vec![Finding::new("installs", tried, verdict)];
    let layout = match host.context() {
        Ok(context) => &context.layout,
        Err(verdict) => return finding("nothing".to_owned(), verdict),
    };
    let tried = format!("looked for installs that are not settled in {}", layout.transactions().display());
    let unsettled = match install::unsettled(layout) {
        // Others may not look there.
        Err(error) if error.is_not_permitted() => {
            return finding(tried, Verdict::NotTried(format!("{error}: run `slipway-agent doctor` as root")));
        }
        Err(error) => return finding(tried, Verdict::failed(error.to_string(), "mend the path")),
        Ok(unsettled) => unsettled,
    };
    if unsettled.is_empty() {
        return finding(tried, Verdict::Passed("all are settled".to_owned()));
    }
    let found: Vec<String> = unsettled.iter().map(ToString::to_string).collect();
    let remedy: Vec<String> = unsettled
        .iter()
        .map(|one| {
            format!(
                "mend what keeps it from being settled, then `slipway-agent recover`; or give it up: `slipway-agent \
                 recover --abandon {}`",
                one.transaction
            )
        })
        .collect();
    finding(tried, Verdict::failed(found.join("\n"), remedy.join("\n")))
}
