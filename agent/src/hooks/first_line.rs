//! What the kernel will make of a script, from its first bytes.

use std::path::Path;

use crate::disk;

/// How many bytes the kernel looks at; a longer first line is cut there.
pub const LOOKED_AT: usize = 256;

/// How a file that is to be executed begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstLine {
    /// `#!`: its interpreter is started with it.
    Interpreter(InterpreterLine),
    /// A program in the machine's own code.
    Program,
    /// A byte order mark, which keeps the kernel from seeing what follows it.
    ByteOrderMark,
    /// Anything else: `/bin/sh` gets it.
    None,
}

/// A first line that names an interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterpreterLine {
    /// The line with its `#!`, without its end.
    pub text: String,
    /// How it ends.
    pub ending: Ending,
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As lines end here.
    Unix,
    /// With a carriage return, which becomes part of what the line says last.
    CarriageReturn,
}

impl FirstLine {
    /// Looks at the beginning of a file, of which [`LOOKED_AT`] bytes are enough.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(b"\x7fELF") {
            return Self::Program;
        }
        if head.starts_with(b"\xEF\xBB\xBF") {
            return Self::ByteOrderMark;
        }
        if !head.starts_with(b"#!") {
            return Self::None;
        }
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let (line, ending) = match line.strip_suffix(b"\r") {
            Some(line) => (line, Ending::CarriageReturn),
            None => (line, Ending::Unix),
        };
        Self::Interpreter(InterpreterLine { text: String::from_utf8_lossy(line).into_owned(), ending })
    }

    /// Whether a shell will read what follows.
    pub fn is_of_a_shell(&self) -> bool {
        let Self::Interpreter(line) = self else { return matches!(self, Self::None | Self::ByteOrderMark) };
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let program = match (line.program().map(name), line.argument()) {
            (Some(env), Some(argument)) if env == "env" => {
                argument.split_ascii_whitespace().find(|word| !word.starts_with('-')).map(name)
            }
            (program, _) => program,
        };
        program.is_some_and(|program| SHELLS.contains(&program.as_str()))
    }
}

/// Interpreters to which a carriage return is a character like any other.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// The number of the first line that ends as lines do on Windows.
pub fn first_windows_line(text: &[u8]) -> Option<usize> {
    text.split_inclusive(|byte| *byte == b'\n').position(|line| line.ends_with(b"\r\n")).map(|at| at + 1)
}

impl InterpreterLine {
    /// The interpreter as the line names it; nothing where it names none.
    pub fn program(&self) -> Option<&str> {
        self.words().split_ascii_whitespace().next()
    }

    /// All that follows the interpreter: the kernel hands it over as one argument.
    pub fn argument(&self) -> Option<&str> {
        let words = self.words();
        let (_, rest) = words.split_once([' ', '\t'])?;
        Some(rest.trim_ascii()).filter(|rest| !rest.is_empty())
    }

    /// Whether the interpreter is an absolute path at which this host has nothing.
    pub fn is_missing_here(&self) -> bool {
        self.program().filter(|program| program.starts_with('/')).is_some_and(|program| {
            disk::resolve_beneath(Path::new("/"), Path::new(program.trim_start_matches('/')))
                .is_err_and(|error| error.is_not_found())
        })
    }

    fn words(&self) -> &str {
        self.text.get(2..).unwrap_or_default().trim_ascii()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(head: &str) -> InterpreterLine {
        match FirstLine::of(head.as_bytes()) {
            FirstLine::Interpreter(line) => line,
            other => panic!("{head:?} is {other:?}"),
        }
    }

    #[test]
    fn files_are_told_apart_by_how_they_begin() {
        assert_eq!(FirstLine::of(b"\x7fELF\x02\x01"), FirstLine::Program);
        assert_eq!(FirstLine::of(b"\xEF\xBB\xBF#!/bin/sh\n"), FirstLine::ByteOrderMark);
        for none in [&b""[..], b"echo\n", b" #!/bin/sh\n", b"# !/bin/sh\n"] {
            assert_eq!(FirstLine::of(none), FirstLine::None);
        }
    }

    #[test]
    fn an_interpreter_has_one_argument() {
        for (head, program, argument) in [
            ("#!/bin/sh\necho", Some("/bin/sh"), None),
            ("#!/bin/sh", Some("/bin/sh"), None),
            ("#! /bin/sh -e \n", Some("/bin/sh"), Some("-e")),
            ("#!/usr/bin/env bash -e\r\n", Some("/usr/bin/env"), Some("bash -e")),
            ("#!\n", None, None),
            ("#!sh\n", Some("sh"), None),
        ] {
            let line = line(head);
            assert_eq!((line.program(), line.argument()), (program, argument), "{head:?}");
        }
        assert_eq!(line("#!/bin/sh\r\n").ending, Ending::CarriageReturn);
        assert_eq!(line("#!/bin/sh\r\n").text, "#!/bin/sh");
        assert_eq!(line("#!/bin/sh\n\r\n").ending, Ending::Unix);
    }

    #[test]
    fn shells_are_told_from_other_interpreters() {
        for head in
            ["#!/bin/sh\n", "#!/usr/bin/env bash\n", "#!/usr/bin/env -S bash -e\n", "#!/bin/bash -e\n", "echo\n"]
        {
            assert!(FirstLine::of(head.as_bytes()).is_of_a_shell(), "{head:?}");
        }
        for head in ["#!/usr/bin/python3\n", "#!/usr/bin/env node\n", "\x7fELF", "#!/usr/bin/env\n", "#!\n"] {
            assert!(!FirstLine::of(head.as_bytes()).is_of_a_shell(), "{head:?}");
        }
        assert_eq!(first_windows_line(b"a\nb\r\nc\r\n"), Some(2));
        assert_eq!(first_windows_line(b"a\rb\nc\r"), None);
    }

    #[test]
    fn an_interpreter_is_looked_for_on_this_host() {
        assert!(!line("#!/bin/sh\n").is_missing_here());
        assert!(line("#!/no/such/interpreter\n").is_missing_here());
        assert!(!line("#!relative\n").is_missing_here());
    }
}
