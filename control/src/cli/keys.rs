//! `keys`: access keys.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Data, RealmArgs, open_database, say};
use crate::keys::{self, NewKey, Owner, UserName};

/// Subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print its secret, this once
    Create(Create),
    /// Show all keys, without their secrets
    List(List),
    /// End a key's validity, at once and for good
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
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print lines for a shell: eval "$(slipway-control keys create … --env)"
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
    /// The key's id, AKIA…
    id: String,
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
        let pool = open_database(&self.data.open()?).await?;
        let owner = self.owner.owner()?;
        let key = keys::create(&pool, &owner, &self.realm.account).await?;
        pool.close().await;
        say(&self.form.of(&key, &self.realm.region))
    }
}

impl OwnerArgs {
    fn owner(self) -> anyhow::Result<Owner> {
        match (self.administrator, self.host) {
            (Some(name), _) => Ok(Owner::Administrator(name)),
            (None, name) => name.map(Owner::Host).context("give --administrator NAME or --host NAME"),
        }
    }
}

impl Form {
    fn of(&self, key: &NewKey, region: &str) -> String {
        let (id, secret) = (&key.id, key.secret.expose());
        if self.json {
            let value = json!({ "accessKeyId": id, "secretAccessKey": secret, "arn": key.arn });
            return format!("{value}\n");
        }
        if self.env {
            // Base64 and digits need no quoting in a shell.
            return format!(
                "export AWS_ACCESS_KEY_ID={id}\nexport AWS_SECRET_ACCESS_KEY={secret}\nexport AWS_DEFAULT_REGION={region}\n"
            );
        }
        format!(
            "Access key id:     {id}\nSecret access key: {secret}\nOwner:             {}\n\
             Keep the secret now: it is not shown again. `slipway-control keys revoke {id}` ends the key.\n",
            key.arn
        )
    }
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
        keys::revoke(&pool, &self.id).await?;
        pool.close().await;
        say(&format!("{} is revoked; requests that are signed with it are refused from now on.\n", self.id))
    }
}
