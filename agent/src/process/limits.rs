//! What a program may use of the host, as the kernel holds it to.

use rustix::process::{Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the kernel's, and limits.conf's")]
pub enum Resource {
    Core,
    Data,
    Fsize,
    Memlock,
    Nofile,
    Rss,
    Stack,
    Cpu,
    Nproc,
    As,
    Locks,
    Sigpending,
    Msgqueue,
    Nice,
    Rtprio,
}

impl Resource {
    fn raw(self) -> rustix::process::Resource {
        use rustix::process::Resource as Raw;
        match self {
            Self::Core => Raw::Core,
            Self::Data => Raw::Data,
            Self::Fsize => Raw::Fsize,
            Self::Memlock => Raw::Memlock,
            Self::Nofile => Raw::Nofile,
            Self::Rss => Raw::Rss,
            Self::Stack => Raw::Stack,
            Self::Cpu => Raw::Cpu,
            Self::Nproc => Raw::Nproc,
            Self::As => Raw::As,
            Self::Locks => Raw::Locks,
            Self::Sigpending => Raw::Sigpending,
            Self::Msgqueue => Raw::Msgqueue,
            Self::Nice => Raw::Nice,
            Self::Rtprio => Raw::Rtprio,
        }
    }
}

/// How much of it, in the kernel's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// As much as there is.
    Unlimited,
    /// So much.
    At(u64),
}

impl Bound {
    fn raw(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::At(value) => Some(value),
        }
    }
}

/// A limit to set. What is absent stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in effect, which the program may raise up to the hard one.
    pub soft: Option<Bound>,
    /// The highest that the program may set.
    pub hard: Option<Bound>,
}

impl ResourceLimit {
    /// Sets it for this process. Only makes system calls. Where the kernel does not let the hard limit be raised, as in
    /// many containers, the soft one is set as far as it goes.
    pub(super) fn set(&self) {
        let resource = self.resource.raw();
        let now = getrlimit(resource);
        let maximum = self.hard.map_or(now.maximum, Bound::raw);
        let current = self.soft.map_or(now.current, Bound::raw);
        if setrlimit(resource, limit(current, maximum)).is_err() {
            // Nothing more can be done, and a script with the old limit is better than none.
            let _ = setrlimit(resource, limit(current, now.maximum));
        }
    }
}

fn limit(current: Option<u64>, maximum: Option<u64>) -> Rlimit {
    let current = match (current, maximum) {
        (None, maximum) => maximum,
        (Some(current), Some(maximum)) => Some(current.min(maximum)),
        (current, None) => current,
    };
    Rlimit { current, maximum }
}
