//! The host's own rules for SELinux labels, by which `restorecon` and a relabelling of the disk go. They are in
//! a database that `semanage` alone knows how to change.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Cause;
use super::settle::Drift;
use crate::disk::{self, Dir, fault};
use crate::plan::{Label, PathExpression, Rule};
use crate::process;

/// How long the rules of a host may take. Each change builds the policy anew, which takes seconds, or minutes
/// on a small host, and only one can be made at a time.
const PATIENCE: Duration = Duration::from_secs(600);
/// What `semanage` says of rules for things of every kind; others are not ours.
const EVERY_KIND: &str = "all files";
/// Where distributions keep the database.
const DATABASES: [&str; 2] = ["/var/lib/selinux", "/etc/selinux"];

/// The rules of a host, as its own `fcontext` entries have them.
pub(super) type Rules = BTreeMap<PathExpression, Label>;

/// Why the rules of a host were not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The program is not there any more.
    #[error(
        "the SELinux rules of this host have to be put back, and it has no `semanage` any more; install it again \
         (package policycoreutils-python-utils), then run `slipway-agent recover`"
    )]
    Missing,
    /// It could not be run.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// It said no.
    #[error("{} could not {action} the SELinux rules of this host: {why}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// What it was to do.
        action: &'static str,
        /// How it ended, and what it said.
        why: String,
    },
    /// It said yes, and did not do it.
    #[error("{} was told to change the SELinux rule for {paths} and said that it did, but the rule is not as it should be", program.display())]
    Unchanged {
        /// The program.
        program: PathBuf,
        /// Which rule.
        paths: PathExpression,
    },
    /// The file system said no.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// The program that knows the rules.
pub(super) struct Semanage(PathBuf);

impl Semanage {
    /// The one of this host.
    pub(super) fn find() -> Option<Self> {
        process::find_program("semanage").map(Self)
    }

    /// All rules of the host's own for things of every kind.
    pub(super) fn rules(&self) -> Result<Rules, RulesError> {
        let text = self.ask(&["fcontext", "-l", "-C", "-n"], "", "read")?;
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Changes rules from what they are to what is wanted, all together.
    fn change(&self, changes: &[Rule]) -> Result<(), RulesError> {
        fault::point("semanage", &self.0).map_err(|source| disk::Error::new("run", &self.0, source))?;
        // What is made in one transaction of its own is there whole or not at all.
        let commands: String = changes.iter().filter_map(command).collect();
        self.ask(&["import"], &commands, "change")?;
        let now = self.rules()?;
        if let Some(change) = changes.iter().find(|change| now.get(&change.paths) != change.want.as_ref()) {
            return Err(RulesError::Unchanged { program: self.0.clone(), paths: change.paths.clone() });
        }
        for database in DATABASES {
            match Dir::open(Path::new(database)) {
                Err(error) if error.is_not_found() => {}
                database => database?.sync_filesystem()?,
            }
        }
        Ok(())
    }

    fn ask(&self, args: &[&str], input: &str, action: &'static str) -> Result<String, RulesError> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        let answer = process::ask(&self.0, &args, input.as_bytes(), PATIENCE)?;
        match answer.failure {
            None => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
            Some(failure) => {
                let said = String::from_utf8_lossy(&answer.stderr);
                let words: Vec<&str> = said.split_whitespace().collect();
                let why = if words.is_empty() { failure } else { format!("{failure}: {}", words.join(" ")) };
                Err(RulesError::Refused { program: self.0.clone(), action, why })
            }
        }
    }
}

/// Makes the rules as they are to be. Somebody else's change since they were looked at is not overwritten.
pub(super) fn apply(rules: &[Rule]) -> Result<(), Cause> {
    if rules.is_empty() {
        return Ok(());
    }
    let semanage = Semanage::find().ok_or(RulesError::Missing)?;
    let now = semanage.rules()?;
    if let Some(rule) = rules.iter().find(|rule| now.get(&rule.paths) != rule.was.as_ref()) {
        return Err(Cause::ChangedMeanwhile { path: rule.paths.as_str().into() });
    }
    Ok(semanage.change(rules)?)
}

/// Puts the rules back, by what is in the database. What somebody else changed is left and reported.
pub(super) fn undo(rules: &[Rule], drift: &mut Vec<Drift>) -> Result<(), RulesError> {
    if rules.is_empty() {
        return Ok(());
    }
    let semanage = Semanage::find().ok_or(RulesError::Missing)?;
    let now = semanage.rules()?;
    let mut back = Vec::new();
    for Rule { paths, was, want } in rules {
        match now.get(paths) {
            now if now == was.as_ref() => {}
            now if now == want.as_ref() => {
                back.push(Rule { paths: paths.clone(), was: want.clone(), want: was.clone() });
            }
            now => drift.push(Drift {
                path: paths.as_str().into(),
                found: match now {
                    Some(label) => format!("somebody else changed its SELinux rule to {label}"),
                    None => "somebody else removed its SELinux rule".to_owned(),
                },
            }),
        }
    }
    if back.is_empty() { Ok(()) } else { semanage.change(&back) }
}

/// What a line of `semanage fcontext -l` says: expression, kind of things, label. A rule that gives no label
/// has another word in the label's place, one that makes a directory the equal of another an equals sign.
fn parse(line: &str) -> Option<(PathExpression, Label)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [paths, kind @ .., label] = words.as_slice() else { return None };
    if kind.join(" ") != EVERY_KIND {
        return None;
    }
    Some(((*paths).to_owned().try_into().ok()?, (*label).to_owned().try_into().ok()?))
}

/// A line for `semanage import`. Neither expressions nor labels hold blanks or quotes.
fn command(Rule { paths, was, want }: &Rule) -> Option<String> {
    let verb = match (was, want) {
        (None, None) => return None,
        (Some(_), None) => return Some(format!("fcontext -d {paths}\n")),
        (None, Some(_)) => "-a",
        (Some(_), Some(_)) => "-m",
    };
    let (user, kind, range) = want.as_ref()?.parts();
    let range = range.map(|range| format!(" -r {range}")).unwrap_or_default();
    Some(format!("fcontext {verb} -s {user} -t {kind}{range} {paths}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Label {
        Label::try_from(text.to_owned()).unwrap()
    }

    fn paths(text: &str) -> PathExpression {
        PathExpression::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn rules_of_every_kind_are_read_and_others_passed_over() {
        let text = "\
/srv/app/a\\.conf                                   all files          system_u:object_r:httpd_t:s0 
/srv(/.*)?                                         all files          staff_u:object_r:var_t:s0-s1:c0.c3 
/srv/dir                                           directory          system_u:object_r:var_t:s0 
/srv/none                                          all files          <<None>>
/srv/old                                           all files          system_u:object_r:var_t 

SELinux Local fcontext Equivalence 

/srv/one = /srv/two
";
        let rules: Rules = text.lines().filter_map(parse).collect();
        assert_eq!(
            rules,
            Rules::from([
                (paths("/srv/app/a\\.conf"), label("system_u:object_r:httpd_t:s0")),
                (paths("/srv(/.*)?"), label("staff_u:object_r:var_t:s0-s1:c0.c3")),
                (paths("/srv/old"), label("system_u:object_r:var_t")),
            ])
        );
    }

    #[test]
    fn each_change_is_one_command() {
        let (one, other) = (label("system_u:object_r:httpd_t:s0"), label("staff_u:object_r:var_t"));
        for (was, want, expected) in [
            (None, Some(&one), "fcontext -a -s system_u -t httpd_t -r s0 /a\\.b\n"),
            (Some(&one), Some(&other), "fcontext -m -s staff_u -t var_t /a\\.b\n"),
            (Some(&one), None, "fcontext -d /a\\.b\n"),
        ] {
            let rule = Rule { paths: paths("/a\\.b"), was: was.cloned(), want: want.cloned() };
            assert_eq!(command(&rule).unwrap(), expected);
        }
    }
}
