//! The application that is deployed: each of its hooks waits, where it is ordered to, for the exit code that
//! it is to end with.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use slipway_tests::revision::{Hook, Revision, app};
use slipway_tests::until::{until, until_true};

/// The events that have hooks, each with the one that the service sends it as. It has the four around a load
/// balancer not at all; the stop event reads the same revision's scripts as the block events do, and
/// validation the same as the allow events.
pub const EVENTS: [(&str, &str); 9] = [
    ("BeforeBlockTraffic", "ApplicationStop"),
    ("AfterBlockTraffic", "ApplicationStop"),
    ("ApplicationStop", "ApplicationStop"),
    ("BeforeInstall", "BeforeInstall"),
    ("AfterInstall", "AfterInstall"),
    ("ApplicationStart", "ApplicationStart"),
    ("ValidateService", "ValidateService"),
    ("BeforeAllowTraffic", "ValidateService"),
    ("AfterAllowTraffic", "ValidateService"),
];

/// Where it is installed.
pub const DESTINATION: &str = "/srv/app";
/// Longest time for a hook to begin, and to take its order.
const PATIENCE: Duration = Duration::from_secs(30);
const ORDERS: &str = "srv/orders";

/// The application with this page.
pub fn revision(page: &str) -> Revision {
    let scripts: Vec<(&str, String)> = EVENTS.iter().map(|(event, _)| (*event, script(event))).collect();
    let hooks: Vec<Hook<'_>> =
        scripts.iter().map(|(event, lines)| Hook { timeout: 300, ..Hook::new(event, lines) }).collect();
    app(Path::new(DESTINATION), page, &hooks)
}

fn script(event: &str) -> String {
    format!(
        "order=/{ORDERS}/{event}\n\
         [ -p \"$order/exit-code\" ] || exit 0\n\
         echo \"$DEPLOYMENT_ID $LIFECYCLE_EVENT $$\" >> \"$order/runs\"\n\
         echo waiting\n\
         read -r code < \"$order/exit-code\"\n\
         exit \"$code\""
    )
}

/// The order to wait, for the hook of one event on one host. It is taken back when this is dropped.
#[derive(Debug)]
pub struct Order {
    event: String,
    directory: PathBuf,
}

impl Order {
    /// Gives it; `root` is the host's, seen from outside.
    pub fn wait(root: &Path, event: &str) -> Result<Self> {
        let directory = root.join(ORDERS).join(event);
        fs::create_dir_all(&directory)?;
        let order = Self { event: event.to_owned(), directory };
        mkfifo(&order.fifo(), Mode::S_IRUSR | Mode::S_IWUSR).context("make a FIFO on the host")?;
        Ok(order)
    }

    /// Waits until the hook has begun.
    pub fn begun(&self) -> Result<()> {
        until_true(&format!("{} to begin", self.event), PATIENCE, || Ok(!self.runs().is_empty()))
    }

    /// One line for each time that the hook began: the deployment, the event and the process.
    pub fn runs(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("runs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets the hook end with that exit code.
    pub fn end_with(&self, code: u8) -> Result<()> {
        let what = format!("the script of {} to take its exit code, which it does not if it was ended", self.event);
        until(&what, PATIENCE, || self.try_end_with(code))
    }

    fn try_end_with(&self, code: u8) -> Result<Option<()>> {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(self.fifo()) {
            Ok(mut fifo) => Ok(Some(writeln!(fifo, "{code}")?)),
            // Nobody reads it.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("open the FIFO on the host"),
        }
    }

    fn fifo(&self) -> PathBuf {
        self.directory.join("exit-code")
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        // Whoever still waits is let go, so that one test's failure is not the next one's too.
        let _ = self.try_end_with(99);
        let _ = fs::remove_dir_all(&self.directory);
    }
}
