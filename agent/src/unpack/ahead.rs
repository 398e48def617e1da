//! Decompressing on a thread of its own, ahead of whoever places what comes out.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Bytes that go from one thread to the other at once.
const CHUNK: usize = 128 << 10;
/// Chunks that wait, which bounds the memory: 1 MiB.
const WAITING: usize = 8;

/// What a thread of its own has read.
pub(super) struct Ahead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    /// Used ones go back: memory that the system has to give anew costs more than reading into it.
    used: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

/// Reads `content` on another thread while `work` uses what was read. Fails where there is no thread to be had.
pub(super) fn read_ahead<T>(content: impl Read + Send, work: impl FnOnce(Ahead) -> T) -> io::Result<T> {
    let (sender, chunks) = sync_channel(WAITING);
    let (used, empty) = channel();
    thread::scope(|scope| {
        thread::Builder::new()
            .name("decompress".to_owned())
            .spawn_scoped(scope, move || pump(content, &sender, &empty))?;
        Ok(work(Ahead { chunks, used, current: Vec::new(), at: 0 }))
    })
}

/// Until the end, an error, or until nobody wants more.
fn pump(mut content: impl Read, chunks: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.clear();
        chunk.reserve(CHUNK);
        let read = content.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        let is_last = read.is_err() || chunk.is_empty();
        if !chunk.is_empty() && chunks.send(Ok(chunk)).is_err() {
            return;
        }
        if let Err(error) = read {
            // Nobody is left to tell: what was read before was enough.
            let _ = chunks.send(Err(error));
        }
        if is_last {
            return;
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            // The other thread is done where it sends nothing more; its panic is raised at the end of the scope.
            let Ok(chunk) = self.chunks.recv() else { return Ok(0) };
            let read = std::mem::replace(&mut self.current, chunk?);
            self.at = 0;
            // Nobody takes it where everything was read.
            let _ = self.used.send(read);
        }
        let mut rest = self.current.get(self.at..).unwrap_or_default();
        let got = rest.read(buffer)?;
        self.at += got;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has, then an error.
    struct Broken(io::Cursor<Vec<u8>>);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::InvalidData.into()),
                got => Ok(got),
            }
        }
    }

    fn content() -> Vec<u8> {
        (0..3 * CHUNK + 17).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn everything_arrives_in_order_and_then_the_end_does() {
        let mut seen = Vec::new();
        let read = read_ahead(&content()[..], |mut ahead| {
            let got = ahead.read_to_end(&mut seen).unwrap();
            (got, ahead.read(&mut [0; 8]).unwrap())
        });
        assert_eq!(read.unwrap(), (content().len(), 0));
        assert!(seen == content());
    }

    #[test]
    fn what_came_before_an_error_arrives_before_it() {
        let mut seen = Vec::new();
        let broken = Broken(io::Cursor::new(content()));
        let error = read_ahead(broken, |mut ahead| ahead.read_to_end(&mut seen).unwrap_err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(seen == content());
    }

    #[test]
    fn whoever_has_enough_ends_the_other_thread() {
        let first = read_ahead(io::repeat(7), |mut ahead| {
            let mut first = [0];
            ahead.read_exact(&mut first).unwrap();
            first
        });
        assert_eq!(first.unwrap(), [7]);
    }
}
