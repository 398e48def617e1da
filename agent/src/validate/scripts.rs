//! Whether the scripts of an AppSpec can be started.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::excerpt::Source;
use super::places::Field;
use super::{Examination, Severity, ValidateError};
use crate::appspec::{AppSpec, Position, Script};
use crate::disk::{self, Dir, Kind, Stat};
use crate::hooks::first_line::{Ending, FirstLine, InterpreterLine};
use crate::revision::Revision;
use crate::yaml::nearest;

/// How much of a script is looked at, in bytes.
const LOOKED_AT: u64 = 1 << 20;
/// Interpreters to which a carriage return is a character like any other.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// A script's file.
struct Found {
    stat: Stat,
    /// Its beginning; nothing where it is no file.
    head: Vec<u8>,
}

impl Examination {
    pub(super) fn scripts(&mut self, spec: &AppSpec, revision: &Revision, shown: &Path) -> Result<(), ValidateError> {
        let mut seen = BTreeSet::new();
        for script in spec.hooks.values().flatten() {
            let Some(found) = self.script_file(script, revision)? else { continue };
            // One file can be the script of several events.
            if seen.insert(&script.location) {
                let file = shown.join(script.location.as_path()).display().to_string();
                self.first_line(&Source::new(file, &found.head), &found.head);
            }
        }
        Ok(())
    }

    /// The file of a script, if it is one that can be started.
    fn script_file(&mut self, script: &Script, revision: &Revision) -> Result<Option<Found>, ValidateError> {
        let at = self.place(script.at, Field::Location);
        let written = &script.written;
        let real = match disk::resolve_beneath(revision.root(), script.location.as_path()) {
            Ok(real) => real,
            Err(error) if error.is_not_found() || error.is_not_a_directory() => {
                let message = format!("the revision has no script `{written}`{}", instead(revision, script));
                self.error(at, message);
                return Ok(None);
            }
            // A link that leads out of the revision, or in a circle.
            Err(error) => {
                self.error(at, format!("the script `{written}` is refused: {}", error.source));
                return Ok(None);
            }
        };
        let found = examine(&real)?;
        match found.stat.kind {
            Kind::File => {}
            Kind::Directory => {
                self.error(at, format!("`{written}` is a directory: name a script in it"));
                return Ok(None);
            }
            _ => {
                self.error(at, format!("`{written}` is not a regular file, so it cannot be a script"));
                return Ok(None);
            }
        }
        if found.stat.mode & 0o111 == 0 {
            let message = format!(
                "the script `{written}` is not executable (mode {:04o}); the agent makes it so, with a warning each \
                 time: `chmod +x`, in git `git update-index --chmod=+x`",
                found.stat.mode
            );
            self.warning(at, message);
        }
        Ok(Some(found))
    }

    fn first_line(&mut self, source: &Source, head: &[u8]) {
        let start = Position::START;
        match FirstLine::of(head) {
            FirstLine::Program => {}
            _ if head.is_empty() => self.warn_in(source, start, "this script is empty, so it does nothing".to_owned()),
            FirstLine::ByteOrderMark => {
                let message = "this script begins with a byte order mark, so its interpreter line is not seen and \
                               /bin/sh runs it: save it as UTF-8 without one (`sed -i '1s/^\\xEF\\xBB\\xBF//'`)";
                self.warn_in(source, start, message.to_owned());
                self.carriage_returns(source, head);
            }
            FirstLine::None => {
                let message = "this script has no interpreter line, so /bin/sh runs it: begin it with `#!/bin/sh`, or \
                               what it is written for";
                self.warn_in(source, start, message.to_owned());
                self.carriage_returns(source, head);
            }
            FirstLine::Interpreter(line) => self.interpreter(source, &line, head),
        }
    }

    fn interpreter(&mut self, source: &Source, line: &InterpreterLine, head: &[u8]) {
        let at = Position { line: 1, column: 3 };
        if line.ending == Ending::CarriageReturn {
            let end = Position { line: 1, column: line.text.chars().count() + 1 };
            let message = "this line ends in a carriage return, so the interpreter is not found: save the script with \
                           Unix line ends (`sed -i 's/\\r$//'`, in git `*.sh text eol=lf` in .gitattributes)";
            return self.fail_in(source, end, message.to_owned());
        }
        match line.program() {
            None => self.fail_in(source, at, "this line names no interpreter: `#!/bin/sh`, for example".to_owned()),
            // Scripts start in `/`, and the kernel looks for the interpreter from there.
            Some(program) if !program.starts_with('/') && program.contains('/') => {
                let message = format!(
                    "the interpreter `{program}` is found only where a script starts in `/`: name it by its absolute \
                     path, `#!/{program}`"
                );
                self.warn_in(source, at, message);
            }
            Some(program) if !program.starts_with('/') => {
                let message = format!(
                    "the interpreter must be an absolute path: `#!/usr/bin/env {program}` finds `{program}` by itself"
                );
                self.fail_in(source, at, message);
            }
            Some(program) if line.is_missing_here() => {
                let message = format!("the interpreter {program} is not on this machine; is it on the hosts?");
                self.warn_in(source, at, message);
            }
            Some(program) => {
                let name = Path::new(program).file_name().unwrap_or_default();
                let argument = line.argument().unwrap_or_default();
                if name == "env" && argument.contains([' ', '\t']) && !argument.starts_with('-') {
                    let message = format!(
                        "{program} gets all that follows as one name, `{argument}`, and does not find it: write \
                         `#!{program} -S {argument}`"
                    );
                    self.fail_in(source, at, message);
                }
                let run = if name == "env" { argument } else { &name.to_string_lossy() };
                if SHELLS.contains(&run) {
                    self.carriage_returns(source, head);
                }
            }
        }
    }

    /// Lines after the first that a shell reads with a carriage return at their end.
    fn carriage_returns(&mut self, source: &Source, head: &[u8]) {
        let mut lines = head.split(|byte| *byte == b'\n').zip(1..);
        let Some((line, number)) = lines.find(|(line, _)| line.ends_with(b"\r")) else { return };
        let column = String::from_utf8_lossy(line).chars().count();
        let message = "this line ends in a carriage return, which the shell takes for a part of the command: save the \
                       script with Unix line ends";
        self.warn_in(source, Position { line: number, column }, message.to_owned());
    }

    fn fail_in(&mut self, source: &Source, at: Position, message: String) {
        self.validation.add(source.finding(Severity::Error, at, message));
    }

    fn warn_in(&mut self, source: &Source, at: Position, message: String) {
        self.validation.add(source.finding(Severity::Warning, at, message));
    }
}

fn examine(real: &Path) -> Result<Found, disk::Error> {
    let parent = Dir::open(real.parent().unwrap_or(Path::new("/")))?;
    let name = real.file_name().unwrap_or_default();
    let stat = parent.stat(name)?;
    let mut head = Vec::new();
    if stat.kind == Kind::File {
        let file = parent.open_file(name)?;
        file.take(LOOKED_AT).read_to_end(&mut head).map_err(|source| disk::Error::new("read", real, source))?;
    }
    Ok(Found { stat, head })
}

/// What could have been meant by a script that is not there.
fn instead(revision: &Revision, script: &Script) -> String {
    const LISTED: usize = 8;
    if let Some(meant) = revision.meant_by(&script.written) {
        return format!(": {meant}");
    }
    let directory = script.location.as_path().parent().unwrap_or(Path::new(""));
    let name = script.location.as_path().file_name().unwrap_or_default().to_string_lossy();
    let entries = Dir::open(revision.root()).and_then(|root| root.open_dir(directory)).and_then(|dir| dir.entries());
    let Ok(entries) = entries else {
        return format!(", nor a directory `{}`", directory.display());
    };
    let names: Vec<String> = entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    if let Some(guess) = nearest(&name, names.iter().map(String::as_str)) {
        return format!("; did you mean `{}`?", directory.join(guess).display());
    }
    match names.as_slice() {
        [] => "; its directory is empty".to_owned(),
        names => {
            let listed: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
            let more = if names.len() > LISTED { ", …" } else { "" };
            format!("; its directory holds {}{more}", listed.join(", "))
        }
    }
}
