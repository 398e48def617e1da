#![allow(clippy::disallowed_methods, reason = "process owns the starting of programs")]

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::birth::begin_afresh;
use super::{Error, LOOK_AGAIN, Result};

/// Where programs for administrators are that a PATH may lack.
const USUAL: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Bytes of each output that are kept.
const KEPT: u64 = 64 << 20;

/// What a program of the host said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// How it ended; nothing for success.
    pub failure: Option<String>,
}

/// The program of this name, in this process's PATH or where such programs usually are.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(USUAL.map(PathBuf::from));
    #[cfg(test)]
    let directories = stand_ins::directory().into_iter().chain(directories);
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    directories.filter(|directory| directory.is_absolute()).map(|directory| directory.join(name)).find(is_program)
}

/// Runs a program of the host to its end, without a shell, in English; `input` is what it reads. After
/// `patience` it is ended.
pub fn ask(program: &Path, args: &[&OsStr], input: &[u8], patience: Duration) -> Result<Answer> {
    let start = |source| Error::Start { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command
        .args(args)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    begin_afresh(&mut command);
    let mut child = command.spawn().map_err(start)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let readers = || {
            // A program that ends without reading all of it has its reasons, and says them.
            let write = move || drop(stdin.map(|mut stdin| stdin.write_all(input)));
            Builder::new().spawn_scoped(scope, write)?;
            let stdout = Builder::new().spawn_scoped(scope, move || read(stdout))?;
            let stderr = Builder::new().spawn_scoped(scope, move || read(stderr))?;
            Ok((stdout, stderr))
        };
        let (stdout, stderr) = match readers() {
            Ok(readers) => readers,
            Err(source) => {
                // The first error is the one that tells: there are too many processes or threads.
                let _ = child.kill().and_then(|()| child.wait());
                return Err(start(source));
            }
        };
        let deadline = Instant::now() + patience;
        let mut overdue = false;
        let status = loop {
            match child.try_wait().map_err(|source| Error::System { action: "wait for a child", source })? {
                Some(status) => break status,
                None if !overdue && Instant::now() >= deadline => {
                    overdue = true;
                    child.kill().map_err(|source| Error::System { action: "end a child", source })?;
                }
                None => std::thread::sleep(LOOK_AGAIN),
            }
        };
        let joined = |output: std::thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
            output.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread panicked"))).map_err(start)
        };
        let failure =
            if overdue { Some(format!("it was ended after {} s", patience.as_secs())) } else { failure(status) };
        Ok(Answer { stdout: joined(stdout)?, stderr: joined(stderr)?, failure })
    })
}

/// The tests of one process run side by side, so that none of them may change PATH: each has its own
/// directory before it.
#[cfg(test)]
pub mod stand_ins {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    thread_local! {
        static DIRECTORY: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
    }

    /// Runs `work` on this thread with the programs of a directory before all others.
    pub fn with<T>(directory: &Path, work: impl FnOnce() -> T) -> T {
        let before = DIRECTORY.replace(Some(directory.to_owned()));
        let result = work();
        DIRECTORY.set(before);
        result
    }

    pub(super) fn directory() -> Option<PathBuf> {
        DIRECTORY.with(|directory| directory.borrow().clone())
    }
}

fn read(output: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(output) = output {
        output.take(KEPT).read_to_end(&mut kept)?;
    }
    Ok(kept)
}

fn failure(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("it exited with {code}")),
        (None, signal) => Some(format!("signal {} ended it", signal.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn shell(script: &str, input: &[u8], patience: Duration) -> Answer {
        ask(&find_program("sh").unwrap(), &["-c", script].map(OsStr::new), input, patience).unwrap()
    }

    #[test]
    fn a_program_is_told_and_answers() {
        let answer = shell("cat; echo $LC_ALL >&2; exit 3", b"said", PATIENCE);
        assert_eq!((&answer.stdout[..], &answer.stderr[..]), (&b"said"[..], &b"C\n"[..]));
        assert_eq!(answer.failure.as_deref(), Some("it exited with 3"));
        assert_eq!(shell("kill -9 $$", b"", PATIENCE).failure.as_deref(), Some("signal 9 ended it"));
    }

    #[test]
    fn much_is_written_and_read_without_anybody_waiting_for_ever() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(shell("cat", &input, PATIENCE).stdout.len(), input.len());
        // It never reads what it is given.
        assert_eq!(shell("exit 0", &input, PATIENCE).failure, None);
    }

    #[test]
    fn one_that_takes_too_long_is_ended() {
        let answer = shell("exec sleep 600", b"", Duration::ZERO);
        assert_eq!(answer.failure.as_deref(), Some("it was ended after 0 s"));
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert_eq!(find_program("no-such-program-anywhere"), None);
        let error = ask(Path::new("/no/such/program"), &[], b"", PATIENCE).unwrap_err();
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }
}
