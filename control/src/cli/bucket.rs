//! `bucket`: buckets of the embedded S3.

use clap::{Args, Subcommand};

use super::{Data, open_database, say};
use crate::s3;

/// Subcommands of `bucket`.
#[derive(Debug, Subcommand)]
pub enum Bucket {
    /// Make a bucket
    Create(Create),
    /// Show all buckets
    List(List),
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    data: Data,
    /// The bucket's name
    name: String,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    data: Data,
}

impl Bucket {
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(Create { data, name }) => {
                let pool = open_database(&data.open()?).await?;
                let made = s3::create_bucket(&pool, &name).await?;
                pool.close().await;
                say(&if made {
                    format!("Made the bucket {name}.\n")
                } else {
                    format!("The bucket {name} was there already.\n")
                })
            }
            Self::List(List { data }) => {
                let pool = open_database(&data.open()?).await?;
                let names = s3::bucket_names(&pool).await?;
                pool.close().await;
                say(&names.into_iter().map(|name| name + "\n").collect::<String>())
            }
        }
    }
}
