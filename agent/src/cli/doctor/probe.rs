//! Who this host is, and one unsigned request to each service: how far it comes tells of names, proxies, TLS and
//! clocks.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::{Handle, Runtime};
use url::Url;

use crate::causes::with_causes;
use crate::cli::settings::Context;
use crate::config::ProxyUri;
use crate::http::{Client, Foreign, SendError, clock_ahead};
use crate::identity::{self, Access, Caller, IdentityError, Provider};
use crate::service::ServiceError;

/// Who asks, and what became of the requests.
pub(super) struct Network {
    runtime: Runtime,
    provider: Provider,
    pub(super) host: Result<Arc<identity::Host>, IdentityError>,
    access: Result<Arc<Access>, IdentityError>,
    /// One for each service.
    pub(super) probes: Vec<Probe>,
    /// Whether this host may poll; nothing where there is no client to ask with.
    permission: OnceCell<Option<Result<(), ServiceError>>>,
}

/// Clocks that are further apart have their requests refused by AWS's services.
const MOST_APART: SignedDuration = SignedDuration::from_mins(5);

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
    /// What else answered, if it was not the service.
    pub(super) foreign: Option<Foreign>,
}

impl Network {
    /// Asks both services at once.
    pub(super) fn ask(context: &Context) -> anyhow::Result<Self> {
        let runtime = context.runtime()?;
        let settings = &context.settings;
        let provider = context.provider(Caller::Host);
        let (host, access) = runtime.block_on(async { (provider.host().await, provider.access().await) });
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
            client: context.client(&settings.control_proxy_uri).map_err(|error| with_causes(&error)),
        };
        let s3 = Asked {
            service: S3,
            own_proxy: "s3_proxy_uri",
            endpoint: match &*settings.s3_endpoint_override {
                Some(url) => Ok(url.clone()),
                None => endpoint(&|host| context.s3_endpoint().of_region(&host.region, &host.domain)),
            },
            client: context.client(&settings.s3_proxy_uri).map_err(|error| with_causes(&error)),
        };
        let (control, s3) = runtime.block_on(async { tokio::join!(control.ask(), s3.ask()) });
        Ok(Self { runtime, provider, host, access, probes: vec![control, s3], permission: OnceCell::new() })
    }

    /// What requests are signed with.
    pub(super) fn access(&self) -> Result<&Access, &IdentityError> {
        self.access.as_deref()
    }

    /// Whether a service itself gave an answer, not a proxy on the way to it.
    pub(super) fn has_answered(&self, service: &str) -> bool {
        self.probes.iter().any(|probe| probe.service == service && probe.has_answered())
    }

    /// The service that told its time, and by how much that is ahead of this host's.
    pub(super) fn told_time(&self) -> Option<(&Url, SignedDuration)> {
        self.probes.iter().find_map(|probe| match &probe.reached {
            Reached::Answered { endpoint, answer } => Some((endpoint, answer.ahead?)),
            _ => None,
        })
    }

    /// Whether signed requests are refused for this host's clock.
    pub(super) fn clock_is_wrong(&self) -> bool {
        self.told_time().is_some_and(|(_, ahead)| ahead.abs() > MOST_APART)
    }

    /// What the commands service says to signed requests that ask for nothing; asked once, and only if it answers and
    /// the clock is right.
    pub(super) fn permission(&self, context: &Context) -> Option<&Result<(), ServiceError>> {
        let ask = || {
            let service = context
                .service(self.provider.clone())
                .ok()
                .filter(|_| self.has_answered(COMMANDS) && !self.clock_is_wrong())?;
            Some(self.wait(service.try_permission()))
        };
        self.permission.get_or_init(ask).as_ref()
    }

    pub(super) fn provider(&self) -> Provider {
        self.provider.clone()
    }

    pub(super) fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    pub(super) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
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
    Answer { status, took, ahead: clock_ahead(headers, Timestamp::now()), foreign: Foreign::of(status, headers, &[]) }
}

impl Probe {
    fn has_answered(&self) -> bool {
        let by_a_proxy = [StatusCode::PROXY_AUTHENTICATION_REQUIRED, StatusCode::BAD_GATEWAY];
        matches!(&self.reached, Reached::Answered { answer, .. } if !by_a_proxy.contains(&answer.status) && answer.foreign.is_none())
    }

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
