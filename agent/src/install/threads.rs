//! Several things at once.

use std::thread::{self, ScopedJoinHandle};

use crate::disk::fault::Scene;

/// From this many steps on several threads change what they are about. More than there are processors: they wait for
/// disks.
const MANY: usize = 64;
const THREADS: usize = 4;

/// How many threads are to change what so many steps are about.
pub(super) fn threads_for(steps: usize) -> usize {
    if steps < MANY { 1 } else { THREADS }
}

/// Does one thing on a thread of that name, and the other one here meanwhile; one after the other where there is no
/// thread to be had.
pub(super) fn beside<A: Send, B>(name: &str, there: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    let scene = Scene::of_this_thread();
    let there = || scene.enter(&there);
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, there);
        let here = here();
        (thread.map_or_else(|_| there(), joined), here)
    })
}

/// Does the same for each of so many parts of a list, the first one here and the others on threads of that name; their
/// results are in order.
pub(super) fn spread<T: Sync, A: Send>(
    name: &str,
    parts: usize,
    list: &[T],
    work: impl Fn(&[T]) -> A + Sync,
) -> Vec<A> {
    let scene = Scene::of_this_thread();
    let mut parts = list.chunks(list.len().div_ceil(parts).max(1));
    let Some(own) = parts.next() else { return Vec::new() };
    thread::scope(|scope| {
        let begun: Vec<_> = parts
            .map(|part| {
                let work = || scene.enter(|| work(part));
                (part, thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work))
            })
            .collect();
        let mut results = vec![work(own)];
        results.extend(begun.into_iter().map(|(part, thread)| thread.map_or_else(|_| work(part), joined)));
        results
    })
}

fn joined<A>(thread: ScopedJoinHandle<'_, A>) -> A {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
