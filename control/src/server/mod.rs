//! The one TLS listener: API, commands protocol and S3 on the same port.

mod call_log;
mod calls;
mod connection;
mod doorway;
mod objects;
mod route;
pub mod tls;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use rustix::process::{Resource, Rlimit};
use s3s::service::S3Service;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::caller::Peer;
use crate::disk_space::DiskSpace;
use crate::service::Service;
use doorway::Doorway;

/// How long requests may go on once the service is closing.
const DRAIN: Duration = Duration::from_secs(10);
/// After an error of the listener itself (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What answers requests. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// API and commands.
    pub service: Service,
    /// Everything that is neither.
    pub s3: S3Service,
    /// The disk that health reports on.
    disk: Arc<DiskSpace>,
    /// Large bodies in memory at a time.
    bodies: Arc<Semaphore>,
}

impl App {
    /// Puts the parts together.
    pub fn new(service: Service, s3: S3Service, disk: Arc<DiskSpace>) -> Self {
        Self { service, s3, disk, bodies: Arc::new(Semaphore::new(calls::LARGE_BODIES)) }
    }
}

/// Serves until `closing` turns true, then lets requests end for some seconds.
pub async fn run(listener: TcpListener, acceptor: TlsAcceptor, app: App, mut closing: watch::Receiver<bool>) {
    // Each host holds one for its polls: as many as descriptors allow.
    let door = Arc::new(Doorway::new(raise_descriptor_limit()));
    let router = route::router(app);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task ended unexpectedly");
                }
                continue;
            }
            _ = closing.wait_for(|closing| *closing) => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let place = Arc::new(door.enter(address));
                let router = router.clone().layer(Extension(Arc::clone(&place))).layer(Extension(Peer(address)));
                let serving = connection::serve(stream, acceptor.clone(), router, closing.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        () = place.has_to_leave() => {}
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections whose requests did not end in time");
        connections.shutdown().await;
    }
}

async fn accept(listener: &TcpListener) -> io::Result<(tokio::net::TcpStream, IpAddr)> {
    let (stream, address) = listener.accept().await?;
    // Answers are small and awaited: none should wait for a fuller packet.
    stream.set_nodelay(true)?;
    Ok((stream, address.ip()))
}

/// Lets this process have as many descriptors as it may; gives how many connections that leaves room for.
fn raise_descriptor_limit() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            limit.current
        }
    };
    // A quarter for files and the database.
    current.map_or(usize::MAX, |current| usize::try_from(current / 4 * 3).unwrap_or(usize::MAX)).max(16)
}
