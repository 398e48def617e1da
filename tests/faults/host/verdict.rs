//! What is on the host after a fault.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{GROUP, Host};
use crate::tree::Tree;

/// The record of the journal after which an install has to be finished.
const COMMIT: &[u8] = b"{\"what\":\"commit\"}";

/// What is on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The old revision, whole, and nothing else.
    Old,
    /// The new one.
    New,
}

impl State {
    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

impl Host {
    /// Which revision is there, whole and with nothing left over; else what is wrong. The manifest and
    /// the file for AWS's agent have to say the same as the tree.
    pub fn judge(&mut self) -> Result<Result<State, String>> {
        let left = self.transactions()?;
        if !left.is_empty() {
            return Ok(Err(format!("transactions are left: {left:?}")));
        }
        let (tree, deployed) = (self.tree()?, self.deployed()?);
        let (state, is_consistent) = if tree == self.old {
            (State::Old, deployed == self.old_deployment)
        } else if tree == self.new {
            (State::New, deployed != self.old_deployment)
        } else {
            return Ok(Err(format!(
                "the tree is neither the old one ({}) nor the new one ({})",
                tree.difference(&self.old),
                tree.difference(&self.new)
            )));
        };
        if !is_consistent {
            return Ok(Err(format!("the tree is the {} one, and the manifest says {deployed}", state.name())));
        }
        if let Some(problem) = self.contradiction(&deployed)? {
            return Ok(Err(problem));
        }
        if self.program.as_mut().is_some_and(|program| !matches!(program.try_wait(), Ok(None))) {
            return Ok(Err("the program that ran from the destination ended".to_owned()));
        }
        Ok(Ok(state))
    }

    /// What the agent left for others has to say what its manifest says.
    fn contradiction(&self, deployed: &str) -> Result<Option<String>> {
        let instructions = self.root().join("deployment-instructions");
        let read = |ending: &str| fs::read_to_string(instructions.join(format!("{GROUP}{ending}"))).unwrap_or_default();
        let (marked, cleanup, install) = (read("_last_successful_install"), read("-cleanup"), read("-install.json"));
        let owned = self.manifest()?["entries"].as_array().map(Vec::len).unwrap_or_default();
        let install: serde_json::Value = serde_json::from_str(&install).unwrap_or_default();
        Ok(if !marked.ends_with(deployed) {
            Some(format!("the manifest says {deployed}, and the last successful install is {marked:?}"))
        } else if cleanup.lines().count() != owned {
            Some(format!("the manifest has {owned} entries, and the list for cleaning up {}", cleanup.lines().count()))
        } else if install["deployment"] != deployed {
            Some(format!("the manifest says {deployed}, and the list for people {}", install["deployment"]))
        } else {
            None
        })
    }

    /// Files that a killed process had not finished, in the agent's own state and what it writes for others.
    pub fn unfinished_files(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut ahead = vec![self.root().join(".slipway"), self.root().join("deployment-instructions")];
        while let Some(directory) = ahead.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    ahead.push(entry.path());
                } else if entry.file_name().to_string_lossy().ends_with(".tmp") {
                    found.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    /// Whether a commit was written: the install has to be finished then.
    pub fn has_committed(&self) -> Result<bool> {
        for transaction in self.transactions()? {
            match fs::read(transaction.join("journal")) {
                Ok(bytes) => return Ok(bytes.windows(COMMIT.len()).any(|window| window == COMMIT)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.deployed()? != self.old_deployment)
    }

    /// The directories of installs that are not over.
    pub fn transactions(&self) -> Result<Vec<PathBuf>> {
        let directory = self.root().join(".slipway/tx");
        fs::read_dir(&directory)
            .with_context(|| format!("list {}", directory.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect()
    }

    /// Everything where revisions are installed.
    pub fn tree(&self) -> Result<Tree> {
        let beside = self.place.join("state/beside");
        let target = self.place.join("target");
        if beside.exists() { Tree::read(&[&target, &beside]) } else { Tree::read(&[&target]) }
    }

    /// The deployment that the manifest names.
    pub(super) fn deployed(&self) -> Result<String> {
        Ok(self.manifest()?["deployment"].as_str().context("the manifest names a deployment")?.to_owned())
    }

    fn manifest(&self) -> Result<serde_json::Value> {
        let path = self.root().join(".slipway/manifests").join(format!("{GROUP}.json"));
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }
}
