//! Which of the host's rules for labels a plan changes.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::grounds::{Grounds, Selinux};
use super::label::{Label, PathExpression, Rule};
use super::{OwnedToBe, Step};

/// A rule for each label that is given, and none for those that are not given any more. What somebody else
/// made of a rule that is not needed any more stays.
pub(super) fn label_rules(grounds: &Grounds<'_>, steps: &[Step], warnings: &mut Vec<String>) -> Vec<Rule> {
    let claims = grounds.claims;
    let is_labelled = |owned: &OwnedToBe<'_>| owned.state.label().is_some();
    let labelled: Vec<OwnedToBe<'_>> = steps.iter().filter_map(Step::owned).filter(is_labelled).collect();
    let wanted: BTreeMap<PathExpression, &Label> =
        labelled.iter().filter_map(|owned| Some((PathExpression::of(owned.path), owned.state.label()?))).collect();
    // Whoever gives no labels, and never did, need not look for what is owned.
    let owned: HashSet<&Path> = match claims.labels().next() {
        Some(_) => steps.iter().filter_map(Step::owned).map(|owned| owned.path).collect(),
        None => HashSet::new(),
    };
    let is_concerned = |path: &_| claims.number(path).is_some() || owned.contains(path);
    let given: BTreeMap<PathExpression, &Label> = claims
        .labels()
        .filter(|(path, _)| is_concerned(path))
        .map(|(path, label)| (PathExpression::of(path), label))
        .collect();
    let Selinux::Managed { rules: now, .. } = &grounds.survey.selinux else {
        let count = given.len() + claims.left_rules().count();
        if count > 0 {
            warnings.push(format!(
                "SELinux rules of earlier deployments stay ({count}): this host has no `semanage` that could remove them"
            ));
        }
        return Vec::new();
    };
    let mut rules: BTreeMap<PathExpression, Rule> = BTreeMap::new();
    for (paths, label) in &wanted {
        let was = now.get(paths);
        if was == Some(*label) {
            continue;
        }
        if let Some(theirs) = was.filter(|was| given.get(paths) != Some(was)) {
            warnings.push(format!("the SELinux rule of somebody else for {paths}, {theirs}, is changed to {label}"));
        }
        let rule = Rule { paths: paths.clone(), was: was.cloned(), want: Some((*label).clone()) };
        rules.insert(paths.clone(), rule);
    }
    let left = claims.left_rules().map(|paths| (paths, None));
    let ours = given.iter().map(|(paths, label)| (paths, Some(*label)));
    for (paths, label) in ours.chain(left) {
        match now.get(paths) {
            _ if wanted.contains_key(paths) => {}
            None => {}
            Some(was) if label.is_none_or(|label| label == was) => {
                let rule = Rule { paths: paths.clone(), was: Some(was.clone()), want: None };
                rules.insert(paths.clone(), rule);
            }
            Some(theirs) => {
                warnings.push(format!("the SELinux rule for {paths} stays: somebody else changed it to {theirs}"));
            }
        }
    }
    rules.into_values().collect()
}
