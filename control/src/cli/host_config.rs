//! `host-config`: a host's registration, key and files.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::endpoint::EndpointArgs;
use super::{Data, RealmArgs, open_database, say};
use crate::data_dir;
use crate::host_config::{NewHost, OldKeys, Reach, Written};
use crate::instances::Registered;
use crate::pki;

/// Arguments of `host-config`.
#[derive(Debug, Args)]
pub struct HostConfig {
    /// The host's name, or several hosts' names; none may begin with i-
    #[arg(required = true)]
    names: Vec<String>,
    /// The directory that the agent's files are written to; for several hosts, the directory of a directory for each
    #[arg(long = "dir", value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// The authority of the service's own TLS certificate (serve --certificate), where hosts do not trust it already
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// End the keys that the hosts had before, at once: their agents are refused until they have the new files
    #[arg(long)]
    revoke_old: bool,
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
        let realm = self.realm.realm();
        // Nothing is registered where one of them is no name.
        let hosts = self.names.iter().map(|name| NewHost::parse(name, &realm, &self.tags));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let reach = Reach {
            endpoint: self.endpoint.resolve(&data)?,
            ca_pem: pki::ca_certificate(&data)?,
            tls_ca_pem: self.tls_ca.as_deref().map(read_certificates).transpose()?,
            installed_in: self.installed_in.clone(),
        };
        let old = if self.revoke_old { OldKeys::Revoked } else { OldKeys::Kept };
        let pool = open_database(&data).await?;
        for (name, host) in self.names.iter().zip(&hosts) {
            let out = if hosts.len() == 1 { self.out.clone() } else { self.out.join(name) };
            let written = host.set_up(&pool, &reach, &out, old).await?;
            say(&report(name, &written, self.installed_in.as_deref()))?;
        }
        pool.close().await;
        Ok(())
    }
}

fn read_certificates(path: &Path) -> anyhow::Result<String> {
    let content =
        data_dir::read_if_there(path, 1 << 20)?.with_context(|| format!("there is no file {}", path.display()))?;
    let text = String::from_utf8(content).ok().filter(|text| text.contains("-----BEGIN CERTIFICATE-----"));
    text.with_context(|| format!("{} holds no certificate in PEM form", path.display()))
}

fn report(name: &str, written: &Written, installed_in: Option<&Path>) -> String {
    let registered = match written.registered {
        Registered::New => "Registered",
        Registered::Already => "Made another key for the registered host",
    };
    let mut text = format!("{registered} {name} ({}).\n", written.arn);
    for id in &written.revoked {
        text.push_str(&format!("Revoked its old key {id}: an agent that still uses it is refused from now on.\n"));
    }
    if !written.still_valid.is_empty() {
        let old = written.still_valid.join(" ");
        text.push_str(&format!(
            "Still valid: its old keys {old}. Once the host has the new files, end them: `slipway-control keys revoke {old}`.\n"
        ));
    }
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

fn parse_absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("an absolute path is needed".to_owned()) }
}
