//! Where the built programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The target directory's profile in which this very program was built, such as `target/debug`.
pub fn profile_directory() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("the program has no folder")?;
    let profile = if folder.ends_with("deps") { folder.parent().context("deps has no parent")? } else { folder };
    Ok(profile.to_owned())
}

/// The agent's program.
pub fn agent() -> Result<Command> {
    program("slipway-agent")
}

/// The control service's program.
pub fn control() -> Result<Command> {
    program("slipway-control")
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

fn program(name: &str) -> Result<Command> {
    let path = profile_directory()?.join(name);
    if !path.exists() {
        bail!("{} is not built; `cargo build --workspace` (or `make test`) builds it", path.display());
    }
    let mut command = Command::new(path);
    // The environment of whoever runs the tests decides nothing: no identity, no proxy, no trust.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().to_ascii_uppercase();
        if name.starts_with("AWS_") || name.ends_with("_PROXY") || name.starts_with("SSL_CERT_") {
            command.env_remove(&variable);
        }
    }
    // Nor does the machine: it may be an instance.
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    Ok(command)
}
