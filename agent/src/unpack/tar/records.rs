//! Extended headers, as POSIX's pax format has them: records of a length, a name and a value. The length alone says
//! where a value ends, so a value may hold line ends.

use super::time;

/// What an extended header says of an entry, or of all that follow. An empty value takes back what an earlier header
/// said: then the entry's own header counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub linkpath: Option<Vec<u8>>,
    pub uname: Option<Vec<u8>>,
    pub gname: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<(i64, u32)>,
    pub sparse: SparseRecords,
    /// Whether there is an ACL, or a capability, which no bundle brings along.
    pub privileges: bool,
}

/// How GNU tar describes a file with holes, in the three forms that it has had.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseRecords {
    /// 1 where the list of pieces is before the content.
    pub major: Option<u64>,
    pub name: Option<Vec<u8>>,
    /// The file's length with its holes.
    pub real: Option<u64>,
    /// Offsets and lengths in turn.
    pub map: Vec<u64>,
}

/// A record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Records {
    /// Adds what an extended header's content says.
    pub fn add(&mut self, content: &[u8]) -> Result<(), Malformed> {
        let mut rest = content;
        // Some writers fill the block with zeros.
        while rest.first().is_some_and(|byte| *byte != 0) {
            let (name, value, after) = record(rest).ok_or(Malformed)?;
            self.set(name, value)?;
            rest = after;
        }
        Ok(())
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        match name {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.linkpath = Some(value.to_vec()),
            b"uname" => self.uname = Some(value.to_vec()),
            b"gname" => self.gname = Some(value.to_vec()),
            b"size" => self.size = value_or_none(value)?,
            // Numbers that no user can have are as good as none.
            b"uid" => self.uid = number(value).and_then(|id| u32::try_from(id).ok()),
            b"gid" => self.gid = number(value).and_then(|id| u32::try_from(id).ok()),
            b"mtime" => self.mtime = std::str::from_utf8(value).ok().and_then(time),
            b"GNU.sparse.major" => self.sparse.major = value_or_none(value)?,
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real = value_or_none(value)?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.map.push(number(value).ok_or(Malformed)?);
            }
            b"GNU.sparse.map" => {
                let numbers = value.split(|byte| *byte == b',').filter(|part| !part.is_empty()).map(number);
                self.sparse.map = numbers.collect::<Option<_>>().ok_or(Malformed)?;
            }
            _ => self.privileges |= name.starts_with(b"SCHILY.acl.") || name.ends_with(b".xattr.security.capability"),
        }
        Ok(())
    }

    /// What these say, and where they say nothing, what the others do.
    pub fn or(self, global: &Self) -> Self {
        let text =
            |own: Option<Vec<u8>>, all: &Option<Vec<u8>>| own.or_else(|| all.clone()).filter(|text| !text.is_empty());
        Self {
            path: text(self.path, &None),
            linkpath: text(self.linkpath, &None),
            uname: text(self.uname, &global.uname),
            gname: text(self.gname, &global.gname),
            uid: self.uid.or(global.uid),
            gid: self.gid.or(global.gid),
            mtime: self.mtime.or(global.mtime),
            ..self
        }
    }

    /// Whether this, said of all entries, would say what can be true of one alone.
    pub fn names_one_entry(&self) -> bool {
        self.path.is_some() || self.linkpath.is_some() || self.size.is_some() || self.sparse.is_any()
    }
}

impl SparseRecords {
    pub fn is_any(&self) -> bool {
        self.major.is_some() || self.name.is_some() || self.real.is_some() || !self.map.is_empty()
    }
}

/// The first record, as name and value, and what follows it: `30 mtime=1700000000.123456789\n`.
fn record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = content.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(content.get(..space)?)?).ok()?;
    let (whole, after) = content.split_at_checked(length)?;
    let record = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, after))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok())
}

fn value_or_none(value: &[u8]) -> Result<Option<u64>, Malformed> {
    if value.is_empty() { Ok(None) } else { number(value).map(Some).ok_or(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Records, Malformed> {
        let mut records = Records::default();
        records.add(content).map(|()| records)
    }

    #[test]
    fn the_length_alone_ends_a_record() {
        let records = read(b"18 comment=a\n20 b\n11 path=x\n\n10 size=7\n").unwrap();
        assert_eq!((records.path.as_deref(), records.size), (Some(&b"x\n"[..]), Some(7)));
        let records = read(b"25 SCHILY.acl.access=a\nb\n9 uid=12\n\0\0\0").unwrap();
        assert_eq!((records.privileges, records.uid), (true, Some(12)));
    }

    #[test]
    fn what_is_no_record_is_told() {
        for bad in [
            &b"x"[..],
            b"9 path=x",
            b"99 path=x\n",
            b"8 path=x\n",
            b"9 path-x\n",
            b"+9 path=x\n",
            b" path=x\n",
            b"0 a=b\n",
            b"10 size=a\n",
            b"18446744073709551616 a=b\n",
        ] {
            assert_eq!(read(bad).unwrap_err(), Malformed, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn an_empty_value_takes_back_what_was_said_of_all() {
        let global = read(b"15 uname=alice\n13 gname=web\n").unwrap();
        let own = read(b"9 uname=\n").unwrap().or(&global);
        assert_eq!((own.uname, own.gname.as_deref()), (None, Some(&b"web"[..])));
    }

    #[test]
    fn pieces_of_a_sparse_file_are_read_in_each_form() {
        let records = read(b"26 GNU.sparse.map=0,5,9,2\n22 GNU.sparse.size=11\n").unwrap();
        assert_eq!((records.sparse.map, records.sparse.real), (vec![0, 5, 9, 2], Some(11)));
        let records = read(b"23 GNU.sparse.offset=9\n25 GNU.sparse.numbytes=2\n").unwrap();
        assert_eq!(records.sparse.map, [9, 2]);
        assert!(read(b"25 GNU.sparse.map=0,5,x,2\n").is_err());
    }
}
