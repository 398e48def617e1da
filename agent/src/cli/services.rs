//! From the configuration to the services that a command speaks with.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::settings::{Context, variable};
use crate::bundle::{Endpoint, GitHub, Kind, S3, Stack};
use crate::config::ProxyUri;
use crate::http::{self, Client, Proxy, ProxyAddress, Roots, ThrottleGate, Timeouts};
use crate::identity::{Caller, Provider, Sources};
use crate::service::{CommandsService, Fips, Flavor, Manner, Target, WireLog};

/// How long a connection may take to come about, TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

impl Context {
    /// The way to S3.
    pub(super) fn s3(&self, runtime: tokio::runtime::Handle, provider: Provider) -> anyhow::Result<S3> {
        Ok(S3 {
            client: self.client(&self.settings.s3_proxy_uri)?,
            runtime,
            provider,
            endpoint: self.s3_endpoint(),
            gate: self.gate.clone(),
            backoff: S3::pauses(),
        })
    }

    pub(super) fn s3_endpoint(&self) -> Endpoint {
        if let Some(url) = &*self.settings.s3_endpoint_override {
            return Endpoint::Override(url.clone());
        }
        let kind = if *self.settings.use_fips_mode { Kind::Fips } else { Kind::Ordinary };
        let dual = variable("AWS_USE_DUALSTACK_ENDPOINT").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Endpoint::Aws { kind, stack: if dual { Stack::Dual } else { Stack::Single } }
    }

    /// GitHub is reached by the proxy for all, and has nothing to do with how often AWS is asked.
    pub(super) fn github(&self, s3: &Client, runtime: tokio::runtime::Handle) -> anyhow::Result<GitHub> {
        let own_proxy = self.settings.s3_proxy_uri.is_some();
        Ok(GitHub {
            client: if own_proxy { self.client(&None)? } else { s3.clone() },
            runtime,
            endpoint: match &*self.settings.github_endpoint_override {
                Some(url) => url.clone(),
                None => GitHub::api().context("the address of GitHub's API")?,
            },
            gate: Arc::new(ThrottleGate::new()),
            backoff: GitHub::pauses(),
        })
    }

    /// Who asks the services, and with which credentials. One for all that a process asks.
    pub(super) fn provider(&self, caller: Caller) -> Provider {
        Provider::new(Sources {
            on_premises_file: self.settings.on_premises_config_file.to_path_buf(),
            environment: self.environment.clone(),
            caller,
        })
    }

    /// The commands service, as this host.
    pub(super) fn service(&self, provider: Provider) -> anyhow::Result<CommandsService> {
        let settings = &self.settings;
        let version = match &*settings.agent_version_header {
            Some(version) => version.clone(),
            None => format!("{}{}", slipway_protocol::wire::SLIPWAY_AGENT_PREFIX, env!("CARGO_PKG_VERSION")),
        };
        let client = self.client(&settings.control_proxy_uri)?;
        let wire = if *settings.log_aws_wire { WireLog::Written } else { WireLog::Off };
        Ok(CommandsService::new(client, self.target(), self.flavor(), provider, Manner { version, wire }))
    }

    /// Where the commands service is.
    pub(super) fn target(&self) -> Target {
        match (&*self.settings.deploy_control_endpoint, *self.settings.use_fips_mode) {
            (Some(endpoint), _) => Target::Fixed(endpoint.clone()),
            (None, true) => Target::Aws(Fips::Required),
            (None, false) => Target::Aws(Fips::No),
        }
    }

    /// Which variant of it.
    pub(super) fn flavor(&self) -> Flavor {
        if *self.settings.enable_auth_policy { Flavor::Secure } else { Flavor::Ordinary }
    }

    /// A client for one kind of service; `own_proxy` goes before the proxy for all.
    pub(super) fn client(&self, own_proxy: &Option<ProxyUri>) -> anyhow::Result<Client> {
        let settings = &self.settings;
        let roots = (*settings.ssl_cert_file).clone().map_or(Roots::System, Roots::File);
        let proxy = match own_proxy.as_ref().or(settings.proxy_uri.as_ref()) {
            None => Proxy::Direct,
            Some(uri) => Proxy::Through {
                address: ProxyAddress::parse(uri.expose().as_str()).map_err(anyhow::Error::msg)?,
                except: Some(settings.no_proxy.join(",")).filter(|hosts| !hosts.is_empty()),
            },
        };
        let timeouts = Timeouts { connect: CONNECT_TIMEOUT, silence: *settings.http_read_timeout };
        let trust = http::Trust { roots, additional: (*settings.ca_bundle).clone() };
        Ok(Client::new(&http::Profile { trust, proxy, timeouts })?)
    }
}
