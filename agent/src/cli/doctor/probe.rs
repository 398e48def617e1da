//! Who this host is, and one unsigned request to each service: how far it comes tells of names, proxies, TLS and
//! clocks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Runtime;
use url::Url;

use crate::cli::settings::Context;
use crate::config::ProxyUri;
use crate::http::{Client, SendError, clock_ahead};
use crate::identity::{self, Caller, IdentityError, Provider};

/// Who asks, and what became of the requests.
pub(super) struct Network {
    pub(super) runtime: Runtime,
    pub(super) provider: Provider,
    pub(super) host: Result<Arc<identity::Host>, IdentityError>,
    /// One for each service.
    pub(super) probes: Vec<Probe>,
}

/// Names of services, in checks.
pub(super) const COMMANDS: &str = "commands service";
pub(super) const S3: &str = "S3";

/// The request to one service.
pub(super) struct Probe {
    /// Which one.
    pub(super) service: &'static str,
    /// The setting that names its proxy before all others.
    pub(super) own_proxy: &'static str,
    pub(super) reached: Reached,
}

/// How far it came.
pub(super) enum Reached {
    /// It is not known where the service is, for this reason.
    Nowhere(String),
    /// There was no client to send it with.
    NoClient { endpoint: Url, trouble: String },
    /// There was no answer.
    NoAnswer { endpoint: Url, error: SendError },
    /// There was an answer, whatever it said.
    Answered { endpoint: Url, answer: Answer },
}

/// The head of an answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) took: Duration,
    /// By how much the answer's clock was ahead, if it says what time it has.
    pub(super) ahead: Option<SignedDuration>,
}

impl Network {
    /// Asks both services at once.
    pub(super) fn ask(context: &Context) -> anyhow::Result<Self> {
        let runtime = context.runtime()?;
        let settings = &context.settings;
        let provider = context.provider(Caller::Host);
        let host = runtime.block_on(provider.host());
        let endpoint = |of: &dyn Fn(&identity::Host) -> Result<Url, String>| match &host {
            Ok(host) => of(host),
            Err(_) => Err("it is not known in which region this host is".to_owned()),
        };
        let control = Asked {
            service: COMMANDS,
            own_proxy: "control_proxy_uri",
            endpoint: match &*settings.deploy_control_endpoint {
                Some(url) => Ok(url.clone()),
                None => endpoint(&|host| context.target().endpoint(context.flavor(), host)),
            },
            client: context.client(&settings.control_proxy_uri).map_err(|error| format!("{error:#}")),
        };
        let s3 = Asked {
            service: S3,
            own_proxy: "s3_proxy_uri",
            endpoint: match &*settings.s3_endpoint_override {
                Some(url) => Ok(url.clone()),
                None => endpoint(&|host| context.s3_endpoint().of_region(&host.region, &host.domain)),
            },
            client: context.client(&settings.s3_proxy_uri).map_err(|error| format!("{error:#}")),
        };
        let (control, s3) = runtime.block_on(async { tokio::join!(control.ask(), s3.ask()) });
        Ok(Self { runtime, provider, host, probes: vec![control, s3] })
    }
}

/// A service that is about to be asked.
struct Asked {
    service: &'static str,
    own_proxy: &'static str,
    endpoint: Result<Url, String>,
    client: Result<Client, String>,
}

impl Asked {
    async fn ask(self) -> Probe {
        let (endpoint, client) = match (&self.endpoint, &self.client) {
            (Err(reason), _) => {
                let reason = reason.clone();
                return self.came(Reached::Nowhere(reason));
            }
            (Ok(endpoint), Err(trouble)) => {
                let reached = Reached::NoClient { endpoint: endpoint.clone(), trouble: trouble.clone() };
                return self.came(reached);
            }
            (Ok(endpoint), Ok(client)) => (endpoint.clone(), client),
        };
        let began = Instant::now();
        let reached = match client.send(reqwest::Request::new(Method::GET, endpoint.clone())).await {
            Ok(response) => {
                let answer = answer(response.status(), response.headers(), began.elapsed());
                Reached::Answered { endpoint, answer }
            }
            Err(error) => Reached::NoAnswer { endpoint, error },
        };
        self.came(reached)
    }

    fn came(self, reached: Reached) -> Probe {
        Probe { service: self.service, own_proxy: self.own_proxy, reached }
    }
}

fn answer(status: StatusCode, headers: &HeaderMap, took: Duration) -> Answer {
    Answer { status, took, ahead: clock_ahead(headers, Timestamp::now()) }
}

impl Probe {
    /// Through which proxy a request goes, unless an exception applies: for messages, without a password.
    pub(super) fn proxy(&self, context: &Context) -> Option<String> {
        let settings = &context.settings;
        let own = match self.own_proxy {
            "control_proxy_uri" => &*settings.control_proxy_uri,
            _ => &*settings.s3_proxy_uri,
        };
        own.as_ref().or(settings.proxy_uri.as_ref()).map(ProxyUri::to_string)
    }
}
