//! Whose an archive's files are: by the names that this host knows, and by number where it does not know them, as
//! GNU tar does as root.

use std::collections::HashMap;

use nix::unistd::{Group, User};

/// Longest name that is looked up, in bytes; users' are at most 32 long.
const MAX_NAME: usize = 256;
/// Most names of one archive that are looked up: each may be a question to a server.
const MAX_NAMES: usize = 1_000;

/// The users and groups that an archive names.
pub(super) struct Owners {
    known: HashMap<(Kind, Vec<u8>), Option<u32>>,
    find: fn(Kind, &str) -> Option<u32>,
}

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    User,
    Group,
}

impl Owners {
    /// Those of this host.
    pub fn of_this_host() -> Self {
        Self { known: HashMap::new(), find: find_here }
    }

    /// None of them is known: numbers count.
    pub fn by_number() -> Self {
        Self { known: HashMap::new(), find: |_, _| None }
    }

    /// The number for a name, where there is one.
    pub fn id(&mut self, kind: Kind, name: Option<&[u8]>) -> Option<u32> {
        let name = name.filter(|name| !name.is_empty() && name.len() <= MAX_NAME)?;
        let key = (kind, name.to_vec());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        if self.known.len() >= MAX_NAMES {
            return None;
        }
        let found = std::str::from_utf8(name).ok().and_then(|name| (self.find)(kind, name));
        self.known.insert(key, found);
        found
    }
}

/// A database that does not answer is one that does not know the name, as for tar.
fn find_here(kind: Kind, name: &str) -> Option<u32> {
    match kind {
        Kind::User => User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()),
        Kind::Group => Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_host_are_found_and_others_are_not() {
        let mut owners = Owners::of_this_host();
        assert_eq!(owners.id(Kind::User, Some(b"root")), Some(0));
        assert_eq!(owners.id(Kind::Group, Some(b"root")), Some(0));
        for nobody in [&b"no-such-user-here"[..], b"", b"\xff", &[b'x'; 1000]] {
            assert_eq!(owners.id(Kind::User, Some(nobody)), None);
        }
        assert_eq!(owners.id(Kind::User, None), None);
        assert_eq!(Owners::by_number().id(Kind::User, Some(b"root")), None);
    }

    #[test]
    fn an_archive_of_endless_names_has_few_of_them_looked_up() {
        let mut owners = Owners { known: HashMap::new(), find: |_, _| Some(7) };
        let found = (0..MAX_NAMES + 50).filter(|n| owners.id(Kind::User, Some(n.to_string().as_bytes())).is_some());
        assert_eq!(found.count(), MAX_NAMES);
        assert_eq!(owners.id(Kind::User, Some(b"0")), Some(7));
    }
}
