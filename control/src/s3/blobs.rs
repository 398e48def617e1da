//! Contents of stored objects, one file each: received into `incoming/`, synced, and renamed to
//! their place; the database refers only to files in their place.
#![allow(clippy::disallowed_methods, reason = "this module owns the files under objects/")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use s3s::dto::StreamingBlob;
use tokio::sync::mpsc;

use super::checksum::{Algorithm, Digests, Hashing};
use super::stream::BlobStream;

/// The largest object in one piece, as in S3 itself: 5 GiB.
pub const MAX_PIECE: u64 = 5 * 1024 * 1024 * 1024;
/// A client that sends nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);
/// Pieces between the network and the disk; the network waits when there are more.
const QUEUE: usize = 8;
const BUFFER: usize = 256 * 1024;

/// The directory of all contents.
#[derive(Clone, Debug)]
pub struct Blobs {
    directory: Arc<Path>,
}

/// Names one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobId(String);

/// A content that was received and synced, but is not in its place yet; dropped, it is removed.
#[derive(Debug)]
pub struct Staged {
    incoming: Incoming,
    /// Bytes.
    pub size: u64,
    pub digests: Digests,
}

/// Why a content could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the content is larger than {MAX_PIECE} bytes")]
    TooLarge,
    #[error("nothing came from the client for {} seconds", IDLE.as_secs())]
    Idle,
    #[error("the client's content could not be read: {0}")]
    Client(s3s::StdError),
    #[error("a task of the service ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Blobs {
    /// Opens the directory, making it if needed, and removes what an earlier life had not finished receiving.
    pub fn open(directory: &Path) -> Result<Self, BlobError> {
        let blobs = Self { directory: directory.into() };
        make_dir(directory)?;
        let incoming = blobs.incoming();
        make_dir(&incoming)?;
        for entry in std::fs::read_dir(&incoming).map_err(|source| failed("list", &incoming, source))? {
            let path = entry.map_err(|source| failed("list", &incoming, source))?.path();
            std::fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
        }
        Ok(blobs)
    }

    /// Receives a content to its end.
    pub async fn receive(
        &self,
        body: Option<StreamingBlob>,
        algorithm: Option<Algorithm>,
    ) -> Result<Staged, BlobError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let blobs = self.clone();
        let writer = tokio::task::spawn_blocking(move || {
            let mut writing = Writing::begin(&blobs, algorithm)?;
            writing.take_all(receiver)?;
            writing.finish()
        });
        match forward(body, &sender).await {
            // Should the writer be gone, its own result says why.
            Ok(()) => drop(sender.send(Piece::End).await),
            Err(Some(error)) => {
                // Without its end the writer gives the content up.
                drop(sender);
                drop(writer.await?);
                return Err(error);
            }
            // The writer stopped first, and says why.
            Err(None) => {}
        }
        drop(sender);
        writer.await?
    }

    /// Joins contents to a new one.
    pub async fn join(&self, parts: Vec<BlobId>, algorithm: Option<Algorithm>) -> Result<Staged, BlobError> {
        let blobs = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut writing = Writing::begin(&blobs, algorithm)?;
            let mut buffer = vec![0; BUFFER];
            for part in parts {
                let path = blobs.path(&part);
                let mut file = File::open(&path).map_err(|source| failed("open", &path, source))?;
                loop {
                    match file.read(&mut buffer).map_err(|source| failed("read", &path, source))? {
                        0 => break,
                        read => writing.write(&buffer[..read])?,
                    }
                }
            }
            writing.finish()
        })
        .await?
    }

    /// Gives a content a second name, whose file is removed on its own.
    pub async fn link(&self, blob: &BlobId) -> Result<BlobId, BlobError> {
        let (blobs, from, to) = (self.clone(), self.path(blob), BlobId::fresh());
        tokio::task::spawn_blocking(move || {
            let path = blobs.path(&to);
            blobs.make_shard(parent(&path))?;
            std::fs::hard_link(&from, &path).map_err(|source| failed("link", &from, source))?;
            sync_dir(parent(&path))?;
            Ok(to)
        })
        .await?
    }

    /// Reads a part of a content, piece by piece.
    pub async fn read(&self, blob: &BlobId, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let path = self.path(blob);
        let file =
            tokio::task::spawn_blocking(move || File::open(&path).map_err(|source| failed("open", &path, source)))
                .await??;
        Ok(BlobStream::new(file, range))
    }

    /// Removes contents that nothing refers to any more. A failure leaves a file for the next start's sweep.
    pub async fn remove(&self, ids: Vec<BlobId>) {
        let blobs = self.clone();
        let removal = tokio::task::spawn_blocking(move || {
            for path in ids.iter().map(|id| blobs.path(id)) {
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "an unused content was not removed; the next start will try again");
                }
            }
        });
        if let Err(error) = removal.await {
            tracing::warn!(%error, "unused contents were not removed; the next start will try again");
        }
    }

    /// All contents in their place, one first-level directory (of 256) at a time.
    pub fn in_place(&self, shard: u8) -> Result<Vec<BlobId>, BlobError> {
        let directory = self.directory.join(hex::encode([shard]));
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("list", &directory, source)),
        };
        entries
            .map(|entry| {
                let name = entry.map_err(|source| failed("list", &directory, source))?.file_name();
                Ok(BlobId(name.to_string_lossy().into_owned()))
            })
            .collect()
    }

    /// Makes one of the 256 directories, durably.
    fn make_shard(&self, shard: &Path) -> Result<(), BlobError> {
        if shard.exists() {
            return Ok(());
        }
        make_dir(shard)?;
        sync_dir(&self.directory)
    }

    fn incoming(&self) -> PathBuf {
        self.directory.join("incoming")
    }

    /// Spread over 256 directories by the first two digits.
    fn path(&self, blob: &BlobId) -> PathBuf {
        self.directory.join(blob.0.get(..2).unwrap_or_default()).join(&blob.0)
    }
}

impl BlobId {
    fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// As the database has it.
    pub fn from_database(name: String) -> Self {
        Self(name)
    }

    /// For the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Staged {
    /// Puts the content in its place, durably. Only then may the database refer to it.
    pub async fn keep(mut self) -> Result<BlobId, BlobError> {
        tokio::task::spawn_blocking(move || {
            let (blobs, id) = (&self.incoming.blobs, &self.incoming.id);
            let (from, to) = (self.incoming.path(), blobs.path(id));
            blobs.make_shard(parent(&to))?;
            std::fs::rename(&from, &to).map_err(|source| failed("rename", &from, source))?;
            self.incoming.moved = true;
            sync_dir(parent(&to))?;
            Ok(self.incoming.id.clone())
        })
        .await?
    }
}

/// A file in `incoming/`, removed when it is given up.
#[derive(Debug)]
struct Incoming {
    blobs: Blobs,
    id: BlobId,
    moved: bool,
}

impl Incoming {
    fn path(&self) -> PathBuf {
        self.blobs.incoming().join(&self.id.0)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.moved {
            return;
        }
        if let Err(error) = std::fs::remove_file(self.path()) {
            tracing::warn!(path = %self.path().display(), %error, "an unfinished content was not removed; the next start will");
        }
    }
}

enum Piece {
    Data(Bytes),
    End,
}

/// Hands the body to the writer. `Err(None)`: the writer has stopped.
async fn forward(body: Option<StreamingBlob>, writer: &mpsc::Sender<Piece>) -> Result<(), Option<BlobError>> {
    let Some(mut body) = body else { return Ok(()) };
    loop {
        match tokio::time::timeout(IDLE, body.next()).await {
            Err(_) => return Err(Some(BlobError::Idle)),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(Some(BlobError::Client(error))),
            Ok(Some(Ok(data))) => writer.send(Piece::Data(data)).await.map_err(|_| None)?,
        }
    }
}

/// A content on its way to the disk.
struct Writing {
    incoming: Incoming,
    file: File,
    size: u64,
    hashing: Hashing,
}

impl Writing {
    fn begin(blobs: &Blobs, algorithm: Option<Algorithm>) -> Result<Self, BlobError> {
        let id = BlobId::fresh();
        let path = blobs.incoming().join(&id.0);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|source| failed("create", &path, source))?;
        let incoming = Incoming { blobs: blobs.clone(), id, moved: false };
        Ok(Self { incoming, file, size: 0, hashing: Hashing::new(algorithm) })
    }

    fn take_all(&mut self, mut pieces: mpsc::Receiver<Piece>) -> Result<(), BlobError> {
        loop {
            match pieces.blocking_recv() {
                Some(Piece::Data(data)) if self.size + data.len() as u64 > MAX_PIECE => {
                    return Err(BlobError::TooLarge);
                }
                Some(Piece::Data(data)) => self.write(&data)?,
                Some(Piece::End) => return Ok(()),
                None => return Err(BlobError::Client("it ended early".into())),
            }
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), BlobError> {
        self.size += data.len() as u64;
        self.hashing.update(data);
        self.file.write_all(data).map_err(|source| failed("write", &self.incoming.path(), source))
    }

    fn finish(self) -> Result<Staged, BlobError> {
        self.file.sync_all().map_err(|source| failed("sync", &self.incoming.path(), source))?;
        Ok(Staged { incoming: self.incoming, size: self.size, digests: self.hashing.finish() })
    }
}

fn make_dir(path: &Path) -> Result<(), BlobError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| failed("create", path, source))
}

fn sync_dir(path: &Path) -> Result<(), BlobError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|source| failed("sync", path, source))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> BlobError {
    BlobError::Io { doing, path: path.to_owned(), source }
}
