//! Which host the state under a root directory is of. A machine image that was made of a host that ran takes the
//! state along, and what is in it of host commands is not the new host's.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, write};
use crate::disk::{self, Dir};
use crate::layout::Layout;

/// Directory and name of the machine's own id, of `machine-id(5)`: made at the first boot, unless an image brings one.
const MACHINE_ID: (&str, &str) = ("/etc", "machine-id");
/// Longest such file, in bytes.
const MAX_MACHINE_ID: u64 = 200;

/// What tells one host from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The machine's id, where it has one.
    pub machine: Option<String>,
    /// The instance's id, where the EC2 metadata service told one.
    pub instance: Option<String>,
}

impl Stored for HostRecord {
    const WHAT: &'static str = "the record of the host that the state is of";
    const FORMAT: u32 = 1;
}

/// State of another host that was let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disowned {
    was: HostRecord,
    now: HostRecord,
}

impl HostRecord {
    /// This host, with the instance's id where one is known.
    pub fn of_this_host(instance: Option<&str>) -> Result<Self, disk::Error> {
        let (directory, name) = MACHINE_ID;
        Ok(Self { machine: machine_id(Path::new(directory), name)?, instance: instance.map(str::to_owned) })
    }

    /// An instance's id tells on EC2, since an image often brings a machine's id; elsewhere the machine's does. What
    /// is not known tells nothing.
    fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| Some(one.as_ref()? == other.as_ref()?);
        same(&self.instance, &other.instance).or_else(|| same(&self.machine, &other.machine)).unwrap_or(true)
    }
}

/// What [`claim`] would let go of; changes nothing.
pub fn disowned(layout: &Layout, now: HostRecord) -> Result<Option<Disowned>, StoreError> {
    let was: Option<HostRecord> = read(&layout.host())?;
    Ok(was.filter(|was| !was.is_same(&now)).map(|was| Disowned { was, now }))
}

/// Makes the state this host's. Where it is another one's, host commands, results that wait for the service, and
/// hooks are dropped; manifests, markers and revisions stay, since what they tell of is on this host too. Installs
/// have to be settled before. It is done again if it is cut off.
pub fn claim(layout: &Layout, now: HostRecord) -> Result<Option<Disowned>, StoreError> {
    let path = layout.host();
    let was: Option<HostRecord> = read(&path)?;
    let (record, disowned) = match was.clone() {
        None => (now, None),
        Some(was) if was.is_same(&now) => {
            // What is not known in this life may tell in a later one.
            let record = HostRecord { machine: now.machine.or(was.machine), instance: now.instance.or(was.instance) };
            (record, None)
        }
        Some(was) => {
            for directory in [layout.outbox(), layout.ledger(), layout.hooks()] {
                empty(&directory)?;
            }
            (now.clone(), Some(Disowned { was, now }))
        }
    };
    if was.as_ref() != Some(&record) {
        write(&path, &record)?;
    }
    Ok(disowned)
}

/// A machine's id, where it has one that lasts.
fn machine_id(directory: &Path, name: &str) -> Result<Option<String>, disk::Error> {
    // Where the file cannot be written, systemd mounts one over it, with another id at each boot.
    if Dir::open(directory)?.facts(name)?.is_some_and(|facts| facts.mount_point) {
        return Ok(None);
    }
    let text = disk::read_if_exists(&directory.join(name), MAX_MACHINE_ID)?.unwrap_or_default();
    let id = String::from_utf8_lossy(&text).trim().to_owned();
    // What a first boot finds in an image that was made ready for it.
    Ok(Some(id).filter(|id| !id.is_empty() && id != "uninitialized"))
}

fn empty(directory: &Path) -> Result<(), disk::Error> {
    let directory = Dir::open_or_create(directory, 0o700)?;
    for entry in directory.entries()? {
        directory.remove_tree(&entry.name)?;
    }
    directory.sync()
}

impl fmt::Display for HostRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.instance, &self.machine) {
            (Some(instance), _) => out.write_str(instance),
            (None, Some(machine)) => write!(out, "machine {machine}"),
            (None, None) => out.write_str("a machine without an id"),
        }
    }
}

impl fmt::Display for Disowned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the agent's state is of another instance: of {}, and this is {}, so a disk or an image was copied",
            self.was, self.now
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(machine: Option<&str>, instance: Option<&str>) -> HostRecord {
        HostRecord { machine: machine.map(str::to_owned), instance: instance.map(str::to_owned) }
    }

    #[test]
    fn on_ec2_the_instance_tells_elsewhere_the_machine() {
        let (m1, m2, i1, i2) = (Some("m1"), Some("m2"), Some("i-1"), Some("i-2"));
        for (was, now, same) in [
            ((m1, i1), (m1, i1), true),
            ((m1, i1), (m1, i2), false),
            ((m1, i1), (m2, i1), true),
            ((m1, None), (m1, None), true),
            ((m1, None), (m2, None), false),
            ((m1, None), (m1, i1), true),
            ((m1, None), (m2, i1), false),
            ((m1, i1), (m1, None), true),
            ((m1, i1), (m2, None), false),
            ((None, None), (m1, i1), true),
            ((m1, None), (None, None), true),
        ] {
            assert_eq!(record(was.0, was.1).is_same(&record(now.0, now.1)), same, "{was:?} {now:?}");
        }
    }

    #[test]
    fn a_machine_without_an_id_that_lasts_has_none() {
        let temp = tempfile::tempdir().unwrap();
        let id = || machine_id(temp.path(), "machine-id").unwrap();
        assert_eq!(id(), None);
        for (text, expected) in [
            ("", None),
            ("uninitialized\n", None),
            ("3d1219c7c4c5404aaa1f6d2a48adfda4\n", Some("3d1219c7c4c5404aaa1f6d2a48adfda4")),
        ] {
            disk::write_unsynced(&temp.path().join("machine-id"), text.as_bytes(), 0o444).unwrap();
            assert_eq!(id().as_deref(), expected, "{text:?}");
        }
        assert_eq!(machine_id(Path::new("/"), "proc").unwrap(), None, "something is mounted there");
    }

    #[test]
    fn state_of_another_host_is_dropped_but_for_what_tells_of_this_disk() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        crate::store::prepare(&layout).unwrap();
        let fill = || {
            for directory in [layout.ledger(), layout.outbox(), layout.hooks().join("d-1"), layout.manifests()] {
                Dir::open_or_create(&directory, 0o700).unwrap();
                disk::write_atomic(&directory.join("x.json"), b"{}", 0o600).unwrap();
            }
        };
        let names = |path| Dir::open(path).unwrap().entries().unwrap().len();
        fill();
        assert_eq!(claim(&layout, record(Some("m1"), None)).unwrap(), None, "state without a record is this host's");
        assert_eq!(claim(&layout, record(Some("m1"), Some("i-1"))).unwrap(), None);
        assert_eq!(claim(&layout, record(None, None)).unwrap(), None);
        assert_eq!((names(layout.ledger()), names(layout.outbox()), names(layout.hooks())), (1, 1, 1));
        let disowned = claim(&layout, record(Some("m1"), Some("i-2"))).unwrap().unwrap().to_string();
        assert!(disowned.contains("of i-1, and this is i-2"), "{disowned}");
        assert_eq!((names(layout.ledger()), names(layout.outbox()), names(layout.hooks())), (0, 0, 0));
        assert_eq!(names(layout.manifests()), 1);
        fill();
        assert_eq!(claim(&layout, record(Some("m1"), Some("i-2"))).unwrap(), None, "it is said once");
        assert_eq!(names(layout.ledger()), 1);
    }
}
