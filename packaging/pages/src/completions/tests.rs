use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use clap::CommandFactory;
use slipway_control::cli::Cli as Control;

use super::*;

/// What is typed, and what a shell has to offer for it.
const TYPED: [(&str, &str, &str); 6] = [
    ("slipway-agent", "slipway-agent deploy-l", "deploy-local"),
    ("slipway-agent", "slipway-agent deploy-local --bundle-l", "--bundle-location"),
    ("slipway-agent", "slipway-agent logs --conf", "--config"),
    ("slipway-agent", "slipway-agent image-clean --che", "--check"),
    ("slipway-agent", "slipway-agent deploy-local --type dir", "directory"),
    ("slipway-control", "slipway-control keys cre", "create"),
];

/// The completions of both programs, in a directory that is removed with the value.
fn written() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for command in [slipway_agent::cli::command(), Control::command()] {
        write(&command, place.path()).unwrap();
    }
    place
}

/// What a shell prints, or nothing where the shell is not installed.
fn output(shell: &str, arguments: &[&str]) -> Option<String> {
    let done = Process::new("timeout").args(["60", shell]).args(arguments).stdin(Stdio::null()).output().unwrap();
    if done.status.code() == Some(127) {
        eprintln!("not run here: {shell} is not installed (tests/prepare installs it)");
        return None;
    }
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{shell}: {}\n{text}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    Some(text)
}

/// Calls the function that `complete` bound, as bash does when the tab key is pressed.
const PRESS_TAB_IN_BASH: &str = r#"
source "$1"; shift
bound=$(complete -p "$1"); function=${bound#*-F }; function=${function%% *}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_what_follows_the_first_word() {
    let place = written();
    for (program, typed, expected) in TYPED {
        let file: PathBuf = place.path().join("bash").join(program);
        let mut arguments = vec!["--norc", "-c", PRESS_TAB_IN_BASH, "bash", file.to_str().unwrap()];
        arguments.extend(typed.split(' '));
        let Some(text) = output("bash", &arguments) else { return };
        assert!(text.lines().any(|line| line == expected), "bash, `{typed}`: {text}");
    }
}

#[test]
fn fish_completes_what_follows_the_first_word() {
    let place = written();
    for (program, typed, expected) in TYPED {
        let file = place.path().join(format!("fish/{program}.fish"));
        let script = format!("source {}; complete -C '{typed}'", file.display());
        let Some(text) = output("fish", &["--no-config", "-c", &script]) else { return };
        let offered = text.lines().any(|line| line.split('\t').next() == Some(expected));
        assert!(offered, "fish, `{typed}`: {text}");
    }
}

/// Types into an interactive zsh on a terminal, presses tab, and waits until the rest of the word stands there.
const PRESS_TAB_IN_ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT=; fpath=($1 \$fpath); autoload -U compinit; compinit -D -u; bindkey '^I' complete-word; print rea''dy"
zpty -r shell seen '*ready*'
zpty -w -n shell "$2"$'\t'
zpty -r shell seen "*$3*"
print -r -- "$seen"
zpty -d shell
"#;

#[test]
fn zsh_completes_what_follows_the_first_word() {
    let place = written();
    let directory = place.path().join("zsh");
    for (_, typed, expected) in TYPED {
        let arguments = ["-f", "-c", PRESS_TAB_IN_ZSH, "zsh", directory.to_str().unwrap(), typed, expected];
        let Some(text) = output("zsh", &arguments) else { return };
        assert!(text.contains(expected), "zsh, `{typed}`: {text}");
    }
}

#[test]
fn hidden_commands_are_not_offered() {
    let place = written();
    for file in ["bash/slipway-agent", "zsh/_slipway-agent", "fish/slipway-agent.fish"] {
        let text = fs::read_to_string(place.path().join(file)).unwrap();
        assert!(!text.contains("hook-runner"), "{file} offers what only the agent starts");
    }
}
