//! Two things at once.

use std::thread;

/// Does one thing on a thread of that name, and the other one here meanwhile; one after the other where there is no
/// thread to be had.
pub(super) fn beside<A: Send, B>(name: &str, there: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, &there);
        let here = here();
        let there = match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(there)) => there,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => there(),
        };
        (there, here)
    })
}
