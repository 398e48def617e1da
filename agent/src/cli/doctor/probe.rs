//! One unsigned request to each service: how far it comes tells of names, proxies, TLS and clocks.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::cli::settings::Context;
use crate::config::{OnPremises, ProxyUri};
use crate::config_files;
use crate::http::{Client, SendError, clock_ahead};
use crate::identity::Region;
use crate::service::{Fips, Flavor, aws_endpoint};

/// What became of the requests.
pub(super) struct Probes(pub(super) Vec<Probe>);

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

impl Probes {
    /// Asks both services at once.
    pub(super) fn ask(context: &Context) -> Self {
        let settings = &context.settings;
        let control = Asked {
            service: "commands service",
            own_proxy: "control_proxy_uri",
            endpoint: control_endpoint(context),
            client: context.client(&settings.control_proxy_uri).map_err(|error| format!("{error:#}")),
        };
        let s3 = Asked {
            service: "S3",
            own_proxy: "s3_proxy_uri",
            endpoint: s3_endpoint(context),
            client: context.client(&settings.s3_proxy_uri).map_err(|error| format!("{error:#}")),
        };
        let (control, s3) = match context.runtime() {
            Ok(runtime) => runtime.block_on(async { tokio::join!(control.ask(), s3.ask()) }),
            Err(error) => {
                let nowhere = |asked: Asked| asked.came(Reached::Nowhere(format!("{error:#}")));
                (nowhere(control), nowhere(s3))
            }
        };
        Self(vec![control, s3])
    }
}

fn control_endpoint(context: &Context) -> Result<Url, String> {
    let settings = &context.settings;
    if let Some(endpoint) = &*settings.deploy_control_endpoint {
        return Ok(endpoint.clone());
    }
    let flavor = if *settings.enable_auth_policy { Flavor::Secure } else { Flavor::Ordinary };
    let fips = if *settings.use_fips_mode { Fips::Required } else { Fips::No };
    aws_endpoint(flavor, &region(context)?, fips)
}

/// S3 without any bucket.
fn s3_endpoint(context: &Context) -> Result<Url, String> {
    if let Some(endpoint) = &*context.settings.s3_endpoint_override {
        return Ok(endpoint.clone());
    }
    let region = region(context)?;
    let service = if *context.settings.use_fips_mode { "s3-fips" } else { "s3" };
    let text = format!("https://{service}.{region}.{}/", region.domain());
    Url::parse(&text).map_err(|error| format!("{text} is not an address: {error}"))
}

/// The region that the host's identity names, where it can be told without asking anybody.
fn region(context: &Context) -> Result<Region, String> {
    let parsed = config_files::on_premises(&context.settings).map_err(|error| error.to_string())?;
    let named = match parsed.map(|parsed| parsed.identity) {
        Some(OnPremises::IamUser { region, .. } | OnPremises::IamSession { region, .. }) => Some(region),
        None => context.environment.region.clone(),
    };
    let unknown = "no endpoint is set, and neither the on-premises file nor AWS_REGION names a region";
    Region::parse(&named.ok_or(unknown)?).map_err(|error| error.to_string())
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
