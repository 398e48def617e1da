//! From layers to settings.

use std::collections::HashMap;
use std::sync::Arc;

use super::environment::{Environment, Variable};
use super::error::{ConfigErrors, ConfigWarning, Mistake};
use super::exposure::{Exposure, exposures};
use super::keys::{KEYS, Outcome, Settings};
use super::origin::{Origin, Setting};
use super::read;
use super::retired::{DISABLE_IMDS_V1, IGNORE_OWNERSHIP, RETIRED};
use super::values::{Ownership, Profile, ProxyUri};
use crate::yaml::{self, Budget, Entry, Fields, Node, Report, nearest, quoted};

/// One configuration file.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its path, for messages.
    pub file: Arc<str>,
    /// Its content.
    pub text: Vec<u8>,
}

/// A configuration that is valid.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in effect.
    pub settings: Settings,
    /// What in the files has no effect.
    pub warnings: Vec<ConfigWarning>,
    /// What is open to others on the way to the services; nothing with `profile: strict`.
    pub exposures: Vec<Exposure>,
}

/// Merges files, a later one over an earlier one, over the environment and the defaults. All mistakes
/// of all files come at once.
pub fn merge(layers: &[Layer], environment: &Environment) -> Result<Loaded, ConfigErrors> {
    let mut merge = Merge::default();
    let roots: Vec<(Arc<str>, Node)> = layers.iter().filter_map(|layer| merge.parse(layer)).collect();
    let all_keys: Vec<Keys<'_>> = roots.iter().map(|(file, root)| merge.keys(file, root)).collect();
    let mut settings = Settings::defaults(merge.profile(&all_keys));
    for keys in &all_keys {
        merge.apply(keys, &mut settings);
    }
    merge.apply_environment(environment, &mut settings);
    let exposures = exposures(&settings, environment);
    if *settings.profile == Profile::Strict {
        let refused = |exposure: &Exposure| Mistake::Exposed(exposure.clone(), settings.profile.origin().clone());
        merge.errors.mistakes.extend(exposures.iter().map(refused));
    }
    merge.errors.sort_by_layer(layers);
    if merge.errors.mistakes.is_empty() {
        return Ok(Loaded { settings, warnings: merge.warnings, exposures });
    }
    merge.errors.warnings = merge.warnings;
    Err(merge.errors)
}

/// A file's entries by name, without AWS's leading colon.
struct Keys<'n> {
    file: &'n Arc<str>,
    entries: Vec<(&'n str, &'n Entry)>,
}

#[derive(Default)]
struct Merge {
    errors: ConfigErrors,
    warnings: Vec<ConfigWarning>,
}

impl Merge {
    /// Reads a file as far as it can be read. What its author should decide is a mistake: a host's settings are
    /// no place for a guess.
    fn parse(&mut self, layer: &Layer) -> Option<(Arc<str>, Node)> {
        let yaml::Document { root, findings, oddities } = yaml::parse(&layer.text, Budget::FILE);
        let mut report = Report { findings, warnings: Vec::new() };
        oddities.iter().for_each(|oddity| report.refuse(oddity));
        self.take(&layer.file, report);
        root.map(|root| (layer.file.clone(), root))
    }

    /// Entries without a value set nothing.
    fn keys<'n>(&mut self, file: &'n Arc<str>, root: &'n Node) -> Keys<'n> {
        let mut report = Report::default();
        let fields = if root.is_null() { None } else { root.fields("a mapping of settings to values", &mut report) };
        let mut lines: HashMap<&str, usize> = HashMap::new();
        let mut entries = Vec::new();
        for entry in fields.map(Fields::rest).unwrap_or_default() {
            let name = entry.key.strip_prefix(':').unwrap_or(&entry.key);
            if let Some(line) = lines.insert(name, entry.at.line) {
                let found = format!("{} again, first in line {line}", quoted(&entry.key));
                report.expected(entry.at, "each setting once, with or without its leading colon", found);
            } else if !entry.value.is_null() {
                entries.push((name, entry));
            }
        }
        self.take(file, report);
        Keys { file, entries }
    }

    /// The profile decides what the defaults are, so it is looked for first; a bad value is reported
    /// when its turn comes.
    fn profile(&self, layers: &[Keys<'_>]) -> Profile {
        let last_first = layers.iter().rev().flat_map(|keys| &keys.entries);
        last_first
            .filter(|(name, _)| *name == "profile")
            .find_map(|(_, entry)| Profile::read(&entry.value).ok())
            .unwrap_or(Profile::Compatible)
    }

    fn apply(&mut self, keys: &Keys<'_>, settings: &mut Settings) {
        let Keys { file, entries } = keys;
        let mut report = Report::default();
        for (name, entry) in entries {
            let origin = Origin::File { file: Arc::clone(file), line: entry.at.line };
            match settings.set(name, &entry.value, origin.clone()) {
                Outcome::Set => {}
                Outcome::Bad(expected) => {
                    report.expected(entry.value.at, format!("`{name}` as {expected}"), shown(&entry.value));
                }
                Outcome::Unknown => other_key(name, entry, &mut report, settings, origin),
            }
        }
        check_ownership(entries, &mut report);
        self.take(file, report);
    }

    fn apply_environment(&mut self, environment: &Environment, settings: &mut Settings) {
        let mut bad = |variable: &Variable, expected: &str| {
            self.errors
                .mistakes
                .push(Mistake::InEnvironment { variable: variable.name, expected: expected.to_owned() });
        };
        if let Some(variable) = environment.https_proxy.as_ref().filter(|_| settings.proxy_uri.is_none()) {
            match ProxyUri::parse(&variable.value) {
                Some(proxy) => settings.proxy_uri = Setting::new(Some(proxy), Origin::Environment(variable.name)),
                None => bad(variable, read::PROXY),
            }
        }
        if let Some(variable) = environment.no_proxy.as_ref().filter(|_| !settings.no_proxy.is_explicit()) {
            let hosts = read::hosts_from(&variable.value);
            settings.no_proxy = Setting::new(hosts, Origin::Environment(variable.name));
        }
        if let Some(variable) = &environment.ssl_cert_file {
            match read::path_from(&variable.value) {
                Some(path) => settings.ssl_cert_file = Setting::new(Some(path), Origin::Environment(variable.name)),
                None => bad(variable, "the absolute path of a PEM file"),
            }
        }
    }

    fn take(&mut self, file: &Arc<str>, report: Report) {
        self.errors.add_file(file, &report.findings);
        let warnings = report.warnings.into_iter();
        self.warnings.extend(warnings.map(|w| ConfigWarning { file: file.clone(), at: w.at, message: w.message }));
    }
}

/// Keys that are no settings of their own.
fn other_key(name: &str, entry: &Entry, report: &mut Report, settings: &mut Settings, origin: Origin) {
    if name == IGNORE_OWNERSHIP {
        match read::boolean(&entry.value) {
            Ok(true) => settings.ownership = Setting::new(Ownership::Root, origin),
            Ok(false) => settings.ownership = Setting::new(Ownership::Preserve, origin),
            Err(expected) => report.expected(entry.value.at, format!("`{name}` as {expected}"), entry.value.describe()),
        }
    } else if name == DISABLE_IMDS_V1 {
        match read::boolean(&entry.value) {
            Ok(true) => {}
            Ok(false) => report.warn(entry.at, "`disable_imds_v1` is always on: only IMDSv2 is used"),
            Err(expected) => report.expected(entry.value.at, format!("`{name}` as {expected}"), entry.value.describe()),
        }
    } else if let Some((_, reason)) = RETIRED.iter().find(|(retired, _)| *retired == name) {
        report.warn(entry.at, format!("`{name}` has no effect: {reason}; remove it"));
    } else {
        let known = KEYS.iter().copied().chain([IGNORE_OWNERSHIP, DISABLE_IMDS_V1]);
        let guess = match nearest(name, known) {
            Some(known) => format!("; did you mean `{known}`?"),
            None => String::new(),
        };
        report.warn(entry.at, format!("the unknown setting {} is ignored{guess}", quoted(name)));
    }
}

/// Two names of one setting in one file must agree; between files the later one counts.
fn check_ownership(keys: &[(&str, &Entry)], report: &mut Report) {
    let find = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, entry)| *entry);
    let (Some(ownership), Some(ignore)) = (find("ownership"), find(IGNORE_OWNERSHIP)) else { return };
    let (Ok(policy), Ok(ignored)) = (Ownership::read(&ownership.value), read::boolean(&ignore.value)) else { return };
    if (policy == Ownership::Root) != ignored {
        let found = format!("`ownership: {policy}` in line {}", ownership.at.line);
        let expected = format!("`{IGNORE_OWNERSHIP}`, another name of `ownership`, to say the same");
        report.expected(ignore.at, expected, found);
    }
}

/// A bad value, for the message; one that may hold a password is not shown.
fn shown(value: &Node) -> String {
    match value.scalar() {
        Some(scalar) if scalar.text.contains('@') => "a value that holds `@` (not shown)".to_owned(),
        _ => value.describe(),
    }
}
