//! Reading that ends when that is asked for.

use std::fmt;
use std::io::{self, Read};

use crate::process::StopSignal;

/// A reader that fails once its work is to stop.
pub(super) struct Stoppable<R> {
    inner: R,
    stop: StopSignal,
}

impl<R> Stoppable<R> {
    pub fn new(inner: R, stop: &StopSignal) -> Self {
        Self { inner, stop: stop.clone() }
    }
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_given() { Err(io::Error::other(Stopped)) } else { self.inner.read(buffer) }
    }
}

impl<R: io::Seek> io::Seek for Stoppable<R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// By what the error is known.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("it is to stop")
    }
}

impl std::error::Error for Stopped {}

/// Whether reading failed because it was to stop.
pub(super) fn is_stop(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Stopped>())
}
