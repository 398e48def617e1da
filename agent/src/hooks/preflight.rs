//! What can be said of a script before it is started: better words than the system's own.

use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::first_line::{Ending, FirstLine, LOOKED_AT};
use crate::appspec::Script;
use crate::disk::{self, Dir, Kind};
use crate::outcome::{ErrorCode, Failure};
use crate::revision::Revision;

/// Why a script cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub code: ErrorCode,
    pub message: String,
}

/// The file of a script.
struct Program {
    real: PathBuf,
    stat: disk::Stat,
    head: Vec<u8>,
}

/// What was done to a script so that it can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mended {
    /// Nothing.
    Nothing,
    /// It was not executable, and is now.
    Mode,
}

/// The failure of a script that its revision does not hold, as the event would have it. The file's mode and first
/// line are passed over: what is between now and the event can change what they mean.
pub fn known_failure(revision: &Revision, script: &Script) -> Option<Failure> {
    let Unfit { code, message } = program(revision, script).err()?;
    Some(Failure::of_script(&script.written, code, message))
}

/// Finds a script's file in its revision.
fn program(revision: &Revision, script: &Script) -> Result<Program, Unfit> {
    let path = revision.root().join(script.location.as_path());
    let unfit = |code, message: String| Err(Unfit { code, message });
    let real = match disk::resolve_beneath(revision.root(), script.location.as_path()) {
        Ok(real) => real,
        Err(error) if error.is_not_found() || error.is_not_a_directory() => {
            return unfit(ErrorCode::ScriptMissing, missing(revision, &path, script));
        }
        Err(error) => {
            let message = format!("Script at specified location: {} is refused: {error}", script.written);
            return unfit(ErrorCode::ScriptNotExecutable, message);
        }
    };
    let (stat, head) = examine(&real).map_err(|error| not_executable(script, error))?;
    match stat.kind {
        Kind::File => Ok(Program { real, stat, head }),
        Kind::Directory => Err(not_executable(script, "it is a directory; name a file in it")),
        _ => Err(not_executable(script, "it is not a regular file")),
    }
}

fn not_executable(script: &Script, why: impl Display) -> Unfit {
    let message = format!("Script at specified location: {} is not executable: {why}", script.written);
    Unfit { code: ErrorCode::ScriptNotExecutable, message }
}

/// Looks at a script that is about to be started. One without the executable bit gets it, as from AWS's agent: a bundle's
/// scripts have it from DownloadBundle on, but not those that an earlier script wrote.
pub(super) fn check(revision: &Revision, script: &Script) -> Result<Mended, Unfit> {
    let Program { real, stat, head } = program(revision, script)?;
    let mended = if stat.mode & 0o111 == 0 { make_executable(&real, &stat, script)? } else { Mended::Nothing };
    let FirstLine::Interpreter(line) = FirstLine::of(&head) else { return Ok(mended) };
    let not_executable = |why: String| Err(not_executable(script, why));
    match line.program() {
        _ if line.ending == Ending::CarriageReturn => not_executable(format!(
            "its first line {:?} ends in a carriage return, so the interpreter is not found: save the script with Unix \
             line ends (`sed -i 's/\\r$//' {}`, in git `*.sh text eol=lf` in .gitattributes)",
            format!("{}\r", line.text),
            script.written
        )),
        Some(program) if line.is_missing_here() => not_executable(format!(
            "its interpreter {program} is not on this host: install it, or correct the script's first line {:?}",
            line.text
        )),
        _ => Ok(mended),
    }
}

fn make_executable(real: &Path, stat: &disk::Stat, script: &Script) -> Result<Mended, Unfit> {
    let directory = Dir::open(real.parent().unwrap_or(Path::new("/")));
    let made = directory.and_then(|dir| disk::make_executable(&dir, Path::new(real.file_name().unwrap_or_default())));
    match made {
        Ok(_) => Ok(Mended::Mode),
        Err(error) => Err(not_executable(
            script,
            format!(
                "its mode is {:04o}, and it could not be changed ({error}); set the executable bit in the bundle (`chmod +x \
                 {}`, in git `git update-index --chmod=+x`)",
                stat.mode, script.written
            ),
        )),
    }
}

fn missing(revision: &Revision, path: &Path, script: &Script) -> String {
    if let Some(meant) = revision.meant_by(&script.written) {
        return format!(
            "Script does not exist at specified location: {} (hooks, line {} of the AppSpec): {meant}.",
            script.written, script.at.line
        );
    }
    let beside = path
        .parent()
        .and_then(|parent| Dir::open(parent).and_then(|dir| dir.entries()).ok())
        .map(|entries| {
            let names: Vec<String> =
                entries.iter().take(10).map(|entry| entry.name.to_string_lossy().into_owned()).collect();
            if names.is_empty() {
                "; its directory is empty".to_owned()
            } else {
                format!("; its directory holds {}", names.join(", "))
            }
        })
        .unwrap_or_else(|| "; its directory is not there either".to_owned());
    format!(
        "Script does not exist at specified location: {} (hooks, line {} of the AppSpec; looked for {}{beside}). Correct \
         the location, in which upper and lower case count, or add the file to the bundle.",
        script.written,
        script.at.line,
        path.display()
    )
}

fn examine(real: &PathBuf) -> disk::Result<(disk::Stat, Vec<u8>)> {
    let parent = Dir::open(real.parent().unwrap_or(Path::new("/")))?;
    let name = real.file_name().unwrap_or_default();
    let stat = parent.stat(name)?;
    let mut head = Vec::new();
    if stat.kind == Kind::File {
        let file = parent.open_file(name)?;
        file.take(LOOKED_AT as u64).read_to_end(&mut head).map_err(|source| disk::Error::new("read", real, source))?;
    }
    Ok((stat, head))
}
