//! Where one scenario happens: a directory, and the processes that belong to it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every process that is started in a place carries its path in this variable, and so do the hooks
/// that an agent starts, and the services that hooks start.
pub const PLACE_VARIABLE: &str = "SLIPWAY_PLACE";

/// Lines of each log that a failure shows.
const LOG_LINES: usize = 40;

/// A directory of its own under the system's temporary one. When it is dropped, the processes that
/// belong to it are ended and the directory is removed.
#[derive(Debug)]
pub struct Place {
    dir: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Place {
    /// A new place in the system's temporary directory.
    pub fn new() -> Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// A new place below `directory`.
    pub fn new_in(directory: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("slipway-").tempdir_in(directory).context("make a directory")?;
        // Users that hooks run as must reach their scripts.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let path = dir.path().canonicalize()?;
        fs::create_dir(path.join("logs"))?;
        Ok(Self { dir: Some(dir), path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the programs' logs.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// A directory in it, made with its parents.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Leaves directory and processes as they are.
    pub fn keep(mut self) -> PathBuf {
        if let Some(dir) = self.dir.take() {
            let _ = dir.keep();
        }
        self.path.clone()
    }

    /// The last lines of every log, for the message of a failure.
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        let mut logs: Vec<PathBuf> =
            fs::read_dir(self.logs()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        logs.sort();
        for log in logs {
            let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            words.push_str(&format!("--- {} ({} lines)\n", log.display(), lines.len()));
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                words.push_str(line);
                words.push('\n');
            }
        }
        words
    }

    /// Ends it as dropping it does, and gives the processes that could not be ended.
    pub fn end(self) -> Vec<Pid> {
        let path = self.path.clone();
        drop(self);
        processes(&path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.last_words());
        }
        if self.dir.is_some() {
            sweep(&self.path);
        }
    }
}

/// Ends every process of a place by its id, again until none is left, and gives up after some seconds.
pub fn sweep(place: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = processes(place);
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in left {
            let _ = kill(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that belong to a place: by environment, command line or working directory.
pub fn processes(place: &Path) -> Vec<Pid> {
    let own = Pid::this();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw))
        .filter(|pid| *pid != own && belongs(*pid, place))
        .collect()
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// The same in the place of what is there, which is replaced as a whole.
pub fn replace_private(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("fresh");
    write_private(&fresh, text)?;
    fs::rename(&fresh, path).with_context(|| format!("replace {}", path.display()))
}

fn belongs(pid: Pid, place: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let marker = [PLACE_VARIABLE.as_bytes(), b"=", place.as_os_str().as_bytes()].concat();
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    if environment.split(|byte| *byte == 0).any(|variable| variable == marker) {
        return !is_zombie(&process);
    }
    let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
    if arguments.split(|byte| *byte == 0).any(|argument| Path::new(OsStr::from_bytes(argument)).starts_with(place)) {
        return true;
    }
    fs::read_link(process.join("cwd")).is_ok_and(|directory| directory.starts_with(place))
}

fn is_zombie(process: &Path) -> bool {
    fs::read_to_string(process.join("stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')))
}

/// Runs one test in a place of its own; what it returns as an error is shown with the programs' logs.
pub fn scenario(test: impl FnOnce(&Place) -> Result<()>) -> Result<()> {
    let place = Place::new()?;
    test(&place).inspect_err(|_| eprintln!("{}", place.last_words()))
}
