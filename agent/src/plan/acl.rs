//! POSIX access control lists, as `acl(5)` and the kernel have them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the kernel's layout, and the only one (`linux/posix_acl_xattr.h`).
const VERSION: u32 = 2;
/// Bytes of the version, and of each entry: tag, permissions and id, all little-endian.
const HEADER: usize = 4;
const ENTRY: usize = 8;
/// The id of entries that name nobody.
const NO_ID: u32 = u32::MAX;

/// An access control list that the kernel takes: it has the three base entries, nobody is in it twice,
/// and it has a mask where it names somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Acl(BTreeMap<Who, u8>);

/// Whom an entry is for, in the order in which the kernel wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The owner.
    Owner,
    /// A user by number.
    User(u32),
    /// The owning group.
    OwningGroup,
    /// A group by number.
    Group(u32),
    /// The most that named users, the owning group and named groups get.
    Mask,
    /// Everybody else.
    Other,
}

/// Why something is no access control list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// It is cut off, or of another version.
    #[error("it is no access control list of version {VERSION}")]
    Malformed,
    /// An entry is there twice.
    #[error("an access control list has an entry twice")]
    Twice,
    /// A base entry or the mask is missing.
    #[error("an access control list lacks an entry that it needs")]
    Incomplete,
}

impl Acl {
    /// The list that has these entries: base entries that are missing come from the mode, the mask, where
    /// it is missing and somebody is named, is what the owning group has.
    pub fn completed(mut entries: BTreeMap<Who, u8>, mode: u32) -> Self {
        for (who, permissions) in base(mode) {
            entries.entry(who).or_insert(permissions);
        }
        let group = entries.get(&Who::OwningGroup).copied().unwrap_or_default();
        if entries.keys().any(|who| who.is_named()) {
            entries.entry(Who::Mask).or_insert(group);
        }
        Self(entries)
    }

    /// As the kernel keeps it in the extended attributes `system.posix_acl_access` and `…_default`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AclError> {
        let (header, entries) = bytes.split_at_checked(HEADER).ok_or(AclError::Malformed)?;
        if header != VERSION.to_le_bytes() || entries.len() % ENTRY != 0 {
            return Err(AclError::Malformed);
        }
        let read = |entry: &[u8]| {
            let [tag0, tag1, low, high, id @ ..] = <[u8; ENTRY]>::try_from(entry).ok()?;
            let permissions = u8::try_from(u16::from_le_bytes([low, high])).ok().filter(|bits| *bits <= 7)?;
            Some((Who::from_tag(u16::from_le_bytes([tag0, tag1]), u32::from_le_bytes(id))?, permissions))
        };
        Self::checked(entries.chunks(ENTRY).map(read))
    }

    /// See [`Acl::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (who, permissions) in &self.0 {
            let (tag, id) = who.tag();
            bytes.extend(tag.to_le_bytes());
            bytes.extend(u16::from(*permissions).to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    /// Whether it says more than permission bits can.
    pub fn is_extended(&self) -> bool {
        self.0.contains_key(&Who::Mask)
    }

    /// The permission bits that a file with this list shows: those of the group are the mask.
    pub fn mode(&self) -> u32 {
        let group = self.0.get(&Who::Mask).or(self.0.get(&Who::OwningGroup));
        self.bits(Who::Owner) << 6 | group.copied().map_or(0, u32::from) << 3 | self.bits(Who::Other)
    }

    /// The permission bits of the base entries alone, whatever the mask.
    pub fn base_mode(&self) -> u32 {
        self.bits(Who::Owner) << 6 | self.bits(Who::OwningGroup) << 3 | self.bits(Who::Other)
    }

    /// What a change of the mode makes of the list.
    pub fn with_mode(&self, mode: u32) -> Self {
        let mut entries = self.0.clone();
        for (who, permissions) in base(mode) {
            let who = if who == Who::OwningGroup && self.is_extended() { Who::Mask } else { who };
            entries.insert(who, permissions);
        }
        Self(entries)
    }

    fn bits(&self, who: Who) -> u32 {
        self.0.get(&who).copied().map_or(0, u32::from)
    }

    fn checked(entries: impl Iterator<Item = Option<(Who, u8)>>) -> Result<Self, AclError> {
        let mut found = BTreeMap::new();
        for entry in entries {
            let (who, permissions) = entry.ok_or(AclError::Malformed)?;
            if found.insert(who, permissions).is_some() {
                return Err(AclError::Twice);
            }
        }
        let is_complete = base(0).iter().all(|(who, _)| found.contains_key(who))
            && (found.contains_key(&Who::Mask) || !found.keys().any(|who| who.is_named()));
        if is_complete { Ok(Self(found)) } else { Err(AclError::Incomplete) }
    }
}

fn base(mode: u32) -> [(Who, u8); 3] {
    // Masked to three bits, each fits.
    let bits = |shift: u32| (mode >> shift & 7) as u8;
    [(Who::Owner, bits(6)), (Who::OwningGroup, bits(3)), (Who::Other, bits(0))]
}

impl Who {
    /// Whether it is a user or group by number.
    pub fn is_named(self) -> bool {
        matches!(self, Self::User(_) | Self::Group(_))
    }

    fn tag(self) -> (u16, u32) {
        match self {
            Self::Owner => (0x01, NO_ID),
            Self::User(id) => (0x02, id),
            Self::OwningGroup => (0x04, NO_ID),
            Self::Group(id) => (0x08, id),
            Self::Mask => (0x10, NO_ID),
            Self::Other => (0x20, NO_ID),
        }
    }

    fn from_tag(tag: u16, id: u32) -> Option<Self> {
        Some(match tag {
            0x01 => Self::Owner,
            0x02 => Self::User(id),
            0x04 => Self::OwningGroup,
            0x08 => Self::Group(id),
            0x10 => Self::Mask,
            0x20 => Self::Other,
            _ => return None,
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => out.write_str("user:"),
            Self::User(id) => write!(out, "user:{id}"),
            Self::OwningGroup => out.write_str("group:"),
            Self::Group(id) => write!(out, "group:{id}"),
            Self::Mask => out.write_str("mask:"),
            Self::Other => out.write_str("other:"),
        }
    }
}

/// As `getfacl --numeric` shows it, in one line.
impl fmt::Display for Acl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (who, permissions)) in self.0.iter().enumerate() {
            write!(out, "{}{who}:", if number == 0 { "" } else { "," })?;
            for (bit, letter) in LETTERS {
                write!(out, "{}", if permissions & bit == 0 { '-' } else { letter })?;
            }
        }
        Ok(())
    }
}

const LETTERS: [(u8, char); 3] = [(4, 'r'), (2, 'w'), (1, 'x')];

impl From<Acl> for String {
    fn from(acl: Acl) -> Self {
        acl.to_string()
    }
}

impl TryFrom<String> for Acl {
    type Error = AclError;
    fn try_from(text: String) -> Result<Self, AclError> {
        let read = |entry: &str| {
            let mut parts = entry.split(':');
            let (Some(kind), Some(id), Some(letters), None) = (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return None;
            };
            let who = match (kind, id) {
                ("user", "") => Who::Owner,
                ("user", id) => Who::User(id.parse().ok()?),
                ("group", "") => Who::OwningGroup,
                ("group", id) => Who::Group(id.parse().ok()?),
                ("mask", "") => Who::Mask,
                ("other", "") => Who::Other,
                _ => return None,
            };
            if letters.chars().count() != LETTERS.len() {
                return None;
            }
            let bits = letters.chars().zip(LETTERS).try_fold(0, |bits, (found, (bit, letter))| match found {
                '-' => Some(bits),
                found if found == letter => Some(bits | bit),
                _ => None,
            });
            Some((who, bits?))
        };
        Self::checked(text.split(',').map(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(text: &str) -> Acl {
        Acl::try_from(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    const FULL: &str =
        "user::rwx,user:7:rw-,user:1000:r--,group::r-x,group:0:---,group:4294967294:--x,mask::rw-,other::--x";

    #[test]
    fn text_and_bytes_hold_the_same() {
        for text in ["user::rwx,group::r-x,other::---", "user::rw-,group::r--,mask::r--,other::---", FULL] {
            assert_eq!(acl(text).to_string(), text);
            assert_eq!(Acl::from_bytes(&acl(text).to_bytes()), Ok(acl(text)));
            let json = serde_json::to_string(&acl(text)).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Acl>(&json).unwrap(), acl(text));
        }
        // As the kernel's header has it: a version, then tag, permissions and id of each entry.
        let bytes = "02000000 01000600ffffffff 02000700e8030000 04000400ffffffff 10000700ffffffff 20000000ffffffff";
        let bytes = hex::decode(bytes.replace(' ', "")).unwrap();
        assert_eq!(acl("user::rw-,user:1000:rwx,group::r--,mask::rwx,other::---").to_bytes(), bytes);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, error) in [
            ("", AclError::Malformed),
            ("user::rwx", AclError::Incomplete),
            ("user::rwx,group::r-x,mask::rwx", AclError::Incomplete),
            ("user::rwx,user:1:rwx,group::r-x,other::---", AclError::Incomplete),
            ("user::rwx,user::rwx,group::r-x,other::---", AclError::Twice),
            ("user::rwx,group::r-x,other::--", AclError::Malformed),
            ("user::rwx,group::r-x,other::-r-", AclError::Malformed),
            ("user::rwx,group::r-x,other:1:---", AclError::Malformed),
            ("user:-1:rwx,user::rwx,group::r-x,other::---", AclError::Malformed),
            ("user::rwx,group::r-x,other::---:", AclError::Malformed),
        ] {
            assert_eq!(Acl::try_from(text.to_owned()), Err(error), "{text}");
        }
        let good = acl(FULL).to_bytes();
        for length in 0..good.len() {
            assert!(Acl::from_bytes(&good[..length]).is_err(), "{length}");
        }
        for (at, byte) in [(0, 1), (4, 3), (6, 8), (7, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(Acl::from_bytes(&bad), Err(AclError::Malformed), "{at}");
        }
        let twice = [&good[..], &good[good.len() - ENTRY..]].concat();
        assert_eq!(Acl::from_bytes(&twice), Err(AclError::Twice));
    }

    #[test]
    fn what_is_missing_comes_from_the_mode() {
        use Who::{Group, Mask, Other, Owner, OwningGroup, User};
        for (entries, mode, expected) in [
            (&[(User(7), 7)][..], 0o4640, "user::rw-,user:7:rwx,group::r--,mask::r--,other::---"),
            (&[(User(7), 7), (Mask, 6)], 0o640, "user::rw-,user:7:rwx,group::r--,mask::rw-,other::---"),
            (&[(Mask, 5)], 0o755, "user::rwx,group::r-x,mask::r-x,other::r-x"),
            (&[(Group(7), 1), (OwningGroup, 7)], 0o755, "user::rwx,group::rwx,group:7:--x,mask::rwx,other::r-x"),
            (&[(Owner, 4), (Other, 0)], 0o777, "user::r--,group::rwx,other::---"),
            (&[], 0o750, "user::rwx,group::r-x,other::---"),
        ] {
            assert_eq!(Acl::completed(entries.iter().copied().collect(), mode).to_string(), expected);
        }
    }

    #[test]
    fn the_mode_is_the_lists_and_changes_it() {
        let list = acl("user::rwx,user:7:rwx,group::---,mask::rw-,other::r--");
        assert_eq!((list.mode(), list.base_mode(), list.is_extended()), (0o764, 0o704, true));
        assert_eq!(list.with_mode(0o4640).to_string(), "user::rw-,user:7:rwx,group::---,mask::r--,other::---");
        let plain = acl("user::rwx,group::r-x,other::r--");
        assert_eq!((plain.mode(), plain.base_mode(), plain.is_extended()), (0o754, 0o754, false));
        assert_eq!(plain.with_mode(0o640).to_string(), "user::rw-,group::r--,other::---");
    }
}
