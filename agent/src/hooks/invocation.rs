//! What a script is started with, as plain data: program, arguments, environment, user, directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::login::Login;
use crate::appspec::Script;
use crate::appspec::extensions::{self, Extensions, VARIABLES};
use crate::deployment::{DeploymentSpec, RevisionSource};
use crate::ids::EventName;
use crate::process::{Account, Environment, Program};
use crate::revision::Revision;

/// Names the runner's directory of the script that a process descends from. Where there are no cgroups, this
/// finds what a lost script has left running. Sessions and groups would not do: a daemon leaves both.
pub const MARK: &str = "SLIPWAY_HOOK";

/// How a script becomes the user that it runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Become {
    /// Not at all: it runs as the agent's user.
    Nobody,
    /// Directly, by system calls, with what a login gives it.
    Account(Account, Box<Login>),
    /// By `sudo -n`, since the agent is not root: root itself, or the named user.
    Sudo(Option<String>),
}

/// How much of the agent's own environment a script gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// All but the agent's own credentials and what systemd tells the agent alone.
    All,
    /// The same without what the dynamic loader obeys.
    AllButLoader,
    /// A short list of names.
    AllowList,
}

/// Whose script is started, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The deployment that runs.
    pub spec: &'a DeploymentSpec,
    /// Its event.
    pub event: &'a EventName,
    /// The script.
    pub script: &'a Script,
    /// The revision that holds the script.
    pub revision: &'a Revision,
}

/// Variables of the agent that are credentials or lead to them, by the names of today and of old.
const CREDENTIALS: [&str; 18] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_CREDENTIAL_FILE",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// What systemd tells the service's own process: a script that had it could speak for the agent.
const SERVICE: [&str; 10] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "CREDENTIALS_DIRECTORY",
    "MAINPID",
];

/// The variables of the deployment. A value that the agent happens to have under such a name never shines
/// through.
fn is_of_deployment(name: &str) -> bool {
    VARIABLES.contains(&name) || name == MARK
}

const ALLOWED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE"];

/// The `PATH` of scripts where the agent has none.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program for one script. `base` is the agent's own environment, `mark` the runner's directory.
pub fn program(subject: Subject<'_>, user: Become, base: Environment, mark: &Path) -> Program {
    let path = subject.revision.root().join(subject.script.location.as_path());
    let mut environment = base;
    environment.0.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    let mut login = Login::default();
    let (path, mut args, account) = match user {
        Become::Nobody => (path, Vec::new(), None),
        Become::Account(account, given) => {
            login = *given;
            (path, Vec::new(), Some(account))
        }
        Become::Sudo(name) => {
            let mut args = vec!["-n".to_owned()];
            args.extend(name.into_iter().flat_map(|name| ["-u".to_owned(), name]));
            args.extend(["--".to_owned(), path.display().to_string()]);
            (PathBuf::from("sudo"), args, None)
        }
    };
    if let Some(account) = &account {
        environment.0.extend(account.variables().map(|(name, value)| (name.to_owned(), value)));
    }
    environment.0.extend(login.environment.0);
    let variables: BTreeMap<String, String> = variables(subject).collect();
    let expanded = |text: &String| extensions::expand(text, |name| variables.get(name).cloned());
    let Extensions { environment: own, args: own_args, .. } = &subject.script.extensions;
    args.extend(own_args.iter().map(expanded));
    environment.0.extend(own.iter().map(|(name, value)| (name.clone(), expanded(value))));
    environment.0.extend(variables);
    environment.0.insert(MARK.to_owned(), mark.display().to_string());
    Program {
        path,
        args,
        environment,
        directory: PathBuf::from("/"),
        account,
        umask: login.umask,
        limits: login.limits,
        priority: login.priority,
    }
}

/// What a script may inherit of `own`.
pub fn inherited(own: &Environment, inherit: Inherit) -> Environment {
    let loader = |name: &str| name.starts_with("LD_") || name == "GLIBC_TUNABLES";
    let kept = |name: &str| match inherit {
        Inherit::All => true,
        Inherit::AllButLoader => !loader(name),
        Inherit::AllowList => ALLOWED.contains(&name) || name.starts_with("LC_"),
    };
    let withheld = |name: &str| CREDENTIALS.contains(&name) || SERVICE.contains(&name) || is_of_deployment(name);
    let variables = own.0.iter().filter(|(name, _)| kept(name) && !withheld(name));
    Environment(variables.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// Says who the agent's user is, and what is its own, where nothing else does: a service of systemd is not told.
pub(super) fn name_own_user(environment: &mut Environment) {
    let Ok(Some(own)) = Account::own() else { return };
    for (name, value) in own.variables() {
        environment.0.entry(name.to_owned()).or_insert(value);
    }
}

fn variables(subject: Subject<'_>) -> impl Iterator<Item = (String, String)> {
    let spec = subject.spec;
    let mut variables = vec![
        ("LIFECYCLE_EVENT", Some(subject.event.to_string())),
        ("DEPLOYMENT_ID", Some(spec.deployment_id.to_string())),
        ("APPLICATION_NAME", Some(spec.application_name.clone())),
        ("DEPLOYMENT_GROUP_NAME", Some(spec.group_name.clone())),
        ("DEPLOYMENT_GROUP_ID", Some(spec.group_id.to_string())),
    ];
    match &spec.source {
        RevisionSource::S3(s3) => variables.extend([
            ("BUNDLE_BUCKET", Some(s3.bucket.clone())),
            ("BUNDLE_KEY", Some(s3.key.clone())),
            ("BUNDLE_VERSION", s3.version.clone()),
            ("BUNDLE_ETAG", s3.etag.clone()),
        ]),
        RevisionSource::GitHub(github) => variables.push(("BUNDLE_COMMIT", Some(github.commit.clone()))),
        RevisionSource::LocalFile { .. } | RevisionSource::LocalDirectory { .. } | RevisionSource::Retained(_) => {}
    }
    // A NUL would end the value early; a name of the service cannot hold one in earnest.
    variables.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.replace('\0', ""))))
}

#[cfg(test)]
mod tests;
