//! Completions for bash, zsh and fish.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::{Shell, generate, generate_to};

/// Writes the completions of one program: `bash/NAME`, `zsh/_NAME` and `fish/NAME.fish` below `directory`, by which
/// the shells load them.
pub(crate) fn write(command: &Command, directory: &Path) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut command = visible(command);
    for shell in ["bash", "zsh", "fish"] {
        fs::create_dir_all(directory.join(shell))?;
    }
    fs::write(directory.join("bash").join(&name), bash(&command, &name)?)?;
    generate_to(Shell::Zsh, &mut command, &name, directory.join("zsh"))?;
    generate_to(Shell::Fish, &mut command, &name, directory.join("fish"))?;
    Ok(())
}

/// The completions for bash.
///
/// `clap_complete` 4.6 writes a hyphen in the program's name in two ways: the variable that tracks the subcommand and
/// the labels that compare it never match. It gets a name without one, and the last line, which binds the
/// function to the program, gets the real name.
fn bash(command: &Command, name: &str) -> Result<String> {
    let plain = name.replace('-', "_");
    let mut bytes = Vec::new();
    generate(Shell::Bash, &mut command.clone(), &plain, &mut bytes);
    let text = String::from_utf8(bytes).context("clap_complete writes UTF-8")?;
    let bound = format!(" -o default {plain}\n");
    anyhow::ensure!(text.contains(&bound), "clap_complete binds its function in another way than `{}`", bound.trim());
    Ok(text.replace(&bound, &format!(" -o default {name}\n")))
}

/// The command without its hidden subcommands and options, which `clap_complete` lists all the same.
fn visible(command: &Command) -> Command {
    // clap keeps names for the life of the program.
    let name: &'static str = command.get_name().to_owned().leak();
    let mut shown = Command::new(name)
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(visible));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if command.get_version().is_some() {
        shown = shown.version("");
    }
    shown
}

#[cfg(test)]
mod tests;
