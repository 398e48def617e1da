//! `serve`: the service itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rustls_pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{Data, RealmArgs, listen, open_database, say};
use crate::data_dir::{self, DataDir};
use crate::disk_space::DiskSpace;
use crate::envelope::SpecSigner;
use crate::pki::{self, OwnCertificate, Pki};
use crate::s3::ObjectStore;
use crate::server::{self, App, tls::Shown};
use crate::service::{Service, ServiceOptions};
use crate::timekeeper;

/// How often a serving process looks whether a certificate nears its end.
const RENEWAL: Duration = Duration::from_secs(12 * 60 * 60);
/// Time between two checks of the disk.
const WATCH: Duration = Duration::from_secs(30);
/// The longest that a poll may be held: AWS's agents wait 80 seconds for an answer.
const MAX_HOLD: u64 = 60;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    data: Data,
    /// The address to listen on: PORT alone listens on every address, NAME:PORT on the name's; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443", value_parser = listen::parse)]
    listen: SocketAddr,
    /// A name or address under which clients reach the service; may be given several times, the first is in its URL
    #[arg(long = "hostname", value_name = "NAME", value_parser = parse_name)]
    hostnames: Vec<ServerName<'static>>,
    /// A TLS certificate of your own for these names, with its chain, in PEM; read again every 12 hours
    #[arg(long, value_name = "FILE", requires_all = ["key", "hostnames"])]
    certificate: Option<PathBuf>,
    /// The private key of --certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// How long an agent's poll is held open without work, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=MAX_HOLD))]
    poll_hold: u64,
    #[command(flatten)]
    realm: RealmArgs,
}

impl Serve {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut stop = Stop::listen()?;
        let data = self.data.create()?;
        let _lock = data.lock_for_serving()?;
        let disk = Arc::new(DiskSpace::prepare(&data)?);
        data_dir::remove_if_there(&data.endpoint())?;

        let names = self.names();
        let tls = TlsSource { data: data.clone(), names: names.clone(), own: self.own_certificate() };
        let pki = tls.open()?;
        if tls.own.is_some() {
            // Nothing is written that is there: the disk may be full.
            if !data.foreign_certificate().exists() {
                data_dir::write_private(&data.foreign_certificate(), b"")?;
            }
        } else {
            data_dir::remove_if_there(&data.foreign_certificate())?;
        }
        let shown = Shown::new(pki.server).context("the TLS certificate cannot be used")?;
        let signer = Arc::new(SpecSigner::new(pki.signer));
        let pool = open_database(&data).await?;
        let options = ServiceOptions {
            region: self.realm.region.clone(),
            account: self.realm.account.as_str().to_owned(),
            poll_hold: Duration::from_secs(self.poll_hold),
            ..ServiceOptions::default()
        };
        let service = Service::new(pool.clone(), signer.clone(), options);
        let store = ObjectStore::open(pool.clone(), &data.objects(), &self.realm.region).await?;
        let listener = TcpListener::bind(self.listen).await.map_err(|error| cannot_listen(self.listen, &error))?;
        let timekeeper = timekeeper::start(&service).await.context("the deployments cannot be taken up again")?;

        let acceptor = shown.acceptor().context("TLS cannot be set up")?;
        let app = App::new(service.clone(), store.service(&names), Arc::clone(&disk));
        let url = self.url(listener.local_addr().context("the listener has no address")?);
        let serving = tokio::spawn(server::run(listener, acceptor, app, service.closing()));
        let renewing = tokio::spawn(renew(tls, shown, signer));
        let watching = tokio::spawn(watch(disk));
        // On a full disk reads are still answered; the other commands then need --endpoint.
        if let Err(error) = data_dir::write_private(&data.endpoint(), format!("{url}\n").as_bytes()) {
            tracing::error!(%error, "the service's URL was not written down: commands have to be given --endpoint {url}");
        }
        say(&format!("slipway-control is listening on {url}\n"))?;
        tracing::info!(url, data = %data.root().display(), "listening");

        if self.listen.ip().is_unspecified() && self.hostnames.is_empty() {
            tracing::warn!(
                "the certificate is for loopback addresses alone: hosts will not trust it; give --hostname NAME"
            );
        }

        let signal = stop.wait().await;
        tracing::info!(signal, "closing: polls are answered, requests may end");
        renewing.abort();
        watching.abort();
        timekeeper.stop().await;
        serving.await.context("the listener ended unexpectedly")?;
        pool.close().await;
        Ok(())
    }

    fn own_certificate(&self) -> Option<OwnCertificate> {
        let (certificate, key) = self.certificate.clone().zip(self.key.clone())?;
        Some(OwnCertificate { certificate, key })
    }

    /// The certificate's names, besides the loopback ones: those given, and the address that is listened on.
    fn names(&self) -> Vec<ServerName<'static>> {
        let mut names = self.hostnames.clone();
        let address = self.listen.ip();
        // An own certificate has the names that it has.
        if self.certificate.is_none() && !address.is_unspecified() && !address.is_loopback() {
            names.push(ServerName::from(address));
        }
        names
    }

    fn url(&self, listening: SocketAddr) -> String {
        let address = match listening.ip() {
            address if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            address => address,
        };
        let host = match self.hostnames.first() {
            Some(ServerName::DnsName(name)) => name.as_ref().to_owned(),
            Some(ServerName::IpAddress(address)) => bracketed(IpAddr::from(*address)),
            _ => bracketed(address),
        };
        format!("https://{host}:{}", listening.port())
    }
}

/// The signals that end the service.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The source of the certificates.
struct TlsSource {
    data: DataDir,
    names: Vec<ServerName<'static>>,
    own: Option<OwnCertificate>,
}

impl TlsSource {
    fn open(&self) -> anyhow::Result<Pki> {
        let pki = pki::open(&self.data, &self.names)?;
        Ok(match &self.own {
            Some(own) => Pki { server: own.read(&self.names)?, ..pki },
            None => pki,
        })
    }
}

/// Looks at the disk now and then, so that the log has what is wrong with it.
async fn watch(disk: Arc<DiskSpace>) {
    let mut ticks = tokio::time::interval(WATCH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let disk = Arc::clone(&disk);
        if let Err(error) = tokio::task::spawn_blocking(move || disk.problem()).await {
            tracing::error!(%error, "the disk could not be looked at");
        }
    }
}

/// The error for an address that cannot be listened on, with the remedy.
fn cannot_listen(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another program has that port (`ss -ltnp sport = :{}` shows which): stop it, or choose",
                address.port()
            )
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are root's: give the service CAP_NET_BIND_SERVICE, or choose".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address: choose".to_owned(),
        _ => "choose".to_owned(),
    };
    anyhow::anyhow!("cannot listen on {address}: {error}; {remedy} another one with --listen")
}

/// Replaces certificates that near their end, or that the operator has renewed, while the service runs.
async fn renew(tls: TlsSource, shown: Arc<Shown>, signer: Arc<SpecSigner>) {
    let mut ticks = tokio::time::interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and everything was opened a moment ago.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match tls.open() {
            Ok(pki) => {
                signer.replace(pki.signer);
                if let Err(error) = shown.replace(pki.server) {
                    tracing::error!(%error, "the renewed TLS certificate cannot be used; the one before stays");
                }
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "certificates were not renewed; trying again later")
            }
        }
    }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn parse_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_ascii_lowercase())
        .map_err(|_| "neither a DNS name nor an IP address (give the name alone, without https:// and port)".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        serve: Serve,
    }

    fn url(arguments: &[&str], listening: &str) -> String {
        let fixed = ["serve", "--data", "d"];
        let serve = Wrapper::try_parse_from(fixed.iter().chain(arguments)).unwrap().serve;
        serve.url(listening.parse().unwrap())
    }

    #[test]
    fn the_url_is_one_that_clients_can_use() {
        assert_eq!(url(&[], "127.0.0.1:4711"), "https://127.0.0.1:4711");
        assert_eq!(url(&[], "0.0.0.0:4711"), "https://127.0.0.1:4711");
        assert_eq!(url(&[], "[::1]:4711"), "https://[::1]:4711");
        assert_eq!(
            url(&["--hostname", "Deploy.Example.org", "--hostname", "b"], "0.0.0.0:1"),
            "https://deploy.example.org:1"
        );
        assert_eq!(url(&["--hostname", "::1"], "[::]:1"), "https://[::1]:1");
        assert!(Wrapper::try_parse_from(["serve", "--data", "d", "--hostname", "https://x"]).is_err());
        assert!(Wrapper::try_parse_from(["serve", "--data", "d", "--account", "1"]).is_err());
        assert!(Wrapper::try_parse_from(["serve", "--data", "d", "--poll-hold", "61"]).is_err());
    }
}
