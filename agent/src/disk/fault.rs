//! Failures on demand, for tests: count the mutations of a clean run, then fail each in turn.
//!
//! In a build without tests and without the `fault` feature these are empty inlined functions.

#[cfg(not(any(test, feature = "fault")))]
use std::path::Path;

/// Called before every mutation with its name (`create`, `write`, `sync`…) and its path.
#[cfg(not(any(test, feature = "fault")))]
#[inline(always)]
pub(crate) fn point(_mutation: &'static str, _path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// As [`point`], at a path below a directory.
#[cfg(not(any(test, feature = "fault")))]
#[inline(always)]
pub(super) fn point_in(_mutation: &'static str, _directory: &Path, _relative: &Path) -> std::io::Result<()> {
    Ok(())
}

/// As [`point`], for what gives one path's content to another: `rename`, `exchange`, `link`.
#[cfg(not(any(test, feature = "fault")))]
#[inline(always)]
pub(super) fn point_between(_mutation: &'static str, _directory: &Path, _from_to: [&Path; 2]) -> std::io::Result<()> {
    Ok(())
}

/// Whether a test plays a kernel or file system that lacks a call (`openat2`, `exchange`,
/// `noreplace`, `syncfs`, `clone`, `copy_file_range`).
#[cfg(not(any(test, feature = "fault")))]
#[inline(always)]
pub(super) fn lacks(_call: &'static str) -> bool {
    false
}

/// What a thread takes over from the one that began it.
#[cfg(not(any(test, feature = "fault")))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene;

#[cfg(not(any(test, feature = "fault")))]
impl Scene {
    #[inline(always)]
    pub(crate) fn of_this_thread() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

#[cfg(any(test, feature = "fault"))]
pub use scripted::{Mutation, Seen, failing, run, traced, without};
#[cfg(any(test, feature = "fault"))]
pub(crate) use scripted::{Scene, point};
#[cfg(any(test, feature = "fault"))]
pub(super) use scripted::{lacks, point_between, point_in};

#[cfg(any(test, feature = "fault"))]
mod scripted {
    use std::cell::RefCell;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, PoisonError};

    struct Script {
        fail_at: Option<(usize, i32)>,
        keep_failing: Option<i32>,
        seen: Vec<&'static str>,
    }

    thread_local! {
        static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
    }

    /// The mutations that a scripted run made or tried, in order.
    pub type Seen = Vec<&'static str>;

    /// Runs `work` on this thread. Mutation number `fail_at.0` (from 0) answers errno `fail_at.1`,
    /// and with `then_dead` every later one too, as if the process had ended there.
    pub fn run<T>(fail_at: Option<(usize, i32)>, then_dead: bool, work: impl FnOnce() -> T) -> (T, Seen) {
        SCRIPT.with(|slot| {
            *slot.borrow_mut() = Some(Script { fail_at, keep_failing: None, seen: Vec::new() });
        });
        THEN_DEAD.with(|slot| *slot.borrow_mut() = then_dead);
        let result = work();
        let seen = SCRIPT.with(|slot| slot.borrow_mut().take()).map(|script| script.seen).unwrap_or_default();
        (result, seen)
    }

    thread_local! {
        static THEN_DEAD: RefCell<bool> = const { RefCell::new(false) };
    }

    thread_local! {
        static LACKING: RefCell<&'static [&'static str]> = const { RefCell::new(&[]) };
    }

    /// Runs `work` on this thread as if the kernel or the file system lacked these calls, so that
    /// what stands in for them is run.
    pub fn without<T>(calls: &'static [&'static str], work: impl FnOnce() -> T) -> T {
        let before = LACKING.replace(calls);
        let result = work();
        LACKING.set(before);
        result
    }

    pub(in crate::disk) fn lacks(call: &'static str) -> bool {
        LACKING.with(|lacking| lacking.borrow().contains(&call))
    }

    /// A mutation that was made or tried.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Mutation {
        /// `rename`, `create`, `sync`…
        pub name: &'static str,
        /// Where; of a rename or link, where to.
        pub path: PathBuf,
        /// Of a rename or link, where from; of an exchange, the other path.
        pub from: Option<PathBuf>,
    }

    type Trace = Arc<Mutex<Vec<Mutation>>>;

    /// Mutations of that name at paths with that part in them, and the errno that they answer.
    pub type Failing = (&'static str, &'static str, i32);

    thread_local! {
        static FAILING: RefCell<Option<Failing>> = const { RefCell::new(None) };
    }

    /// Runs `work`, on this thread and those that it begins, as if these mutations were not possible.
    pub fn failing<T>(which: Failing, work: impl FnOnce() -> T) -> T {
        let before = FAILING.replace(Some(which));
        let result = work();
        FAILING.set(before);
        result
    }

    thread_local! {
        static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
    }

    /// Runs `work` on this thread and tells what it did where, in order; what other threads did for it too.
    pub fn traced<T>(work: impl FnOnce() -> T) -> (T, Vec<Mutation>) {
        let trace = Trace::default();
        TRACE.set(Some(Arc::clone(&trace)));
        let result = work();
        TRACE.set(None);
        let mutations = std::mem::take(&mut *trace.lock().unwrap_or_else(PoisonError::into_inner));
        (result, mutations)
    }

    /// What a thread takes over from the one that began it: who looks on, what is lacking and what fails. A script it
    /// does not: which of several threads comes first is nobody's to say.
    #[derive(Clone, Debug)]
    pub(crate) struct Scene {
        trace: Option<Trace>,
        lacking: &'static [&'static str],
        failing: Option<Failing>,
    }

    impl Scene {
        pub(crate) fn of_this_thread() -> Self {
            Self {
                trace: TRACE.with(|trace| trace.borrow().clone()),
                lacking: LACKING.with(|lacking| *lacking.borrow()),
                failing: FAILING.with(|failing| *failing.borrow()),
            }
        }

        /// On the thread that was begun, or on the one that it was to be.
        pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
            let before = (TRACE.replace(self.trace.clone()), FAILING.replace(self.failing));
            let result = without(self.lacking, work);
            TRACE.set(before.0);
            FAILING.set(before.1);
            result
        }
    }

    pub(crate) fn point(name: &'static str, path: &Path) -> io::Result<()> {
        pass(name, || Mutation { name, path: path.to_owned(), from: None })
    }

    pub(in crate::disk) fn point_in(name: &'static str, directory: &Path, relative: &Path) -> io::Result<()> {
        pass(name, || Mutation { name, path: directory.join(relative), from: None })
    }

    pub(in crate::disk) fn point_between(
        name: &'static str,
        directory: &Path,
        [from, to]: [&Path; 2],
    ) -> io::Result<()> {
        pass(name, || Mutation { name, path: directory.join(to), from: Some(directory.join(from)) })
    }

    fn pass(name: &'static str, mutation: impl Fn() -> Mutation) -> io::Result<()> {
        TRACE.with(|slot| {
            if let Some(trace) = slot.borrow().as_ref() {
                trace.lock().unwrap_or_else(PoisonError::into_inner).push(mutation());
            }
        });
        if let Some((_, part, errno)) = FAILING.with(|failing| *failing.borrow()).filter(|failing| failing.0 == name)
            && mutation().path.to_string_lossy().contains(part)
        {
            return Err(io::Error::from_raw_os_error(errno));
        }
        fail_if_scripted(name)
    }

    fn fail_if_scripted(mutation: &'static str) -> io::Result<()> {
        SCRIPT.with(|slot| {
            let mut slot = slot.borrow_mut();
            let Some(script) = slot.as_mut() else { return Ok(()) };
            if let Some(errno) = script.keep_failing {
                return Err(io::Error::from_raw_os_error(errno));
            }
            script.seen.push(mutation);
            match script.fail_at {
                Some((at, errno)) if at + 1 == script.seen.len() => {
                    if THEN_DEAD.with(|dead| *dead.borrow()) {
                        script.keep_failing = Some(errno);
                    }
                    Err(io::Error::from_raw_os_error(errno))
                }
                _ => Ok(()),
            }
        })
    }
}
