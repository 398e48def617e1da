//! From the configuration to the parts that a command needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::logging::{Shape, Verbosity};
use crate::bundle::{Requirement, TrustedKeys};
use crate::config::{self, ConfigWarning, Exposure, HookPam, HookProfile, LogFormat, Ownership, Settings};
use crate::config_files::{self, Source};
use crate::deployment::FileExistsBehavior;
use crate::engine::{Access, Engine, KeepBundles, OnFailure, Policy, Reuse, Updates};
use crate::hooks::invocation::Inherit;
use crate::hooks::{CoreDumps, DeploymentsLog, HookSettings, Pam, ShellProfile, Unrecorded};
use crate::http::ThrottleGate;
use crate::identity::{Environment, Provider};
use crate::install;
use crate::layout::Layout;
use crate::plan::Refusals;
use crate::plan::grounds::{FollowedLinks, Labels, Modes, Objects};
use crate::process::{self, Account};
use crate::store::audit::Kept;
use crate::store::{self, Asker};
use crate::unpack;
use crate::validate::HostRules;
use anyhow::{Context as _, bail};

/// The configuration and what follows from it at once.
pub(super) struct Context {
    pub(super) settings: Settings,
    pub(super) layout: Layout,
    warnings: Vec<ConfigWarning>,
    /// What is open to others on the way to the services.
    pub(super) exposed: Vec<Exposure>,
    pub(super) environment: Environment,
    /// The file that was named, if one was.
    pub(super) path: Option<PathBuf>,
    /// One for everything that this process asks of a service.
    pub(super) gate: Arc<ThrottleGate>,
}

/// Older records of scripts that are kept.
const RECORDS: u32 = 8;

impl Context {
    /// Reads the configuration; all its mistakes come as one error.
    pub(super) fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let source = Source::from(path.map(Path::to_owned));
        let loaded = config_files::load(&source, &config::Environment::capture(variable))?;
        if *loaded.settings.disable_core_dumps {
            process::forbid_core_dumps()?;
        }
        Ok(Self {
            layout: Layout::new(loaded.settings.root_dir.as_path()),
            settings: loaded.settings,
            warnings: loaded.warnings,
            exposed: loaded.exposures,
            path: path.map(Path::to_owned),
            environment: Environment::capture(variable),
            gate: Arc::new(ThrottleGate::new()),
        })
    }

    /// What in the configuration has no effect, a line each.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(ToString::to_string)
    }

    /// What is open to others on the way to the services, a line each with what to do about it.
    pub(super) fn exposures(&self) -> impl Iterator<Item = String> {
        self.exposed.iter().map(|exposure| format!("{exposure} ({}); {}", exposure.origin, exposure.remedy()))
    }

    /// Says what in the configuration has no effect, and what it leaves open; after logging has started.
    pub(super) fn warn(&self) {
        for warning in self.warnings().chain(self.exposures()) {
            tracing::warn!("{warning}");
        }
    }

    /// The same for a command that keeps no log.
    pub(super) fn warn_on_stderr(&self) {
        for warning in &self.warnings {
            eprintln!("slipway-agent: {warning}");
        }
    }

    pub(super) fn verbosity(&self) -> Verbosity {
        if *self.settings.verbose { Verbosity::Verbose } else { Verbosity::Normal }
    }

    pub(super) fn shape(&self) -> Shape {
        match *self.settings.log_format {
            LogFormat::Text => Shape::Text,
            LogFormat::Json => Shape::Json,
        }
    }

    /// One thread waits for the network; the work is done on others, which block.
    pub(super) fn runtime(&self) -> anyhow::Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(self.settings.max_parallel_groups.get() + 4)
            .thread_keep_alive(Duration::from_secs(2))
            .build()
            .context("the runtime could not be started")
    }

    /// The same for a command whose work is done on the thread that calls this: the network is waited for on another
    /// one, which ends with the process.
    pub(super) fn runtime_of_its_own(&self) -> anyhow::Result<tokio::runtime::Handle> {
        let runtime = self.runtime()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .context("a thread could not be started")?;
        Ok(handle)
    }

    /// The engine, on a root directory that is ready for it.
    pub(super) fn engine(&self, runtime: tokio::runtime::Handle, provider: Provider) -> anyhow::Result<Engine> {
        store::prepare(&self.layout).context("the root directory cannot be used")?;
        if self.access() == Access::Restricted {
            store::restrict(&self.layout).context("the root directory cannot be closed to others")?;
        }
        self.engine_to_look(runtime, provider)
    }

    /// The engine, for a command that changes nothing: the root directory stays as it is.
    pub(super) fn engine_to_look(&self, runtime: tokio::runtime::Handle, provider: Provider) -> anyhow::Result<Engine> {
        let s3 = self.s3(runtime.clone(), provider)?;
        let github = self.github(&s3.client, runtime)?;
        Ok(Engine::new(self.layout.clone(), self.policy()?, s3, github))
    }

    fn policy(&self) -> anyhow::Result<Policy> {
        let settings = &self.settings;
        let runner = std::env::current_exe().context("the agent's own executable cannot be found")?;
        let user = (*settings.user).clone();
        Ok(Policy {
            file_exists: settings.file_exists_behavior.unwrap_or(FileExistsBehavior::Disallow),
            ownership: match *settings.ownership {
                Ownership::Preserve => install::Ownership::Preserve,
                Ownership::Root => install::Ownership::Root,
            },
            default_owner: default_owner(user.as_deref())?,
            max_revisions: *settings.max_revisions,
            retain_bytes: *settings.retain_bytes,
            bundles: if *settings.keep_bundles { KeepBundles::Yes } else { KeepBundles::No },
            reuse: if *settings.enable_archive_reuse { Reuse::Allowed } else { Reuse::Refused },
            requirement: if *settings.require_sha256 { Requirement::Sha256 } else { Requirement::None },
            trusted_keys: TrustedKeys::read(&settings.trusted_bundle_keys)?,
            unpack: self.unpack_policy(),
            access: self.access(),
            refusals: self.refusals(),
            on_failure: match *settings.on_failure {
                config::OnFailure::Report => OnFailure::Report,
                config::OnFailure::Restore => OnFailure::Restore,
            },
            updates: match *settings.update_agent {
                config::UpdateAgent::Refuse => Updates::Refused,
                config::UpdateAgent::Packages => Updates::Packages,
            },
            hooks: HookSettings {
                inherit: match (*settings.restrict_hook_env_to_allowlist, *settings.strip_loader_env_in_hooks) {
                    (true, _) => Inherit::AllowList,
                    (false, true) => Inherit::AllButLoader,
                    (false, false) => Inherit::All,
                },
                profile: match &*settings.hook_profile {
                    HookProfile::None => ShellProfile::default(),
                    HookProfile::File(path) => ShellProfile::at(path.clone()),
                },
                on_premises: Some(settings.on_premises_config_file.to_path_buf()),
                pam: match *settings.hook_pam {
                    HookPam::Auto => Pam::Auto,
                    HookPam::Off => Pam::Off,
                },
                core_dumps: self.core_dumps(),
                default_user: user,
                directory: settings.hook_directory.to_path_buf(),
                output_grace: *settings.output_grace_seconds,
                deployments_log: if *settings.enable_deployments_log {
                    DeploymentsLog::Written
                } else {
                    DeploymentsLog::Off
                },
                record: match *settings.script_record {
                    config::ScriptRecord::On => Some((self.record_kept(), Unrecorded::Run)),
                    config::ScriptRecord::Required => Some((self.record_kept(), Unrecorded::Refused)),
                    config::ScriptRecord::Off => None,
                },
                ..HookSettings::new(runner)
            },
        })
    }

    fn record_kept(&self) -> Kept {
        Kept { bytes: *self.settings.script_record_size, files: RECORDS }
    }

    fn access(&self) -> Access {
        if *self.settings.restrict_agent_dir_permissions { Access::Restricted } else { Access::Open }
    }

    fn core_dumps(&self) -> CoreDumps {
        if *self.settings.disable_core_dumps { CoreDumps::Forbidden } else { CoreDumps::Allowed }
    }

    /// What is not installed on this host whoever asks for it.
    pub(super) fn refusals(&self) -> Refusals {
        let mut refusals = Refusals::default();
        if *self.settings.reject_unsafe_permissions_in_bundle {
            refusals.modes = Modes::UnsafeRefused;
        }
        if *self.settings.follow_links == config::FollowLinks::Root {
            refusals.links = FollowedLinks::OfRoot;
        }
        if *self.settings.reject_symlink_permission_targets {
            refusals.objects = Objects::SymlinksRefused;
        }
        if *self.settings.reject_unconfined_selinux_in_bundle {
            refusals.labels = Labels::UnconfinedRefused;
        }
        refusals
    }

    /// What a revision is held to on this host, before it is deployed.
    pub(super) fn host_rules(&self) -> HostRules {
        HostRules { refusals: self.refusals(), symlinks: self.unpack_policy().symlinks, ..HostRules::default() }
    }

    /// What a bundle may hold on this host.
    pub(super) fn unpack_policy(&self) -> unpack::Policy {
        let settings = &self.settings;
        let mut policy = unpack::Policy::default();
        if let Some(bytes) = *settings.archive_max_extraction_size {
            policy.limits.bytes = bytes;
        }
        if let Some(entries) = *settings.archive_max_entries {
            policy.limits.entries = entries.get() as u64;
        }
        if *settings.reject_symlinks_in_bundle {
            policy.symlinks = unpack::Symlinks::Refused;
        }
        if *settings.reject_path_traversal_in_bundle {
            policy.parents = unpack::Parents::Refused;
        }
        if *settings.reject_unsafe_permissions_in_bundle {
            policy.modes = unpack::Modes::UnsafeRefused;
        }
        if *settings.ownership == Ownership::Root {
            policy.ownership = unpack::Ownership::Own;
        }
        policy
    }
}

/// Uid and gid of the setting `user`.
fn default_owner(user: Option<&str>) -> anyhow::Result<Option<(u32, u32)>> {
    let Some(name) = user else { return Ok(None) };
    match Account::find(name)? {
        Some(account) => Ok(Some((account.uid, account.gid))),
        None => {
            bail!("the setting `user` is {name:?}, and this host has no such user: create it, or correct the setting")
        }
    }
}

/// Who calls this command. Whoever came by `sudo` is named, since root is everybody.
pub(super) fn asker() -> anyhow::Result<Asker> {
    let (uid, own) = (rustix::process::geteuid().as_raw(), Account::own()?.map(|account| account.name));
    let name = match variable("SUDO_USER").filter(|_| process::is_root()) {
        Some(person) => Some(format!("{person} as {}", own.as_deref().unwrap_or("root"))),
        None => own,
    };
    Ok(Asker { uid, name })
}

#[expect(clippy::disallowed_methods, reason = "the environment is read here, at the edge")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
