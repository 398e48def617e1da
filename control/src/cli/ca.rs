//! `ca`: the certificate that clients have to trust.

use clap::Args;

use super::{Data, say};
use crate::data_dir::DataDir;

/// Arguments of `ca`. Every user of the machine may run it.
#[derive(Debug, Args)]
pub struct Ca {
    #[command(flatten)]
    data: Data,
}

impl Ca {
    pub fn run(self) -> anyhow::Result<()> {
        say(&DataDir::read_ca(&self.data.directory)?)
    }
}
