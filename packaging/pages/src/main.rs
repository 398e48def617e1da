//! Writes the manual pages and shell completions of both programs, from the definitions of their command lines.
//! Packages hold what it writes; the programs themselves know nothing of it.
#![allow(clippy::disallowed_methods, reason = "this program makes packages, it does not deploy")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory, Parser};
use slipway_control::cli::Cli as Control;

mod completions;
mod settings;

/// Write manual pages and completions
#[derive(Debug, Parser)]
struct Arguments {
    /// The directory that gets one for each program, with `man`, `bash`, `zsh` and `fish` in it
    directory: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { directory } = Arguments::parse();
    for command in [slipway_agent::cli::command(), Control::command()] {
        let own = directory.join(command.get_name());
        write(&command, &own).with_context(|| format!("write the pages in {}", own.display()))?;
    }
    settings::write(&directory.join("slipway-agent")).context("write the manual page of the settings")
}

/// Everything of one program.
fn write(command: &Command, directory: &Path) -> Result<()> {
    completions::write(command, directory)?;
    let pages = directory.join("man");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(without_help(command.clone()), pages)?;
    Ok(())
}

/// Without the `help` of each level, which would be a page for every command once more.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_its_pages_and_hides_what_is_hidden() {
        let place = tempfile::tempdir().unwrap();
        for command in [slipway_agent::cli::command(), Control::command()] {
            let name = command.get_name().to_owned();
            let own = place.path().join(&name);
            let visible: Vec<String> = command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(|sub| sub.get_name().to_owned())
                .collect();
            write(&command, &own).unwrap();
            for sub in &visible {
                let page = own.join(format!("man/{name}-{sub}.1"));
                assert!(fs::read_to_string(&page).unwrap().starts_with(".ie"), "{} is no manual page", page.display());
            }
            for completions in [format!("bash/{name}"), format!("zsh/_{name}"), format!("fish/{name}.fish")] {
                let text = fs::read_to_string(own.join(&completions)).unwrap();
                assert!(visible.iter().all(|sub| text.contains(sub.as_str())), "{completions} lacks a command");
            }
        }
        let pages: Vec<_> = fs::read_dir(place.path().join("slipway-agent/man")).unwrap().flatten().collect();
        let none_of = |word: &str| pages.iter().all(|page| !page.file_name().to_string_lossy().contains(word));
        assert!(none_of("hook-runner") && none_of("-help"));
    }

    /// EC2 takes user data of at most 16 KiB.
    const MOST_USER_DATA: usize = 16 * 1024;

    #[test]
    fn the_cloud_config_holds_the_script_as_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../user-data");
        let script = fs::read_to_string(folder.join("install.sh")).unwrap();
        let document = fs::read_to_string(folder.join("cloud-config.yaml")).unwrap();
        let indented: String = script
            .lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("      {line}\n") })
            .collect();
        assert!(document.contains(&indented), "packaging/user-data/cloud-config.yaml has another script in it");
        assert!(script.lines().count() <= 60 && document.len() <= MOST_USER_DATA);
    }
}
