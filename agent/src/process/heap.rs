//! One heap for all threads. The C library gives each thread a heap of its own to begin with, and keeps what is
//! freed in each: a daemon whose short tasks run on ever other threads grows by all of them.

/// To be called before there is a second thread. Without effect where the C library is not GNU's.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number inside of the allocator; no second thread allocates yet.
    let done = unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1) };
    #[cfg(target_env = "gnu")]
    if done != 1 {
        tracing::debug!("the allocator keeps a heap for each thread");
    }
}
