//! A host on one disk image: the agent's state on one file system, the destination on another. It is put
//! back to where it was by copying the image, so that every fault meets the same inodes.

mod verdict;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use slipway_tests::{binaries, until::until};

use crate::revisions::{self, Destinations, Version};
use crate::stuck::is_name_of;
use crate::tree::Tree;

pub use verdict::State;

/// Bytes of each of the two file systems.
const VOLUME: u64 = 16 << 20;
/// Bytes of an image that are written, or left out as a hole, at once.
const CHUNK: usize = 64 << 10;
/// Lines of a program's output that a message shows.
const LINES: usize = 5;
const GROUP: &str = "faults";
/// Longest time for a file system to come free once nobody needs it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What both file systems are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4, without the flush that it adds to renames by default.
    Ext4,
    /// xfs.
    Xfs,
}

impl Kind {
    /// As `mount` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    fn make(self, image: &Path) -> Command {
        let mut command = Command::new(format!("mkfs.{}", self.name()));
        match self {
            Self::Ext4 => command.args(["-q", "-b", "4096", "-J", "size=4", "-N", "2048"]).args([
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
                "-O",
                "^resize_inode",
            ]),
            // Real ones have at least 300 MB; what is on the disk is the same.
            Self::Xfs => command.args(["-q", "-f", "--unsupported"]),
        };
        command.arg(image);
        command
    }

    /// `noauto_da_alloc` shows what ext4 otherwise hides; images of one volume are mounted at the same
    /// time by other jobs.
    fn options(self) -> &'static str {
        match self {
            Self::Ext4 => "noauto_da_alloc",
            Self::Xfs => "nouuid",
        }
    }
}

/// Where the revisions are installed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To a file system of its own alone: nothing that an install syncs there syncs the agent's state.
    Apart,
    /// To the file system of the agent's state too.
    Both,
}

/// The host.
pub struct Host {
    place: PathBuf,
    kind: Kind,
    mounted: Vec<PathBuf>,
    program: Option<Child>,
    /// The disk with the old revision.
    base: Vec<u8>,
    old: Tree,
    new: Tree,
    old_deployment: String,
}

impl Host {
    /// Makes the host in an empty directory and installs the old revision. Mounting takes root.
    pub fn new(place: &Path, kind: Kind, reach: Reach) -> Result<Self> {
        let empty = Tree::read(&[])?;
        let mut host = Self {
            place: place.to_owned(),
            kind,
            mounted: Vec::new(),
            program: None,
            base: Vec::new(),
            old: empty.clone(),
            new: empty,
            old_deployment: String::new(),
        };
        for directory in ["state", "target"] {
            fs::create_dir(place.join(directory))?;
        }
        fs::write(place.join("agent.yml"), format!("root_dir: {}\n", host.root().display()))?;
        let beside = match reach {
            Reach::Apart => place.join("target/beside"),
            Reach::Both => place.join("state/beside"),
        };
        let destinations = Destinations { app: host.app(), beside };
        for version in [Version::Old, Version::New] {
            revisions::write(version, &host.revision(version), &destinations)?;
        }
        host.format()?;
        host.mount(&host.image())?;
        fs::create_dir(host.root())?;
        revisions::make_foreign(&host.app())?;
        done(&host.deploy(Version::Old)?.output()?)?;
        revisions::adorn(&host.app())?;
        (host.old, host.old_deployment) = (host.tree()?, host.deployed()?);
        host.unmount()?;
        host.base = fs::read(host.image())?;
        host.reset()?;
        done(&host.deploy(Version::New)?.output()?)?;
        host.new = host.tree()?;
        ensure!(host.old.len() > 30 && host.new.len() > 30 && host.old != host.new, "the revisions differ");
        Ok(host)
    }

    /// Puts the host back to the old revision, whatever happened to it. Its program runs.
    pub fn reset(&mut self) -> Result<()> {
        self.unmount()?;
        self.write_image(&self.base)?;
        self.mount(&self.image())?;
        self.start_program()
    }

    /// The disk with the old revision, as bytes.
    pub fn base_image(&self) -> &[u8] {
        &self.base
    }

    /// Makes the disk have this content, and mounts it.
    pub fn put_image(&mut self, content: &[u8]) -> Result<()> {
        self.unmount()?;
        self.write_image(content)?;
        self.mount(&self.image())
    }

    /// Makes the disk have this content, and does not mount it.
    pub fn write_image(&self, content: &[u8]) -> Result<()> {
        let file = File::options().write(true).create(true).truncate(true).open(self.image())?;
        file.set_len(content.len() as u64)?;
        let zeros = [0; CHUNK];
        for (number, chunk) in content.chunks(CHUNK).enumerate() {
            // By slices, which is fast in a build that is not optimised too.
            if zeros.get(..chunk.len()) != Some(chunk) {
                file.write_all_at(chunk, (number * CHUNK) as u64)?;
            }
        }
        Ok(())
    }

    /// Mounts both file systems from a disk, the host's own image or what stands for it.
    pub fn mount(&mut self, disk: &Path) -> Result<()> {
        for (number, point) in [self.place.join("state"), self.place.join("target")].into_iter().enumerate() {
            let offset = number as u64 * VOLUME;
            let options = format!("loop,offset={offset},sizelimit={VOLUME},{}", self.kind.options());
            let mut command = Command::new("mount");
            run(command.args(["-t", self.kind.name(), "-o", &options]).arg(disk).arg(&point))?;
            self.mounted.push(point);
        }
        Ok(())
    }

    /// Ends the program and unmounts. A file system is busy for a moment after a process was killed.
    pub fn unmount(&mut self) -> Result<()> {
        self.end_program()?;
        while let Some(point) = self.mounted.last() {
            let mut last = String::new();
            until("the file system to come free", PATIENCE, || {
                let output = Command::new("umount").arg(point).output()?;
                last = String::from_utf8_lossy(&output.stderr).into_owned();
                Ok(output.status.success().then_some(()))
            })
            .with_context(|| last.clone())?;
            self.mounted.pop();
        }
        Ok(())
    }

    /// The command that deploys a revision.
    pub fn deploy(&self, version: Version) -> Result<Command> {
        let mut command = binaries::agent()?;
        command.args(["deploy-local", "--group", GROUP, "--bundle-location"]).arg(self.revision(version));
        command.arg("--config").arg(self.place.join("agent.yml"));
        Ok(command)
    }

    /// The command that deploys something of another group, beside the revisions.
    pub fn deploy_elsewhere(&self) -> Result<Command> {
        let (revision, destination) = (self.place.join("elsewhere"), self.elsewhere());
        fs::create_dir_all(&revision)?;
        fs::write(revision.join("page"), "1")?;
        let files = format!("files:\n  - source: page\n    destination: {}\n", destination.display());
        fs::write(revision.join("appspec.yml"), format!("version: 0.0\nos: linux\n{files}"))?;
        let mut command = binaries::agent()?;
        command.args(["deploy-local", "--group", "elsewhere", "--bundle-location"]).arg(revision);
        command.arg("--config").arg(self.place.join("agent.yml"));
        Ok(command)
    }

    /// The command that gives an install up.
    pub fn abandon(&self, transaction: &str) -> Result<Command> {
        let mut command = self.recover()?;
        command.args(["--abandon", transaction, "--yes"]);
        Ok(command)
    }

    /// The command that runs the daemon, for no service.
    pub fn daemon(&self) -> Result<Command> {
        let mut command = binaries::agent()?;
        command.arg("run").arg("--config").arg(self.place.join("agent.yml"));
        Ok(command)
    }

    /// Removes old states that were kept when an install was given up, and what another group installed.
    pub fn remove_kept(&self, transaction: &str) -> Result<()> {
        if self.elsewhere().exists() {
            fs::remove_dir_all(self.elsewhere())?;
        }
        let mut ahead = vec![self.place.join("target"), self.place.join("state/beside")];
        while let Some(directory) = ahead.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                match (is_name_of(&path, transaction), path.is_dir() && !path.is_symlink()) {
                    (true, true) => fs::remove_dir_all(&path)?,
                    (true, false) => fs::remove_file(&path)?,
                    (false, true) => ahead.push(path),
                    (false, false) => {}
                }
            }
        }
        Ok(())
    }

    fn elsewhere(&self) -> PathBuf {
        self.place.join("target/elsewhere")
    }

    /// The command that settles what was cut off.
    pub fn recover(&self) -> Result<Command> {
        let mut command = binaries::agent()?;
        command.arg("recover").arg("--config").arg(self.place.join("agent.yml"));
        Ok(command)
    }

    /// The disk.
    pub fn image(&self) -> PathBuf {
        self.place.join("disk.img")
    }

    /// The directory of all that is this host's.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The agent's root directory.
    pub fn root(&self) -> PathBuf {
        self.place.join("state/root")
    }

    fn app(&self) -> PathBuf {
        self.place.join("target/app")
    }

    fn revision(&self, version: Version) -> PathBuf {
        self.place.join(match version {
            Version::Old => "old",
            Version::New => "new",
        })
    }

    fn format(&self) -> Result<()> {
        let disk = File::create(self.image())?;
        disk.set_len(2 * VOLUME)?;
        for number in 0..2 {
            let volume = self.place.join("volume.img");
            File::create(&volume)?.set_len(VOLUME)?;
            run(&mut self.kind.make(&volume))?;
            let mut content = Vec::new();
            File::open(&volume)?.read_to_end(&mut content)?;
            disk.write_all_at(&content, number * VOLUME)?;
            fs::remove_file(&volume)?;
        }
        Ok(())
    }

    /// Runs what the revision installed, so that the install replaces a busy executable.
    fn start_program(&mut self) -> Result<()> {
        let program = self.app().join("bin/program");
        let mut command = Command::new(&program);
        let command = command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null());
        self.program = Some(command.spawn().with_context(|| format!("start {}", program.display()))?);
        Ok(())
    }

    fn end_program(&mut self) -> Result<()> {
        if let Some(mut program) = self.program.take() {
            program.kill()?;
            program.wait()?;
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{error:#}");
        }
    }
}

/// All that a command printed; an error unless it succeeded.
pub fn done(output: &Output) -> Result<String> {
    let said = said(output);
    ensure!(output.status.success(), "it ended with {}:\n{said}", output.status);
    Ok(said)
}

/// What a command printed: errors, or the last lines where there were none.
pub fn said(output: &Output) -> String {
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let all = if errors.trim().is_empty() { printed.trim() } else { errors.trim() };
    let lines: Vec<&str> = all.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Runs a command to its end; an error with what it printed unless it succeeded.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}:\n{}", output.status, said(&output));
    }
    Ok(())
}
