use url::Url;

/// The way out to a service.
#[derive(Clone, Debug, Default)]
pub enum Proxy {
    /// Straight to it, whatever the environment says; always so for the metadata service.
    Direct,
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// As the settings say.
    Through {
        /// Where it is.
        address: ProxyAddress,
        /// Hosts, domains and networks that are reached without it, comma-separated.
        except: Option<String>,
    },
}

/// The address of a proxy. It can hold a password, so it is shown without.
#[derive(Clone)]
pub struct ProxyAddress(Box<reqwest::Proxy>, String);

impl ProxyAddress {
    /// Parses `http://[user:password@]host:port`; says what is wrong if it is not that.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("an address such as http://proxy.example.com:3128 is expected".to_owned());
        }
        let proxy = reqwest::Proxy::all(text).map_err(|error| super::error::innermost(&error))?;
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Self(Box::new(proxy), format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default())))
    }
}

impl std::fmt::Debug for ProxyAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.1)
    }
}

impl Proxy {
    pub(super) fn apply(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        match self {
            Self::Environment => builder,
            Self::Direct => builder.no_proxy(),
            Self::Through { address, except } => {
                let except = except.as_deref().and_then(reqwest::NoProxy::from_string);
                builder.no_proxy().proxy((*address.0).clone().no_proxy(except))
            }
        }
    }

    /// For messages, without a password. An exception of it may have applied.
    pub(super) fn shown(&self) -> Option<String> {
        match self {
            Self::Through { address, .. } => Some(address.1.clone()),
            Self::Direct | Self::Environment => None,
        }
    }
}
