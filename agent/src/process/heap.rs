//! How the C library keeps memory. It gives each thread a heap of its own to begin with, and keeps what is freed in
//! each: a daemon whose short tasks run on ever other threads grows by all of them. And it gives large pieces back as
//! soon as they are free, only to have the next ones cleared by the kernel, which takes longer than to fill them.

/// Enough that threads which work side by side do not wait for each other at each piece.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 8;
/// From this many bytes on a piece is given back at once.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 4 << 20;
/// This many free bytes at the end of a heap are kept.
#[cfg(target_env = "gnu")]
const KEPT: i32 = 16 << 20;

/// To be called before there is a second thread. Without effect where the C library is not GNU's.
pub fn set_up_heap() {
    #[cfg(target_env = "gnu")]
    for (what, value) in
        [(nix::libc::M_ARENA_MAX, HEAPS), (nix::libc::M_MMAP_THRESHOLD, LARGE), (nix::libc::M_TRIM_THRESHOLD, KEPT)]
    {
        // SAFETY: sets a number inside of the allocator; no second thread allocates yet.
        let done = unsafe { nix::libc::mallopt(what, value) };
        if done != 1 {
            tracing::debug!("the allocator does not take {value} for its parameter {what}");
        }
    }
}

/// Gives back what is free, after work that took much.
pub fn give_heap_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: gives the kernel pages in which nothing is; the allocator guards itself against other threads.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
