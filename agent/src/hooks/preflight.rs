//! What can be said of a script before it is started: better words than the system's own.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::first_line::{Ending, FirstLine, LOOKED_AT};
use crate::appspec::Script;
use crate::disk::{self, Dir, Kind};
use crate::outcome::ErrorCode;
use crate::revision::Revision;

/// Why a script cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub code: ErrorCode,
    pub message: String,
}

/// Looks at a script's file in its revision.
pub(super) fn check(revision: &Revision, script: &Script) -> Result<(), Unfit> {
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
    let not_executable = |why: String| {
        unfit(
            ErrorCode::ScriptNotExecutable,
            format!("Script at specified location: {} is not executable: {why}", script.written),
        )
    };
    let (stat, head) = match examine(&real) {
        Ok(found) => found,
        Err(error) => return not_executable(error.to_string()),
    };
    match stat.kind {
        Kind::File => {}
        Kind::Directory => return not_executable("it is a directory; name a file in it".to_owned()),
        _ => return not_executable("it is not a regular file".to_owned()),
    }
    if stat.mode & 0o111 == 0 {
        return not_executable(format!(
            "its mode is {:04o}; set the executable bit in the bundle (`chmod +x {}`, in git `git update-index \
             --chmod=+x`)",
            stat.mode, script.written
        ));
    }
    let FirstLine::Interpreter(line) = FirstLine::of(&head) else { return Ok(()) };
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
        _ => Ok(()),
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
