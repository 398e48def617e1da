//! The only user of the file system.
//!
//! Everything works on directory descriptors where a link could be swapped under a path; every
//! mutation passes [`fault`], so that tests can fail or end the process at each of them.

#![allow(clippy::disallowed_methods, reason = "this module is what the others are to use instead")]

mod acl;
mod append;
mod attributes;
mod chained;
mod copy;
mod dir;
mod erase;
mod error;
mod exposure;
mod facts;
pub mod fault;
mod file;
mod follow;
mod kernel;
mod label;
mod lock;
mod log;
mod made;
mod mounts;
mod positioned;
mod remove;
mod rename;
mod replacement;
mod reserve;
mod reserved;
mod resolve;
mod scratch;
mod space;
mod staged;
mod stat;
mod sync;
mod usage;
mod watch;
mod xattr;

pub use acl::{AclKind, read_acl, set_acl};
pub use append::{AppendFile, Rotation, set_aside};
pub use attributes::{set_mode, set_modified, set_owner};
pub use chained::{Chained, Durable, FileLine, each_line};
pub use copy::{copy, forget_cached};
pub use dir::{Dir, Entry};
pub use erase::erase;
pub use error::{Error, Result};
pub use exposure::{ExposedBy, Exposure, exposure};
pub use facts::Facts;
pub use file::{
    append_unsynced, create_unsynced, exists, open_named, read_bounded, read_bounded_at, read_if_exists,
    remove_if_exists, sweep_temporaries, write_atomic, write_unsynced,
};
pub use follow::{Follower, read_tail};
pub use kernel::KERNEL_DIRECTORIES;
pub use label::{has_label, read_label, set_label};
pub use lock::{Lock, LockError};
pub use log::LogFile;
#[cfg(test)]
pub use mounts::tests::Mounted;
pub use mounts::{Mount, Mounts};
pub use positioned::{allocate, read_at, write_at};
pub use replacement::Replacement;
pub use reserve::{available, reserve};
pub use reserved::Reserved;
pub use resolve::{is_mounted_noexec, resolve_beneath};
pub use scratch::{Remover, Scratch};
pub use space::Space;
pub use staged::{StagedAttributes, finish_dir, finish_file, finish_symlink, make_executable};
pub use stat::{Kind, Stat};
pub use sync::{Syncfs, sync_file};
pub use watch::Watch;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests;
