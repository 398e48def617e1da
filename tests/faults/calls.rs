//! The system calls that change a file system or make a change durable, by name, and those of one run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Every call by which a process can change a file system, and every call that syncs one. A name with a
/// question mark is one that an older `strace` may not know.
const CHANGING: [&str; 50] = [
    "open",
    "openat",
    "openat2",
    "creat",
    "mknod",
    "mknodat",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "copy_file_range",
    "sendfile",
    "splice",
    "ioctl",
    "truncate",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "?fchmodat2",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "utimensat",
    "futimesat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "fsync",
    "fdatasync",
    "syncfs",
    "sync_file_range",
];

/// One call of a run.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its number among the calls of this name, from 1.
    pub nth: u32,
    /// How it was made, for messages.
    pub line: String,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before it.
    Killed,
    /// It does nothing, and fails with an error.
    Error(&'static str),
    /// It does nothing, and says that all is well.
    LeftOut,
}

impl Fault {
    /// As strace has it.
    fn action(self) -> String {
        match self {
            Self::Killed => "signal=KILL".to_owned(),
            Self::Error(error) => format!("error={error}"),
            Self::LeftOut => "retval=0".to_owned(),
        }
    }
}

impl Call {
    /// Whether it makes something durable.
    pub fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync" | "syncfs" | "sync_file_range")
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} number {}: {}", self.name, self.nth, self.line)
    }
}

/// Runs a command to its end and answers the calls that change something below `place`, in order.
pub fn record(place: &Path, command: &Command) -> Result<(Vec<Call>, Output)> {
    let trace = place.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-qq", "-y", "-s", "16", "-o"]).arg(&trace);
    strace.arg("-e").arg(format!("trace={}", CHANGING.join(",")));
    let output = follow(strace, command).output().context("run strace")?;
    let text = fs::read_to_string(&trace).context("read the trace")?;
    fs::remove_file(&trace)?;
    let calls = parse(&text, place)?;
    Ok((calls, output))
}

/// Runs a command in which one call meets a fault.
pub fn inject(call: &Call, fault: Fault, command: &Command) -> Result<Output> {
    inject_into(&call.name, &format!("{}", call.nth), fault, command)
}

/// Runs a command in which calls meet a fault: all those of the name whose numbers are in `when`, as
/// strace writes ranges.
pub fn inject_into(name: &str, when: &str, fault: Fault, command: &Command) -> Result<Output> {
    let action = fault.action();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={name}")]);
    // With the filter, strace injects no signals.
    if fault != Fault::Killed {
        strace.arg("--seccomp-bpf");
    }
    strace.args(["-e", &format!("inject={name}:{action}:when={when}")]);
    follow(strace, command).output().context("run strace")
}

/// The command in which every call of that name on that path meets a fault.
pub fn inject_on(name: &str, path: &Path, fault: Fault, command: &Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(path).args(["-e", &format!("trace={name}")]);
    strace.args(["-e", &format!("inject={name}:{}:when=1+", fault.action())]);
    follow(strace, command)
}

/// Whether the process was killed; strace ends in the same way as what it follows.
pub fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9) || status.code() == Some(128 + 9)
}

fn follow(mut strace: Command, command: &Command) -> Command {
    strace.arg("--").arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

fn parse(text: &str, place: &Path) -> Result<Vec<Call>> {
    let place = place.to_str().context("the place has a name in UTF-8")?;
    let (mut calls, mut counts) = (Vec::new(), BTreeMap::new());
    let mut main = None;
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').context("a line of the trace has a thread")?;
        let rest = rest.trim_start();
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        ensure!(CHANGING.iter().any(|known| known.trim_start_matches('?') == name), "{name} is not in the list");
        let count = counts.entry((thread.to_owned(), name.to_owned())).or_insert(0u32);
        *count += 1;
        if !changes(name, arguments, place) {
            continue;
        }
        if *main.get_or_insert_with(|| thread.to_owned()) != thread {
            bail!("a second thread changes something, and the numbers of calls are by thread: {line}");
        }
        calls.push(Call { name: name.to_owned(), nth: *count, line: rest.chars().take(200).collect() });
    }
    Ok(calls)
}

/// Whether a call of that name can change anything: many of them open or write to what is no file.
fn changes(name: &str, arguments: &str, place: &str) -> bool {
    match name {
        "open" | "openat" | "openat2" => arguments.contains("O_CREAT") || arguments.contains("O_TRUNC"),
        "ioctl" => arguments.contains("FICLONE"),
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
            arguments.split_once('<').is_some_and(|(_, path)| path.starts_with(place))
        }
        _ => true,
    }
}
