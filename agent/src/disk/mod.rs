//! The only user of the file system.
//!
//! Everything works on directory descriptors where a link could be swapped under a path; every
//! mutation passes [`fault`], so that tests can fail or end the process at each of them.

mod append;
mod dir;
mod error;
pub mod fault;
mod file;
mod lock;
<<<<<<< HEAD
mod reserved;
mod resolve;
=======
pub mod space;
mod staged;
>>>>>>> part/bundle

pub use append::{AppendFile, Rotation};
pub use dir::{Dir, Entry, Kind, Stat};
pub use error::{Error, Result};
pub use file::{read_bounded, read_bounded_at, read_if_exists, remove_if_exists, write_atomic};
pub use lock::{Lock, LockError};
<<<<<<< HEAD
pub use reserved::Reserved;
pub use resolve::{is_mounted_noexec, resolve_beneath};
=======
pub use staged::{StagedAttributes, finish_dir, finish_file, finish_symlink, make_executable};
>>>>>>> part/bundle

#[cfg(test)]
mod tests;
