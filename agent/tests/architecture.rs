//! Holds the house: its floors, the doors to the outside, and the size of its rooms.
//!
//! The compiler does not mind a cycle between modules and clippy cannot ask who calls, so this test
//! reads the sources. It looks at what ships: code under `#[cfg(test)]` is left out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot read what it checks must fail")]
#![allow(clippy::disallowed_methods, reason = "reads the crate's own sources")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, ground floor first; each imports only from those before it. One row is a floor.
const FLOORS: [(&str, &[&str]); 7] = [
    ("pure", &["ids", "lifecycle", "deployment", "yaml", "appspec", "config", "plan", "outcome", "causes"]),
    ("effects", &["disk", "config_files", "process"]),
    ("network", &["http", "identity"]),
    ("state", &["layout", "store", "ledger", "journal"]),
    ("stages", &["revision", "bundle", "unpack", "install", "hooks", "validate"]),
    ("engine", &["engine"]),
    ("edges", &["service", "daemon", "cli"]),
];

/// Imports that go up on purpose, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// What only one module may touch: a path in the source, and the modules that own it.
const OWNERS: [(&str, &[&str]); 6] = [
    ("std::fs", &["disk", "process"]),
    // The command line asks about standard error, which is open already.
    // A runner looks at the pipes of its script.
    ("rustix::fs", &["disk", "hooks", "cli"]),
    ("process::Command", &["process"]),
    ("reqwest::Client", &["http"]),
    ("saphyr_parser", &["yaml"]),
    ("std::process::exit", &[]),
];

/// Longest file, in lines of code that ships. Most are under 300.
const MAX_LINES: usize = 400;

/// One source file without its tests.
struct Source {
    path: PathBuf,
    module: String,
    lines: Vec<(usize, String)>,
}

#[test]
fn modules_import_only_from_the_floors_below() {
    let order: Vec<&str> = FLOORS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = order.iter().position(|module| *module == source.module) else { continue };
        for (number, line) in &source.lines {
            for used in crate_modules(line) {
                let Some(used_at) = order.iter().position(|module| *module == used) else { continue };
                seen += 1;
                let excepted = EXCEPTIONS.iter().any(|(from, to, _)| *from == source.module && *to == used);
                if used_at > own && !excepted {
                    wrong.push(format!("{}:{number}: `{}` imports `{used}`", source.path.display(), source.module));
                }
            }
        }
    }
    assert!(seen > 8, "only {seen} imports were read: the sources are not where this test looks");
    assert!(wrong.is_empty(), "{} imports go up:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    let known: BTreeSet<&str> = FLOORS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    let homeless: BTreeSet<String> = sources()
        .into_iter()
        .map(|source| source.module)
        .filter(|module| !known.contains(module.as_str()) && module != "lib" && module != "main")
        .collect();
    assert!(homeless.is_empty(), "{homeless:?} stand in no row of FLOORS");
}

#[test]
fn the_outside_is_touched_only_by_its_owners() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in &source.lines {
            for (what, owners) in OWNERS {
                // An open file is a value that `disk` hands out; its type may be named anywhere.
                let line = &line.replace("std::fs::File;", "");
                if mentions(line, what) && !owners.contains(&source.module.as_str()) {
                    wrong.push(format!(
                        "{}:{number}: `{}` uses {what}, which belongs to {owners:?}",
                        source.path.display(),
                        source.module
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} doors are in the wrong room:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines.len() > MAX_LINES)
        .map(|source| format!("{}: {} lines", source.path.display(), source.lines.len()))
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines without tests:\n{}", long.join("\n"));
}

/// A key that nothing reads looks like protection and is none. What a key does, a test of whole programs sees, which sets
/// it in a configuration; that it can be read at all is for the tests of `config`.
#[test]
fn every_key_of_the_configuration_has_a_reader_and_a_test_that_sees_its_effect() {
    let sources = sources();
    let table = sources.iter().find(|source| source.path == Path::new("config/keys.rs")).unwrap();
    let keys: Vec<&str> = table.lines.iter().filter_map(|(_, line)| key_of(line)).collect();
    let tests = programs();
    let is_read = |key: &&str| {
        let field = format!(".{key}");
        let mut others = sources.iter().filter(|source| source.module != "config").flat_map(|source| &source.lines);
        others.any(|(_, line)| has_word(line, &field))
    };
    let is_set = |key: &&str| tests.iter().any(|text| has_word(text, &format!("{key}: ")));
    assert!(keys.len() >= 56, "only {} keys were found: {keys:?}", keys.len());
    let unread: Vec<_> = keys.iter().filter(|key| !is_read(key)).collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
    let unseen: Vec<_> = keys.iter().filter(|key| !is_set(key)).collect();
    assert!(unseen.is_empty(), "no test of whole programs sets {unseen:?}");
}

/// The page that says what is defended names a test for each attack, and the tests are there.
#[test]
fn every_attack_of_the_security_page_has_its_test() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(repository.join("docs/security.md")).unwrap();
    let rooms = ["tests/tests", "agent/src", "agent/tests", "control/tests"];
    let sources = rust_files(&rooms.map(|room| repository.join(room)));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let tests: Vec<&str> =
        rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|name| name.contains("::")).collect();
    let is_there = |test: &&&str| {
        let parts: Vec<&str> = test.split("::").collect();
        let [.., module, name] = parts[..] else { return false };
        let is_module = |path: &Path| {
            path.components().any(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs") == module)
        };
        let mut of_module = sources.iter().filter(|(path, _)| is_module(path));
        of_module.any(|(_, text)| name == "*" || text.contains(&format!("fn {name}(")))
    };
    assert!(tests.len() > 15, "only {} tests are named", tests.len());
    let missing: Vec<_> = tests.iter().filter(|test| !is_there(test)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

/// The key that a line of the table of settings describes.
fn key_of(line: &str) -> Option<&str> {
    let (key, rest) = line.strip_prefix("    ")?.split_once(": ")?;
    (rest.contains(" =") && identifier(key) == key).then_some(key)
}

/// The tests of whole programs, but for those of the configuration as such, which set keys to show them.
fn programs() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let files = rust_files(&[root.join("tests"), root.join("system"), root.join("interop")]);
    files.into_iter().filter(|(path, _)| !path.ends_with("configuration.rs")).map(|(_, text)| text).collect()
}

/// All sources below some directories.
fn rust_files(roots: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let mut folders = roots.to_vec();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// Whether a text has a word that is no part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        // In a source, a new line of a text is these two characters.
        let begins = word.starts_with('.') || before.ends_with("\\n") || !before.ends_with(inside);
        begins && (word.ends_with(' ') || !after.starts_with(inside))
    })
}

#[test]
fn the_reader_sees_what_it_should() {
    let modules = |line| crate_modules(line).collect::<Vec<_>>();
    assert_eq!(modules("use crate::ids::{DeploymentId, GroupId};"), ["ids"]);
    assert_eq!(modules("use crate::{ids, disk::Dir, plan::{state, manifest}};"), ["ids", "disk", "plan"]);
    assert_eq!(modules("let x = crate::store::read(&crate::layout::Layout::new(p));"), ["store", "layout"]);
    assert_eq!(modules("let x = mycrate::store::read();"), [""; 0]);
    let text =
        "use std::io;\n// std::fs\n/* a */ fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\nfn b() {}\n";
    let kept: Vec<String> = shipped(text).into_iter().map(|(number, line)| format!("{number} {line}")).collect();
    assert_eq!(kept, ["1 use std::io;", "3 /* a */ fn a() {}", "8 fn b() {}"]);
    assert!(mentions("use std::fs;", "std::fs") && mentions("std::fs::read(x)", "std::fs"));
    assert_eq!(key_of("    user: Option<String> = None, by optional(read::text);"), Some("user"));
    assert_eq!((key_of("    user: Option<String>,"), key_of("    /// one: two, by hand")), (None, None));
    assert!(has_word("*settings.user {", ".user") && !has_word("settings.user_name", ".user"));
    assert!(has_word("\"user: {name}\"", "user: ") && !has_word("a_user: b", "user: "));
    assert!(has_word("\"a: b\\nuser: c\"", "user: "));
    assert!(!mentions("use std::fstab;", "std::fs") && !mentions("mystd::fs::x", "std::fs"));
}

/// All files of the crate, with the top-level module that each belongs to.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "tests" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests" {
                let inside = path.strip_prefix(&root).unwrap();
                let module = inside.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
                let lines = shipped(&fs::read_to_string(&path).unwrap());
                found.push(Source { path: inside.to_owned(), module, lines });
            }
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

/// The lines that ship, with their numbers: no comments, no empty lines, nothing under `#[cfg(test)]`,
/// and each `use` in one line.
fn shipped(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let code = line.trim();
        if code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test") {
            skip_item(&mut lines);
        } else if code.starts_with("use ") && !code.ends_with(';') {
            let mut whole = code.to_owned();
            while !whole.ends_with(';') {
                let Some((_, next)) = lines.next() else { break };
                whole.push_str(next.trim());
            }
            kept.push((number + 1, whole));
        } else if !code.is_empty() && !code.starts_with("//") {
            kept.push((number + 1, line.to_owned()));
        }
    }
    kept
}

/// Skips the item that follows an attribute: to its `;`, or to the brace that closes it. The sources
/// are formatted, so that brace stands alone at the indentation at which the item began.
fn skip_item<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    for (_, line) in lines.by_ref() {
        let code = line.trim_end();
        if code.trim_start().starts_with("#[") {
            continue;
        }
        if code.ends_with(';') || code.ends_with('}') {
            return;
        }
        let indentation = &code[..code.len() - code.trim_start().len()];
        let end = format!("{indentation}}}");
        lines.by_ref().find(|(_, line)| line.trim_end() == end);
        return;
    }
}

/// The top-level modules that a line names by `crate::…`.
fn crate_modules(line: &str) -> impl Iterator<Item = &str> {
    occurrences(line, "crate::").flat_map(|rest| match rest.strip_prefix('{') {
        None => vec![identifier(rest)],
        Some(list) => {
            let mut depth = 0;
            list.split(|c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                c == ',' && depth == 0
            })
            .map(|item| identifier(item.trim()))
            .collect()
        }
    })
}

/// Whether a line names a path, whole.
fn mentions(line: &str, path: &str) -> bool {
    occurrences(line, path).any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// What follows each place where `path` begins as a path of its own.
fn occurrences<'a>(line: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(path)
        .filter(move |(at, _)| !line[..*at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')))
        .map(move |(at, _)| &line[at + path.len()..])
}

fn identifier(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}
