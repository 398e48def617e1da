//! A bundle on its way to the disk: what came, wherever in the file it belongs, and its digests behind it.

use std::fs::File;
use std::path::Path;

use super::BundleError;
use super::digest::Wanted;
use super::follow::Followers;
use super::received::Received;
use super::stopped::look;
use super::verify::Computed;
use crate::disk::{self, Dir};
use crate::process::StopSignal;

/// The digests are told of what came in steps of at least this many bytes.
const STEP: u64 = 256 << 10;

/// The file that a bundle becomes, by its directory's descriptor.
pub(super) struct Destination<'a> {
    dir: Dir,
    name: &'a Path,
    path: &'a Path,
    /// What is fetched, for messages.
    what: String,
    /// Ends what is done with it.
    stop: StopSignal,
}

impl<'a> Destination<'a> {
    pub fn open(path: &'a Path, what: String, stop: &StopSignal) -> Result<Self, BundleError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(BundleError::Disk(disk::Error::new("write", path, std::io::ErrorKind::InvalidInput)));
        };
        let dir = Dir::open_or_create(parent, 0o755).map_err(BundleError::Disk)?;
        Ok(Self { dir, name: Path::new(name), path, what, stop: stop.clone() })
    }

    /// The file.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Is given once the bundle is not wanted any more.
    pub fn stop(&self) -> &StopSignal {
        &self.stop
    }

    /// Removes what is there.
    pub fn remove(&self) -> disk::Result<()> {
        self.dir.remove_tree(self.name)
    }

    /// Opens what was written, to read it once more.
    pub fn read(&self) -> Result<File, BundleError> {
        self.dir.open_file(self.name).map_err(BundleError::Disk)
    }

    fn failed(&self, error: disk::Error, needed: u64) -> BundleError {
        if error.is_no_space() {
            self.no_space(needed, disk::available(&self.dir).unwrap_or(0))
        } else {
            BundleError::Disk(error)
        }
    }

    fn no_space(&self, needed: u64, available: u64) -> BundleError {
        BundleError::NoSpace { object: self.what.clone(), needed, available, place: self.dir.path().to_owned() }
    }
}

/// A bundle of which not all is there yet.
pub(super) struct Arrival<'a> {
    place: &'a Destination<'a>,
    file: File,
    length: Option<u64>,
    received: Received,
    followers: Followers,
    told: u64,
}

impl<'a> Arrival<'a> {
    /// Makes the file anew, of its final length where that is known; there must be room for it.
    pub fn begin(place: &'a Destination<'a>, length: Option<u64>, wanted: Vec<Wanted>) -> Result<Self, BundleError> {
        place.remove().map_err(BundleError::Disk)?;
        let needed = length.unwrap_or(0);
        let available = disk::available(&place.dir).map_err(BundleError::Disk)?;
        if needed > available {
            return Err(place.no_space(needed, available));
        }
        // Not for others: a bundle can hold secrets that its files' modes protect.
        let file = place.dir.create_file(place.name, 0o600).map_err(|error| place.failed(error, needed))?;
        disk::allocate(&file, place.path, needed).map_err(|error| place.failed(error, needed))?;
        let followed = file
            .try_clone()
            .map_err(|source| BundleError::Disk(disk::Error::new("duplicate descriptor of", place.path, source)))?;
        let followers =
            Followers::begin(followed, place.path, wanted, place.stop.clone()).map_err(BundleError::Disk)?;
        Ok(Self { place, file, length, received: Received::default(), followers, told: 0 })
    }

    /// What is there already.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// Takes what came at `at`, where nothing was.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), BundleError> {
        disk::write_at(&self.file, self.place.path, at, bytes).map_err(|error| {
            let all = self.length.unwrap_or(at + bytes.len() as u64);
            self.place.failed(error, all.saturating_sub(self.received.total()))
        })?;
        self.received.add(at, bytes.len() as u64);
        if self.received.contiguous() - self.told >= STEP {
            self.tell();
        }
        Ok(())
    }

    /// All of it is there: waits for the digests.
    pub fn finish(mut self) -> Result<Computed, BundleError> {
        self.tell();
        let Self { place, followers, .. } = self;
        let computed = followers.finish();
        look(place.stop())?;
        computed.map_err(BundleError::Disk)
    }

    fn tell(&mut self) {
        self.told = self.received.contiguous();
        self.followers.reach(self.told);
    }
}
