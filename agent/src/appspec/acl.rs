//! The entries of an access control list.

use std::fmt;

/// One entry of an access control list, as written and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// `d:` or `default:` was written.
    pub default: bool,
    /// Whom it is for.
    pub who: AclWho,
    /// `r` 4, `w` 2, `x` 1.
    pub permissions: u8,
}

/// Whom an access control entry is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AclWho {
    /// A user by name or number.
    User(String),
    /// A group by name or number.
    Group(String),
    /// The mask.
    Mask,
    /// The owner; default entries only.
    Owner,
    /// The owning group; default entries only.
    OwningGroup,
    /// All others; default entries only.
    Other,
}

/// What every entry must look like.
const GRAMMAR: &str = "an entry `[default:]user|group|mask|other:[name]:permissions`";

impl AclEntry {
    /// Parses `[d[efault]:][u[ser]|g[roup]|m[ask]|o[ther]:][name]:perms`; the error says what was
    /// expected.
    ///
    /// As in `setfacl`, an entry that begins with a name is for that user. The entries of owner,
    /// owning group and others come from `mode`, so only default entries may set them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts: Vec<&str> = text.split(':').map(str::trim).collect();
        let default = parts.len() > 1 && matches!(parts[0], "d" | "default");
        if default {
            parts.remove(0);
        }
        let (kind, name, permissions) = match parts.as_slice() {
            [kind, name, permissions] => (*kind, *name, *permissions),
            // `mask:rwx` and `other:r`; what is left is the short form of a user's entry.
            [kind @ ("m" | "mask" | "o" | "other"), permissions] => (*kind, "", *permissions),
            [name, permissions] => ("user", *name, *permissions),
            _ => return Err(GRAMMAR.to_owned()),
        };
        let who = match (kind, name) {
            ("u" | "user", "") => AclWho::Owner,
            ("u" | "user", name) => AclWho::User(name.to_owned()),
            ("g" | "group", "") => AclWho::OwningGroup,
            ("g" | "group", name) => AclWho::Group(name.to_owned()),
            ("m" | "mask", "") => AclWho::Mask,
            ("o" | "other", "") => AclWho::Other,
            ("m" | "mask" | "o" | "other", _) => {
                return Err(format!("an entry for `{kind}` without a name"));
            }
            _ => return Err(format!("{GRAMMAR} with one of user (u), group (g), mask (m) and other (o)")),
        };
        if !default && matches!(who, AclWho::Owner | AclWho::OwningGroup | AclWho::Other) {
            return Err(format!(
                "a name in an entry for `{kind}`: without one it is the base entry, which `mode` sets"
            ));
        }
        Ok(Self { default, who, permissions: permission_bits(permissions)? })
    }
}

/// Parses `r`, `w`, `x` and `-` in any order, each letter at most once, or one octal digit.
fn permission_bits(text: &str) -> Result<u8, String> {
    let expected = || "permissions of `r`, `w`, `x` and `-`, or one octal digit, at an entry's end".to_owned();
    if let [digit @ b'0'..=b'7'] = text.as_bytes() {
        return Ok(digit - b'0');
    }
    if text.is_empty() || text.len() > 3 {
        return Err(expected());
    }
    text.bytes().try_fold(0, |bits, letter| {
        let bit = match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => return Ok(bits),
            _ => return Err(expected()),
        };
        if bits & bit == 0 { Ok(bits | bit) } else { Err(expected()) }
    })
}

impl fmt::Display for AclEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.default {
            out.write_str("default:")?;
        }
        match &self.who {
            AclWho::User(name) => write!(out, "user:{name}:")?,
            AclWho::Group(name) => write!(out, "group:{name}:")?,
            AclWho::Mask => out.write_str("mask::")?,
            AclWho::Owner => out.write_str("user::")?,
            AclWho::OwningGroup => out.write_str("group::")?,
            AclWho::Other => out.write_str("other::")?,
        }
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            write!(out, "{}", if self.permissions & bit == 0 { '-' } else { letter })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_in_every_spelling() {
        for (text, canonical) in [
            ("user:bob:rwx", "user:bob:rwx"),
            ("u:bob:rw-", "user:bob:rw-"),
            ("bob:rw", "user:bob:rw-"),
            ("u:1000:6", "user:1000:rw-"),
            ("g:web:x", "group:web:--x"),
            ("group:web:-", "group:web:---"),
            ("m::rwx", "mask::rwx"),
            ("mask:5", "mask::r-x"),
            ("d:u:bob:xr", "default:user:bob:r-x"),
            ("default:group:web:0", "default:group:web:---"),
            ("d:bob:7", "default:user:bob:rwx"),
            ("d:u::rwx", "default:user::rwx"),
            ("d:g::r", "default:group::r--"),
            ("default:other::r", "default:other::r--"),
            ("d:o:r", "default:other::r--"),
            ("d:m::rx", "default:mask::r-x"),
        ] {
            let entry = AclEntry::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(entry.to_string(), canonical, "{text}");
            assert_eq!(AclEntry::parse(canonical).as_ref(), Ok(&entry), "{canonical}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("user::rwx", "`mode` sets"),
            ("g::r", "`mode` sets"),
            ("o::r", "`mode` sets"),
            ("other:r", "`mode` sets"),
            (":rwx", "`mode` sets"),
            ("other:bob:r", "without a name"),
            ("m:bob:r", "without a name"),
            ("x:bob:r", "one of user"),
            ("u:bob:", "permissions"),
            ("u:bob:8", "permissions"),
            ("u:bob:rr", "permissions"),
            ("u:bob:rwxx", "permissions"),
            ("u:bob:rwX", "permissions"),
            ("u:bob:77", "permissions"),
            ("rwx", "an entry"),
            ("", "an entry"),
            ("d:rwx", "an entry"),
            ("u:a:b:rwx", "an entry"),
        ] {
            let error = AclEntry::parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
