//! One connection: handshake, HTTP/1 or 2, and its orderly end.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

const HANDSHAKE: Duration = Duration::from_secs(5);
/// For a request's headers, and so for a kept connection between requests.
const HEADERS: Duration = Duration::from_secs(60);
const PING: Duration = Duration::from_secs(30);
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 64;
/// Bytes of headers of one HTTP/1 request, and of one HTTP/2 request.
const HEADER_BYTES: usize = 64 * 1024;

/// Serves a connection to its end, or until `closing` turns true and its requests have ended.
pub async fn serve(stream: TcpStream, acceptor: TlsAcceptor, router: Router, mut closing: watch::Receiver<bool>) {
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = TowerToHyperService::new(router);
    let stream = TokioIo::new(stream);
    let closed = closing.wait_for(|closing| *closing);
    let ended = if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING).max_concurrent_streams(STREAMS);
        builder.max_header_list_size(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX));
        let mut connection = pin!(builder.serve_connection(stream, service));
        match first(connection.as_mut(), closed).await {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
        let mut connection = pin!(builder.serve_connection(stream, service));
        match first(connection.as_mut(), closed).await {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The connection's end, or nothing if the service closes first.
async fn first<T>(connection: impl Future<Output = T>, closed: impl Future) -> Option<T> {
    tokio::select! {
        ended = connection => Some(ended),
        _ = closed => None,
    }
}
