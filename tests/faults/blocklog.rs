//! The writes and flushes that reach a disk, in order: `qemu-storage-daemon` writes them down while it
//! offers the disk as a file over FUSE, and a loop device makes a disk of that file again.
//!
//! The log has the format of the kernel's dm-log-writes: a superblock, then for each request a header
//! (sector, number of sectors, flags, length, each 64 bits, little endian) in a sector of its own,
//! followed by what was written.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slipway_tests::until::until_true;

const SECTOR: u64 = 512;
/// What a disk writes whole or not at all, in bytes; a request may be torn between any two.
pub const BLOCK: usize = 4096;
/// The longest log, a hole in a file as long as nothing is written to it.
const LOG: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(20);

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One thing that a disk was told.
#[derive(Debug)]
pub enum Op {
    /// A block or a part of one.
    Write {
        /// The first byte.
        at: u64,
        /// What was written.
        data: Vec<u8>,
        /// Whether it is on the disk for good once it is answered.
        durable: bool,
    },
    /// Everything before it is on the disk for good.
    Flush,
}

/// A disk whose requests are written down.
pub struct Recorder {
    daemon: Child,
    disk: PathBuf,
    log: PathBuf,
}

impl Recorder {
    /// Offers `image` as [`Recorder::disk`].
    pub fn start(place: &Path, image: &Path) -> Result<Self> {
        let (disk, log) = (place.join("live"), place.join("log"));
        File::create(&disk)?;
        File::create(&log)?.set_len(LOG)?;
        let mut command = Command::new("qemu-storage-daemon");
        for node in [
            format!("driver=file,node-name=image,filename={}", image.display()),
            format!("driver=file,node-name=log,filename={}", log.display()),
            format!("driver=blklogwrites,node-name=logged,file=image,log=log,log-sector-size={SECTOR}"),
        ] {
            command.args(["--blockdev", &node]);
        }
        let export = format!("type=fuse,id=export,node-name=logged,mountpoint={},writable=on", disk.display());
        command.args(["--export", &export]).stdin(Stdio::null());
        let mut daemon = command.spawn().context("start qemu-storage-daemon")?;
        let length = fs::metadata(image)?.len();
        until_true("the disk to be offered", PATIENCE, || {
            if let Some(status) = daemon.try_wait()? {
                bail!("qemu-storage-daemon ended with {status}");
            }
            Ok(fs::metadata(&disk)?.len() == length)
        })?;
        Ok(Self { daemon, disk, log })
    }

    /// The disk, a file.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// What the disk was told so far.
    pub fn so_far(&self) -> Result<Vec<Op>> {
        read(&self.log)
    }

    /// Ends the recording. Nothing may use the disk any more.
    pub fn stop(mut self) -> Result<Vec<Op>> {
        kill(Pid::from_raw(self.daemon.id().cast_signed()), Signal::SIGTERM)?;
        let status = self.daemon.wait()?;
        ensure!(status.success(), "qemu-storage-daemon ended with {status}");
        let ops = read(&self.log)?;
        fs::remove_file(&self.log)?;
        fs::remove_file(&self.disk)?;
        Ok(ops)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Ok(None) = self.daemon.try_wait() {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
    }
}

fn read(log: &Path) -> Result<Vec<Op>> {
    let file = File::open(log)?;
    let (mut ops, mut at) = (Vec::new(), SECTOR);
    loop {
        let mut header = [0; 32];
        file.read_exact_at(&mut header, at)?;
        let field = |n: usize| header[n * 8..n * 8 + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let [sector, sectors, flags, _] = [field(0), field(1), field(2), field(3)];
        if sectors == 0 && flags == 0 {
            return Ok(ops);
        }
        ensure!(flags & DISCARD == 0, "a discard was logged, and nobody knows what that leaves");
        if flags & FLUSH != 0 {
            ops.push(Op::Flush);
        }
        let mut data = vec![0; usize::try_from(sectors * SECTOR)?];
        file.read_exact_at(&mut data, at + SECTOR)?;
        let mut start = sector * SECTOR;
        while !data.is_empty() {
            // Up to the next multiple of a block.
            let length = (BLOCK - usize::try_from(start)? % BLOCK).min(data.len());
            let rest = data.split_off(length);
            ops.push(Op::Write { at: start, data, durable: flags & FUA != 0 });
            start += length as u64;
            data = rest;
        }
        at += SECTOR + sectors * SECTOR;
    }
}

/// Does a write; tells whether it changed anything. A flush changes nothing.
pub fn apply(op: &Op, image: &mut [u8]) -> bool {
    let Op::Write { at, data, .. } = op else { return false };
    let Some(place) = usize::try_from(*at).ok().and_then(|at| image.get_mut(at..at + data.len())) else { return false };
    let changes = place != data;
    place.copy_from_slice(data);
    changes
}
