use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256 as Hasher};

use super::attributes::Attributed;
use super::digests::FileDigests;
use super::entry::{EntryPath, Header, shown};
use super::stop;
use super::warning::{Note, Notes};
use super::{Limits, Modes, Ownership, Policy, Symlinks, Task, UnpackError, UnpackReport};
use crate::disk::{self, Dir, Kind, StagedAttributes};
use crate::plan::{Sha256, is_unsafe_mode};
use crate::process::StopSignal;

/// What is counted, for messages.
pub(super) const ENTRIES: &str = "entries (archive_max_entries); headers that describe others count too";
/// Bytes that are moved at once.
const BUFFER: usize = 128 * 1024;
/// Files from this length on get their blocks before their content.
const WORTH_RESERVING: u64 = 1 << 20;
/// Directories that no entry describes, and the revision's root.
const DIRECTORY_MODE: u32 = 0o755;
/// What the system says of every symlink.
const LINK_MODE: u32 = 0o777;

/// The staged tree while it grows. It holds the directories on the way to the current entry open, so
/// that every name is placed relative to a descriptor, and leaves no more behind in memory than that.
pub(super) struct Tree<'a> {
    policy: &'a Policy,
    root: Dir,
    levels: Vec<Level>,
    report: UnpackReport,
    digests: FileDigests,
    attributed: Attributed<'a>,
    /// Headers that only describe others, and their bytes: they count as entries and bytes do.
    headers: (u64, u64),
    stop: StopSignal,
    notes: Notes,
    buffer: Vec<u8>,
    /// Only root can give files away.
    may_give_away: bool,
}

/// A directory that is open. Its time, and a mode that would lock us out, are set once it is left.
struct Level {
    name: OsString,
    dir: Dir,
    on_leaving: Option<StagedAttributes>,
}

impl<'a> Tree<'a> {
    pub fn new(root: Dir, task: Task<'a>) -> Self {
        let Task { policy, stop, list } = task;
        Self {
            policy,
            attributed: Attributed::new(&root, list),
            root,
            levels: Vec::new(),
            report: UnpackReport::default(),
            digests: FileDigests::default(),
            headers: (0, 0),
            stop,
            notes: Notes::default(),
            buffer: vec![0; BUFFER],
            may_give_away: rustix::process::geteuid().is_root(),
        }
    }

    pub fn policy(&self) -> &Policy {
        self.policy
    }

    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// Counts headers that described the next entry.
    pub fn count_headers(&mut self, (headers, bytes): (u64, u64)) {
        self.headers.0 += headers;
        self.headers.1 = self.headers.1.saturating_add(bytes);
    }

    /// Asked to stop, what reads for this tree stops too.
    pub fn stop(&self) -> &StopSignal {
        &self.stop
    }

    /// Whether entries get the owners that they come with.
    pub fn keeps_owners(&self) -> bool {
        self.policy.ownership == Ownership::Preserved && self.may_give_away
    }

    /// Notes what people should know of an entry.
    pub fn note(&mut self, note: Note, entry: &str) {
        self.notes.add(note, entry);
    }

    /// A directory. One that is there already gets the attributes; anything else gives way to it.
    pub fn directory(&mut self, header: &Header) -> Result<(), UnpackError> {
        self.count(header)?;
        if header.path.is_root() {
            return Ok(());
        }
        self.check_mode(header)?;
        let mut wanted = self.attributes(header);
        // We come back for later entries and for the rename, also where we are not root.
        wanted.mode |= 0o700;
        let name = self.enter_parent(header)?;
        match self.here().stat_if_exists(name) {
            Ok(Some(stat)) if stat.kind != Kind::Directory => self.make_way(header, name)?,
            Ok(Some(_)) => self.attributed.take_back(header, header.path.as_path())?,
            _ => {}
        }
        self.enter(header, header.path.as_path())?;
        let here = self.attributed.here(&wanted);
        if let Some(level) = self.levels.last_mut() {
            level.on_leaving = Some(here);
        }
        self.attributed.note(header, here.mode, &wanted)
    }

    /// A file of exactly `size` bytes; fewer are a truncated bundle.
    pub fn file(&mut self, header: &Header, size: u64, content: &mut dyn Read) -> Result<(), UnpackError> {
        self.count(header)?;
        self.check_mode(header)?;
        self.room_for(header, size)?;
        let wanted = self.attributes(header);
        let here = self.attributed.here(&wanted);
        let name = self.enter_parent(header)?;
        let mut file = self.create(header, name, |here| here.create_file(name, 0o600))?;
        let path = self.path_of(header);
        if size >= WORTH_RESERVING {
            disk::reserve(&file, &path, size).map_err(|error| self.failed(header, size, error))?;
        }
        let digest = self.fill(header, &mut file, size, content)?;
        self.digests.note(header.path.as_path(), Some(digest));
        disk::finish_file(&file, &path, &here).map_err(|error| self.failed(header, 0, error))?;
        self.report.bytes += size;
        self.attributed.note(header, here.mode, &wanted)
    }

    /// A symlink, kept as it is.
    pub fn symlink(&mut self, header: &Header, target: &[u8]) -> Result<(), UnpackError> {
        self.count(header)?;
        if self.policy.symlinks == Symlinks::Refused {
            return Err(UnpackError::Symlink { entry: header.name.clone(), target: shown(target) });
        }
        if target.is_empty() || target.len() >= 4096 || target.contains(&0) {
            let what = "is a symlink whose target cannot be one";
            return Err(UnpackError::Unsupported { entry: header.name.clone(), what });
        }
        // A link has no mode of its own.
        let wanted = StagedAttributes { mode: LINK_MODE, ..self.attributes(header) };
        let here = StagedAttributes { mode: LINK_MODE, ..self.attributed.here(&wanted) };
        let name = self.enter_parent(header)?;
        let target: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(target);
        self.create(header, name, |here| here.symlink(target, name))?;
        let finished = disk::finish_symlink(self.here(), Path::new(name), &here);
        finished.map_err(|error| self.failed(header, 0, error))?;
        self.attributed.note(header, here.mode, &wanted)
    }

    /// Another name for a file that came earlier in the same bundle.
    pub fn hard_link(&mut self, header: &Header, target: &[u8]) -> Result<(), UnpackError> {
        self.count(header)?;
        let refused = || UnpackError::HardLink { entry: header.name.clone(), target: shown(target) };
        let target = EntryPath::parse(target).map_err(|_| refused())?;
        let name = self.enter_parent(header)?;
        let linked = match self.root.stat(target.as_path()) {
            Ok(stat) if stat.kind == Kind::File && !target.is_root() => stat,
            _ => return Err(refused()),
        };
        // A file that was packed twice is a link to itself the second time.
        if matches!(self.here().stat_if_exists(name), Ok(Some(stat)) if stat.inode == linked.inode) {
            return Ok(());
        }
        let root = self.root.try_clone().map_err(UnpackError::Staging)?;
        self.create(header, name, |_| root.hard_link(target.as_path(), header.path.as_path()))?;
        // The file has what its first name gave it, whatever this header says.
        self.attributed.note_link(header, target.as_path())
    }

    /// Refuses what would exceed the cap on bytes.
    pub fn room_for(&self, header: &Header, size: u64) -> Result<(), UnpackError> {
        let Limits { bytes, .. } = self.policy.limits;
        if self.report.bytes.saturating_add(self.headers.1).saturating_add(size) > bytes {
            return Err(limit(header, bytes, "bytes (archive_max_extraction_size)"));
        }
        Ok(())
    }

    /// Leaves all directories. Whoever puts the tree in place makes it durable.
    pub fn finish(mut self) -> Result<UnpackReport, UnpackError> {
        self.leave_down_to(0)?;
        let Self { mut report, digests, notes, .. } = self;
        report.digests = digests.into_known();
        report.warnings = notes.into_warnings();
        Ok(report)
    }

    /// Creates an entry. The last one of a path counts, as for tar and unzip: what came earlier is removed, never
    /// written into, since it may have other names.
    fn create<T>(
        &mut self,
        header: &Header,
        name: &OsStr,
        create: impl Fn(&Dir) -> disk::Result<T>,
    ) -> Result<T, UnpackError> {
        match create(self.here()) {
            Err(error) if error.is_already_exists() => {
                self.make_way(header, name)?;
                create(self.here()).map_err(|error| self.failed(header, 0, error))
            }
            other => other.map_err(|error| self.failed(header, 0, error)),
        }
    }

    /// Removes what an earlier entry of the same path left in the open directory: a file, a link, or a directory with
    /// nothing in it.
    fn make_way(&mut self, header: &Header, name: &OsStr) -> Result<(), UnpackError> {
        let stat = self.here().stat(name).map_err(|error| self.failed(header, 0, error))?;
        let removed = match stat.kind {
            Kind::Directory => self.here().remove_dir(name),
            _ => self.here().unlink(name),
        };
        removed.map_err(|error| match error.is_not_empty() {
            true => UnpackError::Covers { entry: header.name.clone() },
            false => self.failed(header, 0, error),
        })?;
        self.digests.note(header.path.as_path(), None);
        self.attributed.take_back(header, header.path.as_path())?;
        self.notes.add(Note::Repeated, &header.name);
        Ok(())
    }

    fn here(&self) -> &Dir {
        self.levels.last().map_or(&self.root, |level| &level.dir)
    }

    fn path_of(&self, header: &Header) -> PathBuf {
        self.root.path().join(header.path.as_path())
    }

    fn count(&mut self, header: &Header) -> Result<(), UnpackError> {
        self.count_one(header)?;
        let Limits { depth, .. } = self.policy.limits;
        if header.path.as_path().components().count() > depth {
            return Err(limit(header, depth as u64, "levels of directories"));
        }
        Ok(())
    }

    fn count_one(&mut self, header: &Header) -> Result<(), UnpackError> {
        let Limits { entries, .. } = self.policy.limits;
        if self.stop.is_given() {
            return Err(UnpackError::Stopped);
        }
        self.report.entries += 1;
        if self.report.entries + self.headers.0 > entries {
            return Err(limit(header, entries, ENTRIES));
        }
        Ok(())
    }

    fn check_mode(&self, header: &Header) -> Result<(), UnpackError> {
        let mode = header.attributes.mode;
        if self.policy.modes == Modes::UnsafeRefused && is_unsafe_mode(mode) {
            return Err(UnpackError::UnsafeMode { entry: header.name.clone(), mode });
        }
        Ok(())
    }

    /// Set-id bits were given for the archive's owner; with another owner they would be a gift.
    fn attributes(&self, header: &Header) -> StagedAttributes {
        let mut attributes = header.attributes;
        if self.policy.ownership == Ownership::Own || !self.may_give_away {
            attributes.owner = None;
        }
        if attributes.owner.is_none() {
            attributes.mode &= 0o1777;
        }
        attributes
    }

    fn enter_parent<'h>(&mut self, header: &'h Header) -> Result<&'h OsStr, UnpackError> {
        let path = header.path.as_path();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let problem = super::PathProblem::Empty;
            return Err(UnpackError::Path { entry: header.name.clone(), problem });
        };
        self.enter(header, parent)?;
        Ok(name)
    }

    /// Makes `path` the open directory: leaves what is not on the way to it, makes what is missing.
    fn enter(&mut self, header: &Header, path: &Path) -> Result<(), UnpackError> {
        let names = || {
            path.components().filter_map(|component| match component {
                Component::Normal(name) => Some(name),
                _ => None,
            })
        };
        let shared = self.levels.iter().zip(names()).take_while(|(level, name)| level.name == **name).count();
        self.leave_down_to(shared)?;
        for name in names().skip(shared) {
            let dir = match self.here().open_dir(name) {
                Ok(dir) => dir,
                Err(error) if error.is_not_found() => {
                    self.count_one(header)?;
                    self.here().make_dir(name, DIRECTORY_MODE).map_err(|error| self.failed(header, 0, error))?;
                    self.here().open_dir(name).map_err(|error| self.failed(header, 0, error))?
                }
                Err(error) => return Err(self.blocked(header, name, error)),
            };
            self.levels.push(Level { name: name.to_owned(), dir, on_leaving: None });
        }
        Ok(())
    }

    fn blocked(&self, header: &Header, name: &OsStr, error: disk::Error) -> UnpackError {
        match self.here().stat(name) {
            Ok(stat) if stat.kind != Kind::Directory => {
                let through = self.here().path().join(name);
                let through = through.strip_prefix(self.root.path()).unwrap_or(&through).to_string_lossy().into_owned();
                UnpackError::Through { entry: header.name.clone(), through }
            }
            _ => self.failed(header, 0, error),
        }
    }

    fn leave_down_to(&mut self, keep: usize) -> Result<(), UnpackError> {
        while self.levels.len() > keep {
            let Some(Level { dir, on_leaving: Some(attributes), .. }) = self.levels.pop() else { continue };
            disk::finish_dir(&dir, &attributes).map_err(UnpackError::Staging)?;
        }
        Ok(())
    }

    fn fill(
        &mut self,
        header: &Header,
        file: &mut File,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Sha256, UnpackError> {
        let mut hasher = Hasher::new();
        let mut rest = size;
        while rest > 0 {
            let want = BUFFER.min(usize::try_from(rest).unwrap_or(BUFFER));
            let got = match content.read(&mut self.buffer[..want]) {
                Ok(0) => return Err(UnpackError::Truncated(Some(header.name.clone()))),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_failed(Some(&header.name), &error)),
            };
            if let Err(source) = file.write_all(&self.buffer[..got]) {
                return Err(self.failed(header, rest, disk::Error::new("write", self.path_of(header), source)));
            }
            hasher.update(&self.buffer[..got]);
            rest -= got as u64;
        }
        Ok(Sha256(hasher.finalize().into()))
    }

    /// An entry could not be written, which needed so many more bytes.
    fn failed(&self, header: &Header, needed: u64, source: disk::Error) -> UnpackError {
        if !source.is_no_space() {
            return UnpackError::Entry { entry: header.name.clone(), source };
        }
        let available = disk::available(&self.root).unwrap_or(0);
        UnpackError::NoSpace { needed: needed.max(1), available, place: self.root.path().to_owned() }
    }
}

/// An error while the bundle is read: it ends too early, or it is broken.
pub(super) fn read_failed(entry: Option<&str>, error: &io::Error) -> UnpackError {
    if stop::is_stop(error) {
        return UnpackError::Stopped;
    }
    let entry = entry.map(str::to_owned);
    match error.kind() {
        io::ErrorKind::UnexpectedEof => UnpackError::Truncated(entry),
        _ => UnpackError::Damaged { entry, reason: error.to_string() },
    }
}

fn limit(header: &Header, limit: u64, what: &'static str) -> UnpackError {
    UnpackError::Limit { entry: header.name.clone(), limit, what }
}
