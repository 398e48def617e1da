//! A stand-in for AWS's agent, as far as it installs: what its version 1.8 does with a revision and with the files below
//! its root, written from the facts of its source (`installer.rb`, `install_instruction.rb`, `command_executor.rb`,
//! `hook_executor.rb`) and sharing nothing with this agent. The program itself needs a Ruby and gems that are no part of
//! the machines that these tests run on.
//!
//! What it knows: the order of events; the scripts of which revision run; the list `<group>-cleanup`, one path a line,
//! undone from last to first, with directories that are not empty left; `<group>-install.json`; the two files that name a
//! deployment's directory; what it does about files that exist. It does not know permissions of the AppSpec. It reads
//! AppSpecs that are written as JSON.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// It on a root, for one group.
pub struct AwsAgent {
    root: PathBuf,
    group: String,
}

#[derive(Deserialize)]
struct AppSpec {
    files: Vec<Mapping>,
    #[serde(default)]
    hooks: std::collections::BTreeMap<String, Vec<Script>>,
}

#[derive(Deserialize)]
struct Mapping {
    source: String,
    destination: PathBuf,
}

#[derive(Deserialize)]
struct Script {
    location: String,
}

enum Instruction {
    Mkdir(PathBuf),
    Copy { source: PathBuf, destination: PathBuf },
}

impl AwsAgent {
    pub fn new(root: &Path, group: &str) -> Self {
        Self { root: root.to_owned(), group: group.to_owned() }
    }

    /// ApplicationStop, DownloadBundle, BeforeInstall, Install and AfterInstall, for a revision in a directory.
    pub fn deploy(&self, deployment: &str, revision: &Path) -> Result<()> {
        let own = self.deployment(deployment);
        fs::create_dir_all(&own)?;
        // Of the last successful one, as long as this one is not unpacked.
        if let Ok(last) = fs::read_to_string(self.instruction("_last_successful_install")) {
            self.hook("ApplicationStop", deployment, Path::new(last.trim_end_matches('\n')))?;
        }
        self.forget_old_archives()?;
        copy_tree(revision, &own.join("deployment-archive"))?;
        fs::create_dir_all(self.root.join("deployment-instructions"))?;
        fs::write(self.instruction("_most_recent_install"), own.display().to_string())?;
        self.hook("BeforeInstall", deployment, &own)?;
        self.install(&own.join("deployment-archive"))?;
        fs::write(self.instruction("_last_successful_install"), own.display().to_string())?;
        self.hook("AfterInstall", deployment, &own)
    }

    fn deployment(&self, deployment: &str) -> PathBuf {
        self.root.join(&self.group).join(deployment)
    }

    pub fn instruction(&self, ending: &str) -> PathBuf {
        self.root.join("deployment-instructions").join(format!("{}{ending}", self.group))
    }

    fn hook(&self, event: &str, deployment: &str, of: &Path) -> Result<()> {
        let archive = of.join("deployment-archive");
        for script in read_appspec(&archive)?.hooks.remove(event).unwrap_or_default() {
            let mut command = Command::new(archive.join(&script.location));
            let status = command.env("LIFECYCLE_EVENT", event).env("DEPLOYMENT_ID", deployment).status()?;
            ensure!(status.success(), "{} ended with {status}", script.location);
        }
        Ok(())
    }

    /// Five directories stay, and that of the last successful install.
    fn forget_old_archives(&self) -> Result<()> {
        let last = fs::read_to_string(self.instruction("_last_successful_install")).unwrap_or_default();
        let group = fs::read_dir(self.root.join(&self.group))?;
        let mut directories = group.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
        let extra = directories.len().saturating_sub(5);
        directories.retain(|directory| directory.as_path() != Path::new(last.trim_end_matches('\n')));
        directories.sort_by_key(|directory| fs::metadata(directory).and_then(|found| found.modified()).ok());
        directories.iter().take(extra).try_for_each(|directory| Ok(fs::remove_dir_all(directory)?))
    }

    fn install(&self, archive: &Path) -> Result<()> {
        let list = self.instruction("-cleanup");
        if list.exists() {
            clean_up(&fs::read_to_string(&list)?)?;
            fs::remove_file(&list)?;
        }
        let mut plan = Plan::default();
        for Mapping { source, destination } in read_appspec(archive)?.files {
            let source = archive.join(source.trim_start_matches('/'));
            if source.is_dir() {
                plan.missing_ancestors(&destination);
                plan.directory(&source, &destination)?;
            } else {
                let destination = destination.join(source.file_name().context("a file has a name")?);
                plan.missing_ancestors(&destination);
                plan.file(&source, &destination)?;
            }
        }
        let rows: Vec<Value> = plan.instructions.iter().map(Instruction::row).collect();
        fs::write(self.instruction("-install.json"), json!({"instructions": rows}).to_string())?;
        let mut done = String::new();
        for instruction in &plan.instructions {
            done += &format!("{}\n", instruction.carry_out()?.display());
            fs::write(&list, &done)?;
        }
        // A revision that makes nothing has an empty list.
        Ok(fs::write(&list, &done)?)
    }
}

fn read_appspec(archive: &Path) -> Result<AppSpec> {
    let file = archive.join("appspec.yml");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is JSON", file.display()))
}

/// Undoes an install by its list. A last line without its newline was not finished.
fn clean_up(list: &str) -> Result<()> {
    let whole = list.rfind('\n').map_or("", |end| &list[..end]);
    for line in whole.lines().rev().filter(|line| !line.starts_with("semanage\0")) {
        let path = Path::new(line.trim());
        if path.is_symlink() || path.is_file() {
            fs::remove_file(path)?;
        } else if path.is_dir()
            && let Err(error) = fs::remove_dir(path)
        {
            ensure!(error.kind() == std::io::ErrorKind::DirectoryNotEmpty, "remove {line}: {error}");
        }
    }
    Ok(())
}

/// What an install will do; nothing is done before all of it is known.
#[derive(Default)]
struct Plan {
    instructions: Vec<Instruction>,
}

impl Plan {
    fn missing_ancestors(&mut self, destination: &Path) {
        let above: Vec<&Path> = destination.ancestors().skip(1).take_while(|above| !above.exists()).collect();
        above.into_iter().rev().for_each(|directory| self.mkdir(directory));
    }

    fn mkdir(&mut self, directory: &Path) {
        let is_it = |one: &Instruction| matches!(one, Instruction::Mkdir(made) if made == directory);
        if !self.instructions.iter().any(is_it) {
            self.instructions.push(Instruction::Mkdir(directory.to_owned()));
        }
    }

    fn directory(&mut self, source: &Path, destination: &Path) -> Result<()> {
        if !destination.is_dir() {
            self.mkdir(destination);
        }
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let (from, to) = (entry.path(), destination.join(entry.file_name()));
            // A link to a directory is followed here.
            if from.is_dir() { self.directory(&from, &to)? } else { self.file(&from, &to)? }
        }
        Ok(())
    }

    fn file(&mut self, source: &Path, destination: &Path) -> Result<()> {
        ensure!(!destination.exists(), "a specified file already exists at this location: {}", destination.display());
        let twice = |one: &Instruction| matches!(one, Instruction::Copy { destination: to, .. } if to == destination);
        ensure!(!self.instructions.iter().any(twice), "two sources for {}", destination.display());
        self.instructions.push(Instruction::Copy { source: source.to_owned(), destination: destination.to_owned() });
        Ok(())
    }
}

impl Instruction {
    fn row(&self) -> Value {
        match self {
            Self::Mkdir(directory) => json!({"type": "mkdir", "directory": directory}),
            Self::Copy { source, destination } => {
                json!({"type": "copy", "source": source, "destination": destination})
            }
        }
    }

    /// Does it and gives the path for the list.
    fn carry_out(&self) -> Result<&Path> {
        match self {
            Self::Mkdir(directory) => {
                fs::create_dir(directory).with_context(|| format!("make {}", directory.display()))?;
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
                Ok(directory)
            }
            Self::Copy { source, destination } => {
                copy(source, destination).with_context(|| format!("copy to {}", destination.display()))?;
                Ok(destination)
            }
        }
    }
}

/// A link as a link, a file with its mode, owner and time.
fn copy(source: &Path, destination: &Path) -> Result<()> {
    if source.is_symlink() {
        return Ok(symlink(fs::read_link(source)?, destination)?);
    }
    fs::copy(source, destination)?;
    let found = fs::metadata(source)?;
    chown(destination, Some(found.uid()), Some(found.gid()))?;
    fs::set_permissions(destination, found.permissions())?;
    Ok(File::options().write(true).open(destination)?.set_modified(found.modified()?)?)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() && !from.is_symlink() { copy_tree(&from, &to)? } else { copy(&from, &to)? }
    }
    Ok(())
}
