//! `keys`: access keys.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use url::Url;

use super::endpoint::{self, EndpointArgs};
use super::{Data, RealmArgs, open_database, say};
use crate::data_dir::DataDir;
use crate::instances::Identity;
use crate::keys::{self, KeysError, NewKey, Owner, UserName};

/// Subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print its secret, this once
    Create(Create),
    /// Show all keys, without their secrets
    List(List),
    /// End the validity of keys, at once and for good
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    realm: RealmArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct OwnerArgs {
    /// For an administrator of this name, who may do everything
    #[arg(long, value_name = "NAME", value_parser = UserName::parse)]
    administrator: Option<UserName>,
    /// For the agent of the host of this name
    #[arg(long, value_name = "NAME", value_parser = UserName::parse_host)]
    host: Option<UserName>,
    /// For the agent of the host that was registered with this ARN of a user or of a role's session
    #[arg(long, value_name = "ARN", value_parser = parse_identity)]
    host_arn: Option<Identity>,
}

fn parse_identity(text: &str) -> Result<Identity, KeysError> {
    Identity::parse(text).ok_or_else(|| KeysError::Identity(text.to_owned()))
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print all that `aws deploy` needs, for a shell: eval "$(slipway-control keys create … --env)"
    #[arg(long)]
    env: bool,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    data: Data,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    data: Data,
    /// The ids of the keys, AKIA…
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Keys {
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        let data = self.data.open()?;
        let owner = self.owner.owner()?;
        // Before a key is made, which would not be shown.
        let reach = if self.form.env { Some(self.endpoint.resolve(&data)?) } else { None };
        let pool = open_database(&data).await?;
        let key = keys::create(&pool, &owner, &self.realm.account).await?;
        pool.close().await;
        say(&match reach {
            Some(endpoint) => variables(&key, &self.realm.region, &endpoint, &data),
            None => self.form.of(&key),
        })
    }
}

impl OwnerArgs {
    fn owner(self) -> anyhow::Result<Owner> {
        match (self.administrator, self.host, self.host_arn) {
            (Some(name), ..) => Ok(Owner::Administrator(name)),
            (_, Some(name), _) => Ok(Owner::Host(name)),
            (.., identity) => {
                identity.map(Owner::Identity).context("give --administrator NAME, --host NAME or --host-arn ARN")
            }
        }
    }
}

impl Form {
    fn of(&self, key: &NewKey) -> String {
        let (id, secret) = (&key.id, key.secret.expose());
        if self.json {
            let value = json!({ "accessKeyId": id, "secretAccessKey": secret, "arn": key.arn });
            return format!("{value}\n");
        }
        format!(
            "Access key id:     {id}\nSecret access key: {secret}\nOwner:             {}\n\
             Keep the secret now: it is not shown again. `slipway-control keys revoke {id}` ends the key.\n",
            key.arn
        )
    }
}

/// The variables that AWS's command line and SDKs read.
fn variables(key: &NewKey, region: &str, endpoint: &Url, data: &DataDir) -> String {
    let url = endpoint::shown(endpoint);
    let ca = data.ca().display().to_string();
    let mut all = vec![
        ("AWS_ACCESS_KEY_ID", key.id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.expose()),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_ENDPOINT_URL_CODEDEPLOY", url),
        ("AWS_ENDPOINT_URL_S3", url),
    ];
    // It takes the place of the system's authorities.
    if !data.foreign_certificate().exists() {
        all.push(("AWS_CA_BUNDLE", &ca));
    }
    all.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,./:@_-".contains(&byte);
    if text.bytes().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let pool = open_database(&self.data.open()?).await?;
        let keys = keys::list(&pool).await?;
        pool.close().await;
        if self.json {
            return say(&format!("{}\n", serde_json::to_string(&keys)?));
        }
        let mut text = String::new();
        for key in keys {
            let state = key.revoked.map_or_else(|| "valid".to_owned(), |moment| format!("revoked {moment}"));
            text.push_str(&format!("{}  {:13}  {}  {}  {state}\n", key.id, key.kind, key.created, key.arn));
        }
        if text.is_empty() {
            "There are no keys. `slipway-control keys create --administrator NAME` makes one.\n".clone_into(&mut text);
        }
        say(&text)
    }
}

impl Revoke {
    async fn run(self) -> anyhow::Result<()> {
        let pool = open_database(&self.data.open()?).await?;
        for id in &self.ids {
            keys::revoke(&pool, id).await?;
            say(&format!("{id} is revoked; requests that are signed with it are refused from now on.\n"))?;
        }
        pool.close().await;
        Ok(())
    }
}
