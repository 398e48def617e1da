//! A stored content on its way to a client.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::JoinHandle;

/// Bytes of a piece.
const PIECE: usize = 256 * 1024;

/// Reads a file with positioned reads on the blocking threads; at most one piece of it is in memory.
pub struct BlobStream {
    file: Arc<File>,
    offset: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl BlobStream {
    /// The bytes of a range.
    pub fn new(file: File, range: Range<u64>) -> Self {
        Self { file: Arc::new(file), offset: range.start, end: range.end, reading: None }
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, s3s::StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.offset >= self.end {
            return Poll::Ready(None);
        }
        let (file, offset, left) = (self.file.clone(), self.offset, self.end - self.offset);
        let reading =
            self.reading.get_or_insert_with(|| tokio::task::spawn_blocking(move || read_piece(&file, offset, left)));
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(Ok(data)) => {
                self.offset += data.len() as u64;
                Ok(data)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        }))
    }
}

impl ByteStream for BlobStream {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.end - self.offset).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

fn read_piece(file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
    let mut piece = BytesMut::zeroed(wanted);
    let read = file.read_at(&mut piece, offset)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stored content is shorter than recorded"));
    }
    piece.truncate(read);
    Ok(piece.freeze())
}
