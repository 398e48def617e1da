//! The URL at which clients reach the service.

use anyhow::{Context, bail};
use clap::Args;
use url::Url;

use crate::data_dir::{self, DataDir};

/// An option that gives the URL, where it is not the one of the running service.
#[derive(Debug, Args)]
pub(super) struct EndpointArgs {
    /// The URL at which clients reach the service [default: the one of the running service]
    #[arg(long, value_name = "URL", value_parser = parse)]
    endpoint: Option<Url>,
}

impl EndpointArgs {
    /// The URL that was given, or the one that `serve` wrote when it began to listen.
    pub(super) fn resolve(self, data: &DataDir) -> anyhow::Result<Url> {
        if let Some(given) = self.endpoint {
            return Ok(given);
        }
        let Some(content) = data_dir::read_if_there(&data.endpoint(), 4096)? else {
            bail!("the service does not listen yet, so its URL is not known: start it, or give --endpoint URL");
        };
        let text = String::from_utf8_lossy(&content);
        parse(text.trim())
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{} is damaged", data.endpoint().display()))
    }
}

/// The URL without a slash at its end.
pub(super) fn shown(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if url.scheme() != "https" || url.host_str().is_none() || !bare {
        return Err(format!("{text:?} is not of the form https://name:port"));
    }
    Ok(url)
}
