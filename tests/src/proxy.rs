//! Stands between agents and the control service and does to the traffic what a network, an attacker
//! or a broken service would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use futures_util::stream::{Stream, StreamExt};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::api;
use crate::control::Control;

/// An answer on its way back, or made up.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers without those that belong to the connection.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A request as it passes.
#[derive(Clone, Debug)]
pub struct Passing {
    /// The part of `X-Amz-Target` after the dot, or the method and the path for S3.
    pub operation: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Passing {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It goes to the service, and the answer comes back through [`Rule::answer`].
    Forward,
    /// The service never sees it.
    Answer(Answer),
    /// The service sees it, and its answer is lost: the connection breaks.
    LoseAnswer,
    /// Nobody ever answers, and the connection stays.
    Stall,
    /// It goes to the service once that is true.
    Hold(watch::Receiver<bool>),
    /// That many bytes of the answer's body come, and then the connection breaks.
    CutBody(usize),
    /// That many bytes of the answer's body come, and then nothing, and the connection stays.
    StallBody(usize),
}

/// What a proxy does with the traffic.
pub trait Rule: Send + Sync + 'static {
    /// Before the service.
    fn request(&self, _request: &Passing) -> Fate {
        Fate::Forward
    }

    /// Whether an answer is lost now that the service has given it: the connection breaks.
    fn loses(&self, _request: &Passing, _answer: &Answer) -> bool {
        false
    }

    /// After the service.
    fn answer(&self, _request: &Passing, answer: Answer) -> Answer {
        answer
    }
}

/// With which certificate a proxy meets its clients, and which protocols it offers them.
#[derive(Clone, Debug)]
pub struct Front {
    certified: PathBuf,
    protocols: Vec<&'static str>,
}

impl Front {
    /// The service's own certificate, and HTTP/1.1.
    pub fn of(control: &Control<'_>) -> Self {
        Self::certified(&control.data().join("pki/server.pem"))
    }

    /// The certificate and the key in a file, and HTTP/1.1.
    pub fn certified(file: &Path) -> Self {
        Self { certified: file.to_owned(), protocols: Vec::new() }
    }

    /// Offers these protocols by ALPN, in this order.
    #[must_use]
    pub fn offering(self, protocols: &[&'static str]) -> Self {
        Self { protocols: protocols.to_vec(), ..self }
    }

    fn acceptor(&self) -> Result<TlsAcceptor> {
        let chain = CertificateDer::pem_file_iter(&self.certified)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.certified).context("the service's TLS key")?;
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The protocol that was agreed on by ALPN, for each connection in turn; empty where none was.
type Connections = Arc<Mutex<Vec<String>>>;

/// A running proxy; it ends when this is dropped.
pub struct Proxy {
    endpoint: String,
    connections: Connections,
    _runtime: Runtime,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    rule: Box<dyn Rule>,
}

impl Proxy {
    /// Listens on a free loopback port with the service's own certificate, and forwards to it.
    pub fn start(control: &Control<'_>, rule: impl Rule) -> Result<Self> {
        Self::start_as(&Front::of(control), control, rule)
    }

    /// The same, and clients are met otherwise.
    pub fn start_as(front: &Front, control: &Control<'_>, rule: impl Rule) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = api::client(&control.ca_file())?;
        let acceptor = front.acceptor()?;
        let connections = Connections::default();
        let tcp = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let endpoint = format!("https://127.0.0.1:{}", tcp.local_addr()?.port());
        let shared = Shared { upstream: control.endpoint().to_owned(), client, rule: Box::new(rule) };
        let service = axum::Router::new().fallback(pass).with_state(Arc::new(shared));
        let listener = TlsListener { tcp, acceptor, connections: Arc::clone(&connections) };
        runtime.spawn(async move { axum::serve(listener, service).await });
        Ok(Self { endpoint, connections, _runtime: runtime })
    }

    /// Its URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The protocols that were agreed on, a connection each; empty where the client named none or none is offered.
    pub fn connections(&self) -> Vec<String> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Configuration that sends an agent through this proxy.
    pub fn configuration(&self) -> String {
        format!("deploy_control_endpoint: {0}\ns3_endpoint_override: {0}\n", self.endpoint)
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<Response, StatusCode> {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = match target.and_then(|target| target.rsplit('.').next()) {
        Some(operation) => operation.to_owned(),
        None => format!("{method} {}", uri.path()),
    };
    // HTTP/2 has it in the address, and the signature goes over it.
    if let Some(authority) = uri.authority().and_then(|authority| authority.as_str().parse().ok()) {
        headers.entry("host").or_insert(authority);
    }
    let passing = Passing { operation, headers: headers.clone(), body: body.to_vec() };
    let mut fate = shared.rule.request(&passing);
    if let Fate::Hold(until) = &mut fate {
        // Whoever holds it and is gone lets go of it too.
        let _ = until.wait_for(|go| *go).await;
    }
    match fate {
        Fate::Answer(answer) => return response(answer),
        Fate::Stall => return std::future::pending().await,
        Fate::Forward | Fate::Hold(_) | Fate::LoseAnswer | Fate::CutBody(_) | Fate::StallBody(_) => {}
    }
    let url = format!("{}{}", shared.upstream, uri.path_and_query().map_or("/", |path| path.as_str()));
    let sent = shared.client.request(method, url).headers(headers).body(body).send().await;
    let got = sent.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let mut headers = got.headers().clone();
    headers.remove("transfer-encoding");
    headers.remove("connection");
    headers.remove("content-length");
    let status = got.status().as_u16();
    let body = got.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?.to_vec();
    let answer = Answer { status, headers, body };
    if matches!(fate, Fate::LoseAnswer) || shared.rule.loses(&passing, &answer) {
        return Ok(broken());
    }
    let answer = shared.rule.answer(&passing, answer);
    match fate {
        Fate::CutBody(bytes) => partly(answer, bytes, futures_util::stream::once(async { Err(lost()) })),
        Fate::StallBody(bytes) => partly(answer, bytes, futures_util::stream::pending()),
        _ => response(answer),
    }
}

fn response(answer: Answer) -> Result<Response, StatusCode> {
    let Answer { status, headers, body } = answer;
    with_body(status, headers, Body::from(body))
}

/// An answer that says how long it is, begins, and goes on as `then` does.
fn partly(
    answer: Answer,
    bytes: usize,
    then: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Result<Response, StatusCode> {
    let Answer { status, mut headers, mut body } = answer;
    headers.insert("content-length", body.len().into());
    body.truncate(bytes);
    let begin = futures_util::stream::once(async { Ok(Bytes::from(body)) });
    with_body(status, headers, Body::from_stream(begin.chain(then)))
}

fn with_body(status: u16, headers: HeaderMap, body: Body) -> Result<Response, StatusCode> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| StatusCode::BAD_GATEWAY)?;
    *response.headers_mut() = headers;
    Ok(response)
}

/// An answer whose connection breaks before the body comes.
fn broken() -> Response {
    Response::new(Body::from_stream(futures_util::stream::once(async { Err::<Bytes, _>(lost()) })))
}

fn lost() -> std::io::Error {
    std::io::Error::other("the answer is lost")
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    connections: Connections,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default();
                let protocol = String::from_utf8_lossy(protocol).into_owned();
                self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(protocol);
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
