//! The modules of a PAM service (`pam.d(5)`).

use super::HostFiles;

/// Where services are, the administrator's first.
const DIRECTORIES: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"];
/// Services include each other no deeper.
const MAX_DEPTH: usize = 8;

/// A line of a service that names a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// The name of its file.
    pub name: String,
    /// What follows the name.
    pub args: Vec<String>,
}

impl Module {
    /// The value of the argument `name=value` that was given last.
    pub(super) fn arg(&self, name: &str) -> Option<&str> {
        self.args.iter().rev().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The modules of a service's sessions, in their order, with those of the services that it includes.
pub(super) fn session(host: &HostFiles<'_>, service: &str) -> Vec<Module> {
    let mut modules = Vec::new();
    read(host, service, 0, &mut modules);
    modules
}

fn read(host: &HostFiles<'_>, service: &str, depth: usize, modules: &mut Vec<Module>) {
    if depth > MAX_DEPTH || service.contains('/') {
        return;
    }
    let Some(text) = DIRECTORIES.iter().find_map(|directory| host.read(&format!("{directory}/{service}"))) else {
        return;
    };
    for line in text.replace("\\\n", " ").lines() {
        let words = words(line);
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["@include", other, ..] => read(host, other, depth + 1, modules),
            [kind, control, rest @ ..] if kind.trim_start_matches('-').eq_ignore_ascii_case("session") => {
                match (*control, rest) {
                    ("include" | "substack", [other, ..]) => read(host, other, depth + 1, modules),
                    (_, [path, args @ ..]) => modules.push(Module {
                        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
                        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                    }),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The words of a line up to its comment; what stands in brackets is one word.
fn words(line: &str) -> Vec<String> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
            Some(bracketed) => bracketed,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}
