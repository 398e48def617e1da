//! What an entry gets in the revision, and what of the archive's is put down for its destination.

use std::path::Path;

use rustix::process::{getegid, geteuid};

use super::UnpackError;
use super::entry::Header;
use crate::disk::{Dir, StagedAttributes};
use crate::store::{AttributeList, Given, ListError, own_mode};

/// The owner of all that is unpacked: this process. The list is of what the archive says instead.
pub(super) struct Attributed<'a> {
    list: Option<&'a mut AttributeList>,
    own: (u32, u32),
    /// Whether what is made in the tree gets another group by itself.
    inherits_group: bool,
}

impl<'a> Attributed<'a> {
    /// For a tree below `root`. Without a list, the archive's owners and modes are lost.
    pub fn new(root: &Dir, list: Option<&'a mut AttributeList>) -> Self {
        let own = (geteuid().as_raw(), getegid().as_raw());
        Self { list, own, inherits_group: root.stat_self().is_ok_and(|stat| stat.gid != own.1) }
    }

    /// What an entry gets in the revision, whose attributes at the destination are `wanted`.
    pub fn here(&self, wanted: &StagedAttributes) -> StagedAttributes {
        let owner = self.inherits_group.then_some(self.own);
        StagedAttributes { mode: own_mode(wanted.mode), owner, modified: wanted.modified }
    }

    /// Puts down what is different at the destination of a new entry, or of a directory that is there already.
    pub fn note(&mut self, header: &Header, kept: u32, wanted: &StagedAttributes) -> Result<(), UnpackError> {
        let (uid, gid) = wanted.owner.unwrap_or(self.own);
        let given = Given { mode: wanted.mode, uid, gid };
        let Some(list) = self.list.as_deref_mut() else { return Ok(()) };
        let path = header.path.as_path();
        let noted = match (uid, gid) == self.own && given.mode == kept {
            true => return Ok(()),
            false => list.add(path, kept, given),
        };
        noted.map_err(|error| failed(header, error))
    }

    /// Puts down that an entry is another name of an earlier file.
    pub fn note_link(&mut self, header: &Header, target: &Path) -> Result<(), UnpackError> {
        let Some(list) = self.list.as_deref_mut() else { return Ok(()) };
        list.add_link(header.path.as_path(), target).map_err(|error| failed(header, error))
    }

    /// Takes back what was put down of an entry that another one of its path follows.
    pub fn take_back(&mut self, header: &Header, path: &Path) -> Result<(), UnpackError> {
        let Some(list) = self.list.as_deref_mut() else { return Ok(()) };
        list.take_back(path).map_err(|error| failed(header, error))
    }
}

fn failed(header: &Header, error: ListError) -> UnpackError {
    match error {
        ListError::Disk(error) => UnpackError::Staging(error),
        ListError::TooLong => UnpackError::Limit {
            entry: header.name.clone(),
            limit: AttributeList::MAX_BYTES,
            what: "bytes of names whose owners or modes are not the agent's; pack fewer files, or as root",
        },
    }
}
