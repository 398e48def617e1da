//! The command line, one file per command.

mod bucket;
mod ca;
mod deployments;
mod endpoint;
mod host_config;
mod hosts;
mod keys;
mod listen;
mod serve;
mod table;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::data_dir::DataDir;
use crate::instances::Realm;
use crate::keys::AccountId;

/// Slipway's control service: the CodeDeploy API, the agents' commands and an S3 for bundles in one program.
#[derive(Debug, Parser)]
#[command(name = "slipway-control", version)]
pub struct Cli {
    /// What the log (on standard error) shows: error, warn, info, debug, or a list like info,slipway_control::server=debug
    #[arg(long, global = true, value_name = "FILTER", default_value = "info")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer agents, operators and S3 clients until SIGTERM or SIGINT
    Serve(serve::Serve),
    /// Register a host and write the agent's configuration for it
    HostConfig(host_config::HostConfig),
    /// Make, list and revoke access keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make and list buckets of the embedded S3
    #[command(subcommand)]
    Bucket(bucket::Bucket),
    /// Show the hosts: when they were last heard, their agents, tags, and what is deployed
    Hosts(hosts::Hosts),
    /// Show the newest deployments
    Deployments(deployments::Deployments),
    /// Show one deployment: its hosts, where each is, and why it failed
    Deployment(deployments::OneDeployment),
    /// Print the certificate of the service's authority, which clients have to trust
    Ca(ca::Ca),
}

/// Where the service's data is.
#[derive(Debug, Args)]
struct Data {
    /// The service's data directory
    #[arg(long = "data", value_name = "DIR", env = "SLIPWAY_DATA", default_value = "/var/lib/slipway")]
    directory: PathBuf,
}

/// Names in ARNs. They mean nothing outside of the service; use the same ones in every command.
#[derive(Debug, Args)]
struct RealmArgs {
    /// The region in ARNs and in hosts' configurations
    #[arg(long, default_value = "us-east-1", value_parser = parse_region)]
    region: String,
    /// The account in ARNs, twelve digits
    #[arg(long, default_value = "000000000000", value_parser = AccountId::parse)]
    account: AccountId,
}

/// Runs the command that was given.
///
/// # Errors
/// What the command failed with, for people.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    start_log(&cli.log)?;
    match cli.command {
        Command::Serve(serve) => serve.run().await,
        Command::HostConfig(host_config) => host_config.run().await,
        Command::Keys(keys) => keys.run().await,
        Command::Bucket(bucket) => bucket.run().await,
        Command::Hosts(hosts) => hosts.run().await,
        Command::Deployments(deployments) => deployments.run().await,
        Command::Deployment(deployment) => deployment.run().await,
        Command::Ca(ca) => ca.run(),
    }
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    // The protocol library logs every refusal of a client as an error; the server logs what matters of them.
    let filter = tracing_subscriber::EnvFilter::builder()
        .parse(format!("s3s=off,sqlx=warn,{filter}"))
        .with_context(|| format!("--log {filter:?} is no filter; try info or debug"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// Writes to standard output at once, so that a reader of a pipe sees it.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

async fn open_database(data: &DataDir) -> anyhow::Result<sqlx::SqlitePool> {
    Ok(crate::db::open(data.root()).await?)
}

impl Data {
    /// Opens the data of a service that is there already.
    fn open(&self) -> anyhow::Result<DataDir> {
        Ok(DataDir::open(&self.directory)?)
    }

    /// Opens the data of a service that may be new.
    fn create(&self) -> anyhow::Result<DataDir> {
        Ok(DataDir::create(&self.directory)?)
    }
}

impl RealmArgs {
    fn realm(&self) -> Realm {
        Realm { region: self.region.clone(), account: self.account.as_str().to_owned() }
    }
}

fn parse_region(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(allowed) {
        return Err("a region is 1 to 32 of a-z 0-9 and -, such as eu-central-1".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_clash() {
        super::Cli::command().debug_assert();
    }
}
