#![allow(clippy::disallowed_methods, reason = "process owns the starting of programs")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use nix::unistd::{Gid, Uid, setgid, setgroups, setsid, setuid};
use serde::{Deserialize, Serialize};

use super::birth::Birth;
use super::{Account, Error, Identity, ResourceLimit, Result, is_root};

/// Names and values. Only the names are ever printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub BTreeMap<String, String>);

impl Environment {
    /// This process's own. Variables that are not UTF-8 are left out.
    pub fn of_this_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

/// A program with all that it is given, as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The file, or a name that is looked for in the environment's PATH.
    pub path: PathBuf,
    /// What follows the program's name.
    pub args: Vec<String>,
    /// All of its environment.
    pub environment: Environment,
    /// Where it begins.
    pub directory: PathBuf,
    /// Whom it becomes; this process's own user if absent.
    pub account: Option<Account>,
    /// Its umask; 0022 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Limits that are other than this process's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<ResourceLimit>,
    /// Its nice value; this process's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// Starts a program that goes on when this process ends in any way, and is nobody's child: in a session of its
/// own, with an empty environment and nothing of this process open but `errors`, to which its standard error
/// goes. Nothing where it has ended already.
pub fn start_detached(program: &Path, args: &[&OsStr], errors: File) -> Result<Option<Identity>> {
    let failed = |source| Error::Start { program: program.to_owned(), source };
    let (mut hello, hello_from_child) = io::pipe().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(args).env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let birth = Birth::prepare(None);
    let prepare = move || {
        setsid()?;
        // SAFETY: the copy of a process with one thread; its parent, a copy itself, ends at once without
        // running anything that others left to be run at the end.
        match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            _ => unsafe { libc::_exit(0) },
        }
        (&hello_from_child).write_all(&std::process::id().to_ne_bytes())?;
        birth.take()
    };
    // SAFETY: between fork and exec the closure only makes system calls; it allocates nothing and takes
    // no lock.
    unsafe { command.pre_exec(prepare) };
    let mut between = command.spawn().map_err(failed)?;
    // Closes this side's end of the greeting.
    drop(command);
    between.wait().map_err(|source| Error::System { action: "wait for a child", source })?;
    let mut pid = [0; 4];
    hello.read_exact(&mut pid).map_err(failed)?;
    Identity::of(i32::from_ne_bytes(pid))
}

/// Where a script's streams go.
#[derive(Debug)]
pub struct ScriptIo {
    /// Its standard output.
    pub stdout: PipeWriter,
    /// Its standard error.
    pub stderr: PipeWriter,
}

/// Why a program behind a gate did not start.
#[derive(Debug)]
pub enum Gate<E> {
    /// What had to be done first failed.
    Closed(E),
    /// The system refused to start it.
    Refused(io::Error),
}

/// Starts a program in a session of its own, but only after `first` was told its identity and has
/// succeeded: until then the new process waits. If this process ends before, so does the new one, and the
/// program has never begun.
pub fn start_gated<E>(
    program: &Program,
    io: ScriptIo,
    first: impl FnOnce(&Identity) -> std::result::Result<(), E>,
) -> std::result::Result<Identity, Gate<E>>
where
    E: From<Error> + Send,
{
    let (mut hello, hello_from_child) = io::pipe().map_err(Gate::Refused)?;
    let (gate, opener) = io::pipe().map_err(Gate::Refused)?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.args)
        .env_clear()
        .envs(&program.environment.0)
        .current_dir(&program.directory)
        .stdin(Stdio::null())
        .stdout(io.stdout)
        .stderr(io.stderr);
    let waiting = Waiting {
        hello: hello_from_child,
        gate,
        opener: opener.as_raw_fd(),
        become_user: becoming(program),
        birth: Birth::prepare(program.umask),
        limits: program.limits.clone(),
        priority: program.priority,
    };
    // SAFETY: between fork and exec `wait_at_gate` only makes system calls on what was prepared here; it
    // allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || waiting.wait_at_gate()) };
    std::thread::scope(|scope| {
        let spawning = scope.spawn(move || {
            let spawned = command.spawn();
            // Closes this side's end of the greeting, so that a child that never was is noticed.
            drop(command);
            spawned
        });
        let told = greet(&mut hello, first);
        match &told {
            Ok(Some(_)) => (&opener).write_all(&[1]).map_err(Gate::Refused)?,
            _ => drop(opener),
        }
        let spawned = spawning.join().unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")));
        match (told, spawned) {
            (Err(error), _) => Err(Gate::Closed(error)),
            (_, Err(error)) => Err(Gate::Refused(error)),
            (Ok(Some(identity)), Ok(_)) => Ok(identity),
            (Ok(None), Ok(_)) => Err(Gate::Refused(io::Error::other("the new process did not tell its number"))),
        }
    })
}

fn greet<E: From<Error>>(
    hello: &mut PipeReader,
    first: impl FnOnce(&Identity) -> std::result::Result<(), E>,
) -> std::result::Result<Option<Identity>, E> {
    let mut pid = [0; 4];
    if hello.read_exact(&mut pid).is_err() {
        return Ok(None);
    }
    let Some(identity) = Identity::of(i32::from_ne_bytes(pid))? else { return Ok(None) };
    first(&identity)?;
    Ok(Some(identity))
}

struct Become {
    groups: Vec<Gid>,
    gid: Gid,
    uid: Uid,
}

/// Only root can change groups; whoever is the user already needs not.
fn becoming(program: &Program) -> Option<Become> {
    let account = program.account.as_ref().filter(|account| is_root() || !account.is_own())?;
    Some(Become {
        groups: account.groups.iter().copied().map(Gid::from_raw).collect(),
        gid: account.gid.into(),
        uid: account.uid.into(),
    })
}

struct Waiting {
    hello: PipeWriter,
    gate: PipeReader,
    opener: RawFd,
    become_user: Option<Become>,
    birth: Birth,
    limits: Vec<ResourceLimit>,
    priority: Option<i32>,
}

impl Waiting {
    /// Runs in the child. Its copy of the gate's other end is closed first: with it open, the end of the
    /// parent would never be seen.
    fn wait_at_gate(&self) -> io::Result<()> {
        // SAFETY: in this process, a copy that is about to become another program, nothing else uses the
        // descriptor.
        unsafe { libc::close(self.opener) };
        setsid()?;
        (&self.hello).write_all(&std::process::id().to_ne_bytes())?;
        (&self.gate).read_exact(&mut [0])?;
        // While this process may still do so.
        self.limits.iter().for_each(ResourceLimit::set);
        if let Some(priority) = self.priority {
            // What the kernel does not allow stays as it is, as with a limit.
            let _ = rustix::process::setpriority_process(None, priority);
        }
        if let Some(user) = &self.become_user {
            setgroups(&user.groups)?;
            setgid(user.gid)?;
            setuid(user.uid)?;
        }
        self.birth.take()
    }
}
