//! A service that many ask at once, and that answers as a test wants it to.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::super::*;
use super::{client, fetched, github, s3};
use crate::deployment::Secret;
use crate::deployment::revision::{GitHubSource, S3Source};
use crate::process::StopSignal;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How many came before it.
    pub number: usize,
    /// All of its head, in small letters.
    pub head: String,
}

/// What becomes of a request.
pub enum Reply {
    /// These bytes, and the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays.
    Silence,
}

type Answers = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The service, one request for each connection.
pub struct Origin {
    pub url: url::Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    dir: tempfile::TempDir,
    /// How long its clients wait for a byte.
    pub silence: Duration,
}

impl Asked {
    /// The bounds of its range.
    pub fn range(&self) -> Option<Range<usize>> {
        let (from, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let until = if last.is_empty() { usize::MAX } else { last.parse::<usize>().unwrap() + 1 };
        Some(from.parse().unwrap()..until)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// As S3 answers for an object.
    pub fn answer(&self, content: &[u8], etag: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        if self.header("if-match").is_some_and(|wanted| wanted != etag) {
            return super::failure("412 Precondition Failed", "PreconditionFailed", "");
        }
        let mut headers = headers.to_vec();
        headers.push(("etag", etag));
        match self.range() {
            None => super::answer("200 OK", &headers, content.len(), content),
            Some(range) => {
                let part = &content[range.start..range.end.min(content.len())];
                let bounds = format!("bytes {}-{}/{}", range.start, range.start + part.len() - 1, content.len());
                headers.push(("content-range", &bounds));
                super::answer("206 Partial Content", &headers, part.len(), part)
            }
        }
    }
}

impl Origin {
    pub fn start(answers: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (seen, answers): (_, Arc<Answers>) = (Arc::clone(&asked), Arc::new(answers));
        let accept = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&answers)));
            }
        };
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        let dir = tempfile::tempdir().unwrap();
        let silence = Duration::from_secs(20);
        Self { url, asked, handle, stop: Some(stop), thread: Some(thread), dir, silence }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn destination(&self) -> std::path::PathBuf {
        self.dir.path().join("group/d-1/bundle.tar")
    }

    pub fn fetch(&self, source: S3Source) -> Result<Fetched, BundleError> {
        self.acquire(RevisionSource::S3(source), Requirement::None, None)
    }

    /// Fetches, expects an error, and that nothing is left.
    pub fn refused(&self, source: S3Source) -> BundleError {
        let error = self.fetch(source).unwrap_err();
        assert!(!self.destination().exists(), "{error}");
        error
    }

    pub fn fetch_from_github(&self, source: GitHubSource, token: Option<&str>) -> Result<Fetched, BundleError> {
        let token = token.map(|token| Secret::new(token.to_owned()));
        self.acquire(RevisionSource::GitHub(source), Requirement::None, token.as_ref())
    }

    pub fn acquire(
        &self,
        source: RevisionSource,
        requirement: Requirement,
        github_token: Option<&Secret>,
    ) -> Result<Fetched, BundleError> {
        let destination = self.destination();
        let (source, limit) = (&source, 64 << 20);
        let request = Request {
            source,
            destination: &destination,
            limit,
            requirement,
            github_token,
            stop: &StopSignal::default(),
        };
        let s3 = s3(client(self.dir.path(), self.silence), &self.handle, &self.url);
        fetched(acquire(&request, &s3, &github(s3.client.clone(), &self.handle, &self.url)))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Asked>>>, answers: Arc<Answers>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let asked = {
        let mut seen = seen.lock().unwrap();
        let asked = Asked { number: seen.len(), head };
        seen.push(asked.clone());
        asked
    };
    match answers(&asked) {
        // Whoever does not want all of it hangs up.
        Reply::Bytes(bytes) => drop(stream.write_all(&bytes).await),
        Reply::Silence => std::future::pending().await,
    }
    let _ = stream.shutdown().await;
}
