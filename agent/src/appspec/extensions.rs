//! Keys of a script that are ours alone; other agents ignore them.

use std::collections::BTreeMap;

use crate::yaml::{Fields, Node, Report, quoted};

/// Variables that the deployment gives its scripts. Values of ours may hold them as `${NAME}`, and cannot
/// replace them.
pub const VARIABLES: [&str; 10] = [
    "LIFECYCLE_EVENT",
    "DEPLOYMENT_ID",
    "APPLICATION_NAME",
    "DEPLOYMENT_GROUP_NAME",
    "DEPLOYMENT_GROUP_ID",
    "BUNDLE_BUCKET",
    "BUNDLE_KEY",
    "BUNDLE_VERSION",
    "BUNDLE_ETAG",
    "BUNDLE_COMMIT",
];

/// A smaller limit leaves no room for the runner, let alone the script.
const LEAST_MEMORY: u64 = 16 << 20;
/// 1,024 processors.
const MOST_PERCENT: u32 = 102_400;

/// What a script gets beyond what other agents know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Variables, with values in which `${NAME}` is still to be replaced.
    pub environment: BTreeMap<String, String>,
    /// Arguments, likewise.
    pub args: Vec<String>,
    /// Bytes of memory that the script may use with all that it starts, on hosts with systemd.
    pub memory_max: Option<u64>,
    /// Per cent of one processor, likewise.
    pub cpu_quota_percent: Option<u32>,
}

/// Reads the keys; nothing if one of them has a mistake.
pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Option<Extensions> {
    let environment = match fields.value("environment") {
        Some(node) if !node.is_null() => environment(node, report),
        _ => Some(BTreeMap::new()),
    };
    let args = match fields.value("args") {
        Some(node) if !node.is_null() => {
            let items = node.items("`args` as a list of texts", report);
            let read: Vec<_> = items.iter().map(|item| item.parsed(report, text)).collect();
            read.into_iter().collect()
        }
        _ => Some(Vec::new()),
    };
    let memory_max = fields.value("memory_max").map(|node| node.parsed(report, memory));
    let cpu_quota = fields.value("cpu_quota").map(|node| node.parsed(report, quota));
    Some(Extensions {
        environment: environment?,
        args: args?,
        memory_max: memory_max.map_or(Some(None), |read| read.map(Some))?,
        cpu_quota_percent: cpu_quota.map_or(Some(None), |read| read.map(Some))?,
    })
}

fn environment(node: &Node, report: &mut Report) -> Option<BTreeMap<String, String>> {
    let fields = node.fields("`environment` as a mapping of names to values", report)?;
    let mut variables = Some(BTreeMap::new());
    for entry in fields.rest() {
        let name = &entry.key;
        if let Err(expected) = check_name(name) {
            report.expected(entry.at, expected, quoted(name));
            variables = None;
        }
        match (entry.value.parsed(report, text), &mut variables) {
            (Some(value), Some(variables)) => {
                variables.insert(name.clone(), value);
            }
            (None, _) => variables = None,
            _ => {}
        }
    }
    variables
}

fn check_name(name: &str) -> Result<(), String> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err("the name of a variable: letters, digits and `_`, with no digit first".to_owned());
    }
    if VARIABLES.contains(&name) || name == "SLIPWAY_HOOK" {
        return Err("the name of a variable that the agent does not set itself".to_owned());
    }
    Ok(())
}

fn text(text: &str) -> Result<String, String> {
    if text.contains('\0') { Err("a text without NUL".to_owned()) } else { Ok(text.to_owned()) }
}

/// As systemd writes sizes: a number of bytes, or with K, M, G or T at its end, to the base of 1,024.
fn memory(text: &str) -> Result<u64, String> {
    let expected = || format!("`memory_max` as bytes, or with K, M, G or T, at least {}M", LEAST_MEMORY >> 20);
    let (number, shift) = match text.trim_end_matches(['K', 'M', 'G', 'T']) {
        number if number.len() == text.len() => (number, 0),
        number if number.len() + 1 == text.len() => {
            (number, 10 * (1 + "KMGT".find(&text[number.len()..]).unwrap_or_default()))
        }
        _ => return Err(expected()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes >= LEAST_MEMORY).ok_or_else(expected)
}

fn quota(text: &str) -> Result<u32, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok();
    percent
        .filter(|percent| (1..=MOST_PERCENT).contains(percent))
        .ok_or_else(|| format!("`cpu_quota` as per cent of one processor, from 1% to {MOST_PERCENT}%"))
}

/// Replaces each `${NAME}` of a documented variable by what `value_of` says, by nothing where it says nothing.
/// Everything else stays as it is written.
pub fn expand(text: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        expanded.push_str(before);
        match after[2..].split_once('}').filter(|(name, _)| VARIABLES.contains(name)) {
            Some((name, behind)) => {
                expanded.push_str(&value_of(name).unwrap_or_default());
                rest = behind;
            }
            None => {
                expanded.push_str("${");
                rest = &after[2..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documented_variables_are_replaced() {
        let value_of = |name: &str| (name == "DEPLOYMENT_ID").then(|| "d-1${LIFECYCLE_EVENT}".to_owned());
        for (text, expanded) in [
            ("${DEPLOYMENT_ID}", "d-1${LIFECYCLE_EVENT}"),
            ("a${DEPLOYMENT_ID}b${BUNDLE_KEY}c", "ad-1${LIFECYCLE_EVENT}bc"),
            ("$DEPLOYMENT_ID ${HOME} $$ ${", "$DEPLOYMENT_ID ${HOME} $$ ${"),
            ("${X${DEPLOYMENT_ID}", "${Xd-1${LIFECYCLE_EVENT}"),
            ("${DEPLOYMENT_ID", "${DEPLOYMENT_ID"),
        ] {
            assert_eq!(expand(text, value_of), expanded, "{text}");
        }
    }

    #[test]
    fn a_variable_has_a_name_that_is_one_and_is_not_the_deployments_own() {
        for name in ["A", "_", "WORKERS_2", "path"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for bad in ["", "2A", "A-B", "A B", "A=B", "Ä", "A\n", "DEPLOYMENT_ID", "BUNDLE_KEY", "SLIPWAY_HOOK"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_shares_have_one_way_to_be_written() {
        for (text, bytes) in [("67108864", 64 << 20), ("65536K", 64 << 20), ("64M", 64 << 20), ("1T", 1 << 40)] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "64MB", "64 M", "-1", "1", "15M", "64MM", "99999999999T", "infinity"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
        assert_eq!((quota("50%"), quota("250%")), (Ok(50), Ok(250)));
        assert_eq!(quota("50"), Ok(50));
        for bad in ["", "0%", "-1%", "%", "1.5%", "200000%"] {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }
}
