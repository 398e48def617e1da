//! `host-config`: a host's registration, key and files.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use url::Url;

use super::{Data, RealmArgs, open_database, say};
use crate::data_dir::{self, DataDir};
use crate::host_config::{NewHost, Reach, Written};
use crate::instances::Registered;
use crate::pki;

/// Arguments of `host-config`.
#[derive(Debug, Args)]
pub struct HostConfig {
    /// The host's name; it may not begin with i-
    name: String,
    /// The directory that the agent's files are written to
    #[arg(long = "dir", value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    data: Data,
    /// The URL at which the host reaches the service; by default the one of the running service
    #[arg(long, value_name = "URL", value_parser = parse_endpoint)]
    endpoint: Option<Url>,
    /// The directory in which the files will be on the host, which they name each other by; DIR by default
    #[arg(long, value_name = "DIR", value_parser = parse_absolute)]
    installed_in: Option<PathBuf>,
    /// A tag by which deployment groups find the host; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<String>,
    #[command(flatten)]
    realm: RealmArgs,
}

impl HostConfig {
    pub async fn run(self) -> anyhow::Result<()> {
        let data = self.data.open()?;
        let host = NewHost::parse(&self.name, &self.realm.realm(), &self.tags)?;
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => known_endpoint(&data)?,
        };
        let reach = Reach { endpoint, ca_pem: pki::ca_certificate(&data)?, installed_in: self.installed_in.clone() };
        let pool = open_database(&data).await?;
        let written = host.set_up(&pool, &reach, &self.out).await?;
        pool.close().await;
        say(&report(&self.name, &written, self.installed_in.as_deref()))
    }
}

fn report(name: &str, written: &Written, installed_in: Option<&Path>) -> String {
    let registered = match written.registered {
        Registered::New => "Registered",
        Registered::Already => "Was registered already, and got another key:",
    };
    let mut text = format!("{registered} {name} ({}).\n", written.arn);
    for file in &written.files {
        text.push_str(&format!("Wrote {}\n", file.display()));
    }
    text.push_str(&format!(
        "The key {} is in these files alone; `slipway-control keys revoke` ends it.\n",
        written.access_key_id
    ));
    let config = match (installed_in, written.config.file_name()) {
        (Some(home), Some(file)) => home.join(file),
        _ => written.config.clone(),
    };
    let home = config.parent().unwrap_or(&config).display();
    text.push_str(&format!(
        "Next: on the host these files belong in {home}, by which they name each other (--installed-in says another \
         place). Then, there:\n  slipway-agent run --config {}\n",
        config.display()
    ));
    text
}

/// What `serve` wrote when it began to listen.
fn known_endpoint(data: &DataDir) -> anyhow::Result<Url> {
    let Some(content) = data_dir::read_if_there(&data.endpoint(), 4096)? else {
        bail!("the service has not been started yet, so its URL is not known; start it, or give --endpoint URL");
    };
    let text = String::from_utf8_lossy(&content);
    parse_endpoint(text.trim())
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("{} is damaged", data.endpoint().display()))
}

fn parse_absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("an absolute path is needed".to_owned()) }
}

fn parse_endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if url.scheme() != "https" || url.host_str().is_none() || !bare {
        return Err(format!("{text:?} is not of the form https://name:port"));
    }
    Ok(url)
}
