#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn profile() -> Profile {
    let timeouts = Timeouts { connect: Duration::from_secs(5), silence: Duration::from_secs(5) };
    Profile { trust: Trust::default(), proxy: Proxy::Direct, timeouts }
}

/// A client that does not need this machine to have CA certificates.
fn plain(certificates: &Certificates, proxy: Proxy) -> Client {
    let trust = Trust { roots: Roots::File(certificates.path("other.pem")), additional: None };
    Client::new(&Profile { trust, proxy, ..profile() }).unwrap()
}

/// A CA `ca.pem`, a certificate of it for `localhost`, and another CA `other.pem`.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        for name in ["ca", "other"] {
            this.openssl(&format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 9"));
        }
        std::fs::write(this.path("san"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
        this.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj /CN=localhost",
        );
        this.openssl(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile san -out leaf.pem",
        );
        this
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn acceptor(&self, name: &str) -> tokio_rustls::TlsAcceptor {
        use rustls_pki_types::pem::PemObject;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};
        let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
    String::from_utf8_lossy(&head).into_owned()
}

fn get(url: &str) -> reqwest::Request {
    reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap())
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: Fri, 20 Nov 2026 10:00:00 GMT\r\n\r\nhello";

#[tokio::test]
async fn a_server_is_trusted_by_the_file_that_replaces_or_the_one_that_adds() {
    let certificates = Certificates::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let acceptor = certificates.acceptor("leaf");
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, OK).await;
            }
        }
    });
    let with = |roots: &str, additional: Option<&str>| Trust {
        roots: Roots::File(certificates.path(roots)),
        additional: additional.map(|name| certificates.path(name)),
    };
    for trust in [with("ca.pem", None), with("other.pem", Some("ca.pem"))] {
        let client = Client::new(&Profile { trust, ..profile() }).unwrap();
        let response = client.send(get(&url)).await.unwrap();
        assert_eq!(read_body(response, 5).await.unwrap(), "hello");
    }
    let stranger = Client::new(&Profile { trust: with("other.pem", None), ..profile() }).unwrap();
    let error = stranger.send(get(&url)).await.unwrap_err();
    assert_eq!(error.phase, Phase::Tls, "{error}");
    assert!(error.to_string().contains("ca_bundle"), "{error}");
    server.abort();
}

#[tokio::test]
async fn a_server_that_is_its_own_authority_is_trusted_if_it_is_named_and_only_for_its_names_and_time() {
    let certificates = Certificates::new();
    let make = |name: &str, host: &str| {
        certificates.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem \
             -subj /CN=localhost -addext subjectAltName=DNS:{host} -days 9"
        ));
    };
    make("own", "localhost");
    make("twin", "localhost");
    make("elsewhere", "example.org");
    let ask = async |server: &'static str, named: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let acceptor = certificates.acceptor(server);
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, OK).await;
            }
        });
        let trust = Trust { roots: Roots::System, additional: Some(certificates.path(named)) };
        let answered = Client::new(&Profile { trust, ..profile() }).unwrap().send(get(&url)).await;
        server.await.unwrap();
        answered.map(|response| response.status().as_u16())
    };
    assert_eq!(ask("own", "own.pem").await.unwrap(), 200);
    for (server, named) in [("own", "twin.pem"), ("own", "other.pem"), ("elsewhere", "elsewhere.pem")] {
        let error = ask(server, named).await.unwrap_err();
        assert_eq!(error.phase, Phase::Tls, "{server} where {named} is trusted: {error}");
    }

    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, UnixTime};
    let own = CertificateDer::from_pem_file(certificates.path("own.pem")).unwrap();
    let at = |seconds| named::fits(&own, &"localhost".try_into().unwrap(), UnixTime::since_unix_epoch(seconds));
    let today = UnixTime::now().as_secs();
    assert!(at(Duration::from_secs(today)).is_ok());
    assert!(at(Duration::from_secs(today + 10 * 86_400)).unwrap_err().to_string().contains("certificate expired"));
    assert!(at(Duration::from_secs(today - 86_400)).unwrap_err().to_string().contains("certificate not valid yet"));
}

/// Runs this very test again in an environment where the system's store is empty.
#[test]
fn a_system_without_certificates_tells_at_the_first_request() {
    const NAME: &str = "http::tests::a_system_without_certificates_tells_at_the_first_request";
    if std::env::var_os("SSL_CERT_FILE").is_none_or(|file| file != "/dev/null") {
        let this = std::env::current_exe().unwrap();
        let output = Command::new(this)
            .args(["--exact", NAME])
            .env("SSL_CERT_FILE", "/dev/null")
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let certificates = Certificates::new();
    let client = Client::new(&profile()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let acceptor = certificates.acceptor("leaf");
        let (sent, accepted) =
            tokio::join!(client.send(get(&url)), async { acceptor.accept(listener.accept().await.unwrap().0).await });
        assert!(accepted.is_err());
        let error = sent.unwrap_err();
        assert_eq!(error.phase, Phase::Tls, "{error}");
        assert!(error.to_string().contains("install the package ca-certificates"), "{error}");
    });
}

#[test]
fn a_file_of_certificates_that_is_not_usable_is_named() {
    let certificates = Certificates::new();
    let with = |path: &Path| Trust { roots: Roots::System, additional: Some(path.to_owned()) };
    let build = |path: &Path| Client::new(&Profile { trust: with(path), ..profile() }).unwrap_err().to_string();
    let missing = build(&certificates.path("missing.pem"));
    assert!(missing.contains("ca_bundle") && missing.contains("missing.pem"), "{missing}");
    let empty = build(&certificates.path("san"));
    assert!(empty.contains("san") && empty.contains("no certificate"), "{empty}");
}

#[tokio::test]
async fn a_request_goes_through_the_proxy_except_where_it_must_not() {
    let certificates = Certificates::new();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://user:hidden-word@127.0.0.1:{}", proxy.local_addr().unwrap().port());
    let address = ProxyAddress::parse(&address).unwrap();
    assert!(!format!("{address:?}").contains("hidden-word"));

    let through = plain(&certificates, Proxy::Through { address: address.clone(), except: None });
    let (sent, head) = tokio::join!(through.send(get("http://elsewhere.invalid/x")), async {
        answer(proxy.accept().await.unwrap().0, OK).await
    });
    assert_eq!(sent.unwrap().status(), 200);
    assert!(head.starts_with("GET http://elsewhere.invalid/x "), "{head}");
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic"), "{head}");

    let (sent, _) = tokio::join!(through.send(get("https://elsewhere.invalid/")), async {
        answer(proxy.accept().await.unwrap().0, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await
    });
    let error = sent.unwrap_err();
    assert_eq!(error.phase, Phase::Proxy, "{error}");
    assert!(error.to_string().contains("through the proxy http://127.0.0.1:"), "{error}");
    assert!(!error.to_string().contains("hidden-word"), "{error}");

    let except = Some("127.0.0.1,.internal".to_owned());
    let around = plain(&certificates, Proxy::Through { address, except });
    let url = format!("http://{}/y", origin.local_addr().unwrap());
    let (sent, head) =
        tokio::join!(around.send(get(&url)), async { answer(origin.accept().await.unwrap().0, OK).await });
    assert_eq!(sent.unwrap().status(), 200);
    assert!(head.starts_with("GET /y "), "{head}");
}

#[tokio::test]
async fn what_went_wrong_is_told_apart() {
    let certificates = Certificates::new();
    let client = plain(&certificates, Proxy::Direct);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client.send(get(&format!("http://{free}/"))).await.unwrap_err();
    assert_eq!(error.phase, Phase::Connect, "{error}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");

    let error = client.send(get("http://no-such-host.invalid/")).await.unwrap_err();
    assert_eq!(error.phase, Phase::Resolve, "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let timeouts = Timeouts { connect: Duration::from_secs(5), silence: Duration::from_millis(50) };
    let trust = Trust { roots: Roots::File(certificates.path("other.pem")), additional: None };
    let hurried = Client::new(&Profile { trust, proxy: Proxy::Direct, timeouts }).unwrap();
    let error = hurried.send(get(&url)).await.unwrap_err();
    assert_eq!(error.phase, Phase::Timeout, "{error}");

    let broken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", broken.local_addr().unwrap());
    let (sent, _) = tokio::join!(client.send(get(&url)), async { answer(broken.accept().await.unwrap().0, "").await });
    assert_eq!(sent.unwrap_err().phase, Phase::Exchange);
}

#[tokio::test]
async fn tls_on_a_port_without_it_and_the_other_way_round_name_the_scheme() {
    let certificates = Certificates::new();
    let client = plain(&certificates, Proxy::Direct);
    let without = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", without.local_addr().unwrap().port());
    let (sent, ()) = tokio::join!(client.send(get(&url)), async {
        let (mut stream, _) = without.accept().await.unwrap();
        let mut hello = [0; 100];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        // The rest is read, so that the answer is not lost with it.
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = sent.unwrap_err();
    assert_eq!(error.phase, Phase::Tls, "{error}");
    let text = error.to_string();
    assert!(text.contains("does not speak TLS") && text.contains("write http in its address"), "{text}");

    let with = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}/", with.local_addr().unwrap().port());
    let acceptor = certificates.acceptor("leaf");
    let (sent, ()) = tokio::join!(client.send(get(&url)), async {
        // The connection is closed as servers do that give up.
        assert!(acceptor.accept(with.accept().await.unwrap().0).await.is_err());
    });
    let text = sent.unwrap_err().to_string();
    assert!(text.contains("write https in the address"), "{text}");
}

#[tokio::test]
async fn a_certificate_that_expired_is_for_another_name_or_an_authoritys_is_told_in_plain_words() {
    let certificates = Certificates::new();
    let authority = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n\
                     certificate=ca.pem\nprivate_key=ca.key\n[p]\ncommonName=supplied\n";
    for (name, text) in [("ca.conf", authority), ("index", ""), ("serial", "01")] {
        std::fs::write(certificates.path(name), text).unwrap();
    }
    certificates.openssl(
        "ca -batch -config ca.conf -in leaf.csr -out expired.pem -startdate 20200101000000Z -enddate 20200201000000Z \
         -extfile san -notext",
    );
    std::fs::copy(certificates.path("leaf.key"), certificates.path("expired.key")).unwrap();
    // The authority lets another one have its name, and a server sends that one's certificate as its own.
    std::fs::write(certificates.path("sub"), "basicConstraints=critical,CA:TRUE\nsubjectAltName=DNS:localhost\n")
        .unwrap();
    certificates
        .openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile sub -out sub.pem");
    std::fs::copy(certificates.path("leaf.key"), certificates.path("sub.key")).unwrap();
    let trust = Trust { roots: Roots::File(certificates.path("ca.pem")), additional: None };
    let client = Client::new(&Profile { trust, ..profile() }).unwrap();
    let ask = async |name: &str, host: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{host}:{}/", listener.local_addr().unwrap().port());
        let acceptor = certificates.acceptor(name);
        let (sent, _) =
            tokio::join!(client.send(get(&url)), async { acceptor.accept(listener.accept().await.unwrap().0).await });
        let error = sent.unwrap_err();
        assert_eq!(error.phase, Phase::Tls, "{error}");
        error.to_string()
    };
    let text = ask("expired", "localhost").await;
    assert!(text.contains("expired on 2020-02-01T00:00:00Z"), "{text}");
    assert!(text.contains("the certificate of localhost:") && text.contains("set the clock"), "{text}");
    let text = ask("leaf", "127.0.0.1").await;
    assert!(text.contains("for another name") && text.contains("localhost"), "{text}");
    let text = ask("sub", "localhost").await;
    assert!(text.contains("sends the certificate of a certificate authority as its own"), "{text}");
    assert!(text.contains("CA:FALSE") && text.contains("ca_bundle") && !text.contains("CaUsedAsEndEntity"), "{text}");
}

#[test]
fn a_clock_that_is_behind_is_told_from_a_certificate_that_is_not_valid_yet() {
    let at = |seconds| rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let (time, not_before) = (at(60), at(1_700_000_000));
    let error = rustls::CertificateError::NotValidYetContext { time, not_before }.into();
    let explained = tls_error::explain(&error, "host:443").unwrap();
    assert!(explained.what.contains("2023-11-14T22:13:20Z") && explained.what.contains("1970-01-01T00:01:00Z"));
    assert!(explained.remedy.contains("clock"));
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_a_broken_one_is_an_error() {
    let certificates = Certificates::new();
    let client = plain(&certificates, Proxy::Direct);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let fetch = async |response: &'static str, limit| {
        let (sent, _) =
            tokio::join!(client.send(get(&url)), async { answer(listener.accept().await.unwrap().0, response).await });
        read_body(sent.unwrap(), limit).await
    };
    assert_eq!(fetch(OK, 5).await.unwrap(), "hello");
    assert!(matches!(fetch(OK, 4).await, Err(BodyError::TooLong(4))));
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    assert!(matches!(fetch(short, 100).await, Err(BodyError::Broken(_))));
}

#[test]
fn the_date_of_an_answer_tells_how_far_the_clocks_are_apart() {
    let mut headers = HeaderMap::new();
    let now: Timestamp = "2026-11-20T09:45:00Z".parse().unwrap();
    assert_eq!(clock_ahead(&headers, now), None);
    headers.insert("date", "Fri, 20 Nov 2026 10:00:00 GMT".parse().unwrap());
    assert_eq!(clock_ahead(&headers, now), Some(SignedDuration::from_mins(15)));
    let now: Timestamp = "2026-11-20T10:00:01Z".parse().unwrap();
    assert_eq!(clock_ahead(&headers, now), Some(SignedDuration::from_secs(-1)));
    headers.insert("date", "yesterday".parse().unwrap());
    assert_eq!(clock_ahead(&headers, now), None);
}
