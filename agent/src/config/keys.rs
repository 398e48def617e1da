//! The one table of settings: name, type, default, what `profile: strict` makes of it, and how a
//! value is read.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::origin::{Origin, Setting};
use super::read::{self, Show, optional};
use super::values::{
    FollowLinks, HookPam, HookProfile, LogFormat, OnFailure, Ownership, Profile, ProgressUpdates, ProxyUri,
    ScriptRecord, UpdateAgent,
};
use crate::deployment::FileExistsBehavior;
use crate::yaml::Node;

/// One setting, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The key, as it is written in a file.
    pub key: &'static str,
    /// The value; a password in a proxy's address is not shown.
    pub value: String,
    /// The same for programs: booleans, numbers (times are seconds, sizes bytes), texts, lists, or null.
    pub json: serde_json::Value,
    /// Where it came from.
    pub origin: Origin,
}

/// What became of a key that a file sets.
pub(super) enum Outcome {
    /// It was set.
    Set,
    /// Its value is not one that it can have; this is what was expected.
    Bad(String),
    /// There is no such key.
    Unknown,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr $(, strict $strict:expr)?, by $read:expr;)*) => {
        /// The agent's settings, valid as a whole. A field holds its value and where it came from.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            $($(#[$doc])* pub $name: Setting<$type>,)*
            /// A PEM file of trusted roots instead of the system's; from the environment variable
            /// `SSL_CERT_FILE`, no key of a file.
            pub ssl_cert_file: Setting<Option<PathBuf>>,
        }

        /// Every key that a file can set with an effect, but for other names of the same setting.
        pub const KEYS: &[&str] = &[$(stringify!($name)),*];

        impl Settings {
            /// The settings where nothing is set but the profile.
            pub fn defaults(profile: Profile) -> Self {
                Self {
                    $($name: defaulted(profile, $default, None $(.or(Some($strict)))?),)*
                    ssl_cert_file: Setting::new(None, Origin::Default),
                }
            }

            /// Sets one key from a file.
            pub(super) fn set(&mut self, key: &str, value: &Node, origin: Origin) -> Outcome {
                match key {
                    $(stringify!($name) => match $read(value) {
                        Ok(value) => {
                            self.$name = Setting::new(value, origin);
                            Outcome::Set
                        }
                        Err(expected) => Outcome::Bad(expected),
                    },)*
                    _ => Outcome::Unknown,
                }
            }

            /// All settings in a fixed order, for a person.
            pub fn describe(&self) -> Vec<Described> {
                let mut all = vec![
                    $(Described {
                        key: stringify!($name),
                        value: self.$name.show(),
                        json: self.$name.json(),
                        origin: self.$name.origin().clone(),
                    },)*
                ];
                if self.ssl_cert_file.is_some() {
                    let origin = self.ssl_cert_file.origin().clone();
                    let (value, json) = (self.ssl_cert_file.show(), self.ssl_cert_file.json());
                    all.push(Described { key: "SSL_CERT_FILE", value, json, origin });
                }
                all
            }
        }
    };
}

fn defaulted<T>(profile: Profile, compatible: T, strict: Option<T>) -> Setting<T> {
    match (profile, strict) {
        (Profile::Strict, Some(value)) => Setting::new(value, Origin::StrictProfile),
        _ => Setting::new(compatible, Origin::Default),
    }
}

settings! {
    /// How far the agent is hardened where a key is not set.
    profile: Profile = Profile::Compatible, by Profile::read;
    /// Where the agent keeps revisions and its state.
    root_dir: PathBuf = PathBuf::from("/opt/codedeploy-agent/deployment-root"), by read::directory_below_root;
    /// Where log files are written if it is set; without it they are only where no journal is.
    log_dir: PathBuf = PathBuf::from("/var/log/aws/codedeploy-agent"), by read::directory_below_root;
    /// Where AWS's agent keeps its pid file: it is looked for there too, so that two agents do not run on one root.
    pid_dir: Option<PathBuf> = None, by read::path_if_any;
    /// The name in logs.
    program_name: String = "codedeploy-agent".to_owned(), by read::text;
    /// Logs more.
    verbose: bool = false, by read::boolean;
    /// The form of the agent's own log.
    log_format: LogFormat = LogFormat::Text, by LogFormat::read;
    /// Logs requests to the commands service and its answers.
    log_aws_wire: bool = false, by read::boolean;
    /// Keeps the log of all deployments' scripts.
    enable_deployments_log: bool = true, by read::boolean;
    /// Between polls; not set, it is 1 s where the service holds polls open, else 30 s.
    wait_between_runs: Option<Duration> = None, by optional(read::seconds(0));
    /// After an error, before the next poll.
    wait_after_error: Duration = Duration::from_secs(30), by read::seconds(0);
    /// How long an answer may take.
    http_read_timeout: Duration = Duration::from_secs(80), by read::seconds(1);
    /// How long a shutdown waits for a command that runs.
    kill_agent_max_wait_time_seconds: Duration = Duration::from_secs(7200), by read::seconds(0);
    /// Revisions that are kept for each deployment group.
    max_revisions: NonZeroUsize = nonzero(5), by read::count(10_000);
    /// Bytes that revisions may take, beyond which old ones go.
    retain_bytes: Option<u64> = None, by optional(read::bytes);
    /// Keeps a bundle after it was unpacked.
    keep_bundles: bool = false, by read::boolean;
    /// Where figures for a monitoring system are kept.
    metrics_file: Option<PathBuf> = None, by optional(read::absolute_path);
    /// Deployment groups that are worked on at the same time.
    max_parallel_groups: NonZeroUsize = nonzero(4), by read::count(64);
    /// The on-premises identity.
    on_premises_config_file: PathBuf = PathBuf::from("/etc/codedeploy-agent/conf/codedeploy.onpremises.yml"),
        by read::absolute_path;
    /// Proxy for all services.
    proxy_uri: Option<ProxyUri> = None, by optional(read::proxy);
    /// Proxy for the commands service, before `proxy_uri`.
    control_proxy_uri: Option<ProxyUri> = None, by optional(read::proxy);
    /// Proxy for S3, before `proxy_uri`.
    s3_proxy_uri: Option<ProxyUri> = None, by optional(read::proxy);
    /// Hosts, domains and networks that are reached without a proxy.
    no_proxy: Vec<String> = Vec::new(), by read::hosts;
    /// PEM file of roots that are trusted besides the usual ones.
    ca_bundle: Option<PathBuf> = None, by optional(read::absolute_path);
    /// The commands service instead of the region's.
    deploy_control_endpoint: Option<Url> = None, by optional(read::endpoint);
    /// S3 instead of the region's.
    s3_endpoint_override: Option<Url> = None, by optional(read::endpoint);
    /// GitHub's API instead of that of github.com.
    github_endpoint_override: Option<Url> = None, by optional(read::endpoint);
    /// Uses endpoints with validated cryptography.
    use_fips_mode: bool = false, by read::boolean;
    /// Uses the commands service's endpoint for VPC endpoints with policies.
    enable_auth_policy: bool = false, by read::boolean;
    /// The header `x-amz-codedeploy-agent-version` instead of the agent's own.
    agent_version_header: Option<String> = None, by optional(read::header);
    /// Whether progress is reported while a command runs.
    progress_updates: ProgressUpdates = ProgressUpdates::Auto, by ProgressUpdates::read;
    /// What the agent does when the service asks it to update itself.
    update_agent: UpdateAgent = UpdateAgent::Refuse, by UpdateAgent::read;
    /// PEM file of the authorities whose signatures on specifications count.
    deployment_spec_ca_file: Option<PathBuf> = None, by optional(read::absolute_path);
    /// Accepts SHA-1 in the signature of a specification.
    allow_sha1_envelope: bool = false, by read::boolean;
    /// Refuses content without a SHA-256 to compare with.
    require_sha256: bool = false, by read::boolean;
    /// Files with keys of which one must have signed a bundle; none: bundles need no signature.
    trusted_bundle_keys: Vec<PathBuf> = Vec::new(), by read::paths;
    /// What Install does about files that exist already where neither AppSpec nor service says.
    file_exists_behavior: Option<FileExistsBehavior> = None, by optional(read::file_exists_behavior);
    /// Who owns what is installed where no permission entry says.
    ownership: Ownership = Ownership::Preserve, strict Ownership::Root, by Ownership::read;
    /// Who runs scripts without `runas`, and owns what is installed; not set, it is root.
    user: Option<String> = None, by optional(read::text);
    /// What the host does when an event after Install fails.
    on_failure: OnFailure = OnFailure::Report, by OnFailure::read;
    /// How long a script's output may stay open after the script ended.
    output_grace_seconds: Duration = Duration::from_secs(10), by read::seconds(0);
    /// The directory in which scripts run.
    hook_directory: PathBuf = PathBuf::from("/"), by read::absolute_path;
    /// The shell profile that gives hooks their base environment.
    hook_profile: HookProfile = HookProfile::File(PathBuf::from("/etc/profile")), by read::hook_profile;
    /// Whether scripts with `runas` get limits, variables and umask as the host's PAM gives them by `su`.
    hook_pam: HookPam = HookPam::Auto, by HookPam::read;
    /// Refuses bundles with symlinks.
    reject_symlinks_in_bundle: bool = false, strict true, by read::boolean;
    /// Refuses zips with `..` in a path instead of dropping it; tars with one are refused always.
    reject_path_traversal_in_bundle: bool = false, strict true, by read::boolean;
    /// Refuses bundles with files that all may write, or that carry set-id bits.
    reject_unsafe_permissions_in_bundle: bool = false, strict true, by read::boolean;
    /// Refuses AppSpecs that label files for unconfined domains.
    reject_unconfined_selinux_in_bundle: bool = false, strict true, by read::boolean;
    /// The symlinks on the way to a destination that are followed.
    follow_links: FollowLinks = FollowLinks::Safe, strict FollowLinks::Root, by FollowLinks::read;
    /// Refuses permission entries whose object is a symlink.
    reject_symlink_permission_targets: bool = false, strict true, by read::boolean;
    /// Makes the root directory readable by root alone.
    restrict_agent_dir_permissions: bool = false, strict true, by read::boolean;
    /// Makes the log directory readable by root alone.
    restrict_log_dir_permissions: bool = false, strict true, by read::boolean;
    /// Gives hooks an allow-list of the environment instead of all of it.
    restrict_hook_env_to_allowlist: bool = false, strict true, by read::boolean;
    /// Takes variables of the dynamic loader out of the hooks' environment.
    strip_loader_env_in_hooks: bool = false, strict true, by read::boolean;
    /// Whether each script that is run is put on record.
    script_record: ScriptRecord = ScriptRecord::On, strict ScriptRecord::Required, by ScriptRecord::read;
    /// Bytes of the record of scripts, and of each older one that is kept beside it.
    script_record_size: u64 = 16 << 20, by read::bytes;
    /// Bytes that an unpacked bundle may take.
    archive_max_extraction_size: Option<u64> = None, strict Some(10 << 30), by optional(read::bytes);
    /// Files, directories and links that a bundle may hold.
    archive_max_entries: Option<NonZeroUsize> = None, by optional(read::count(1_000_000));
    /// Keeps the agent and its hooks from writing core dumps.
    disable_core_dumps: bool = false, strict true, by read::boolean;
    /// Uses an unpacked revision again where the service asks for it and it is intact.
    enable_archive_reuse: bool = false, strict true, by read::boolean;
}

const fn nonzero(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}
