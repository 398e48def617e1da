//! What an operator asked the daemon for: files, since the two share nothing else, and since what was asked for
//! has to outlive both.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, write};
use crate::disk::{self, Dir};
use crate::ids::DeploymentId;
use crate::layout::Layout;

/// How the name of a file begins that asks for a deployment's end.
pub(crate) const CANCEL: &str = "cancel-";

/// Who asked for something, when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who.
    pub by: Asker,
    /// When.
    pub at: Timestamp,
    /// Why, in that person's words.
    pub reason: Option<String>,
}

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// User id.
    pub uid: u32,
    /// Name, where the host knows one; whoever came by `sudo` is named.
    pub name: Option<String>,
}

impl fmt::Display for Asker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(out, "{name} (uid {})", self.uid),
            None => write!(out, "uid {}", self.uid),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "by {} at {}", self.by, self.at.strftime("%Y-%m-%d %H:%M:%S UTC"))?;
        self.reason.iter().try_for_each(|reason| write!(out, ": {reason}"))
    }
}

impl Stored for Request {
    const WHAT: &'static str = "what an operator asked for";
    const FORMAT: u32 = 1;
}

/// Deployments that are to be cancelled, and the files that could not be read.
#[derive(Debug, Default)]
pub struct Cancels {
    /// What could be read.
    pub found: Vec<(DeploymentId, Request)>,
    /// What could not, and why.
    pub unreadable: Vec<StoreError>,
}

/// Asks for a deployment's end.
pub fn ask_to_cancel(layout: &Layout, deployment: &DeploymentId, request: &Request) -> Result<(), StoreError> {
    write(&layout.cancel_request(deployment), request)
}

/// Whether somebody asked for a deployment's end.
pub fn read_cancel(layout: &Layout, deployment: &DeploymentId) -> Result<Option<Request>, StoreError> {
    read(&layout.cancel_request(deployment))
}

/// Takes that back, or forgets it once nobody can ask for the deployment any more.
pub fn withdraw_cancel(layout: &Layout, deployment: &DeploymentId) -> Result<(), disk::Error> {
    remove(&layout.cancel_request(deployment))
}

/// All deployments whose end somebody asked for.
pub fn cancels(layout: &Layout) -> Result<Cancels, disk::Error> {
    let mut cancels = Cancels::default();
    let dir = match Dir::open(layout.requests()) {
        Err(error) if error.is_not_found() => return Ok(cancels),
        other => other?,
    };
    for entry in dir.entries()? {
        let Some(id) = entry.name.to_str().and_then(|name| name.strip_prefix(CANCEL)) else { continue };
        let Ok(id) = DeploymentId::parse(id) else { continue };
        match read_cancel(layout, &id) {
            Ok(Some(request)) => cancels.found.push((id, request)),
            // It was taken back just now.
            Ok(None) => {}
            Err(error) => cancels.unreadable.push(error),
        }
    }
    Ok(cancels)
}

/// Asks that no new work is taken.
pub fn ask_to_pause(layout: &Layout, request: &Request) -> Result<(), StoreError> {
    write(&layout.pause_request(), request)
}

/// Whether somebody asked that no new work is taken.
pub fn read_pause(layout: &Layout) -> Result<Option<Request>, StoreError> {
    read(&layout.pause_request())
}

/// Takes that back.
pub fn withdraw_pause(layout: &Layout) -> Result<(), disk::Error> {
    remove(&layout.pause_request())
}

fn remove(path: &Path) -> Result<(), disk::Error> {
    disk::remove_if_exists(path)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::*;

    fn request(reason: Option<&str>) -> Request {
        Request {
            by: Asker { uid: 1000, name: Some("alice".into()) },
            at: "2026-05-04T10:01:11Z".parse().unwrap(),
            reason: reason.map(str::to_owned),
        }
    }

    #[test]
    fn requests_come_and_go_by_deployment() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        let ids = ["d-A", "d-B"].map(|id| DeploymentId::parse(id).unwrap());
        assert!(cancels(&layout).unwrap().found.is_empty());
        withdraw_cancel(&layout, &ids[0]).unwrap();
        for id in &ids {
            ask_to_cancel(&layout, id, &request(Some("wrong build"))).unwrap();
        }
        ask_to_pause(&layout, &request(None)).unwrap();
        std::fs::write(layout.requests().join("cancel-d-C"), "{").unwrap();
        std::fs::write(layout.requests().join("cancel-../x".replace('/', "_")), "{").unwrap();
        let listed = cancels(&layout).unwrap();
        assert_eq!(listed.found.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&ids[0], &ids[1]]);
        assert_eq!(listed.unreadable.len(), 1, "what cannot be read is told");
        withdraw_cancel(&layout, &ids[0]).unwrap();
        assert_eq!(read_cancel(&layout, &ids[0]).unwrap(), None);
        assert_eq!(read_cancel(&layout, &ids[1]).unwrap(), Some(request(Some("wrong build"))));
        assert_eq!(read_pause(&layout).unwrap(), Some(request(None)));
        withdraw_pause(&layout).unwrap();
        assert_eq!(read_pause(&layout).unwrap(), None);
    }

    #[test]
    fn a_request_says_who_when_and_why() {
        assert_eq!(
            request(Some("wrong build")).to_string(),
            "by alice (uid 1000) at 2026-05-04 10:01:11 UTC: wrong build"
        );
        let nameless = Request { by: Asker { uid: 7, name: None }, ..request(None) };
        assert_eq!(nameless.to_string(), "by uid 7 at 2026-05-04 10:01:11 UTC");
    }
}
