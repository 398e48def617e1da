//! The types of settings that are choices or addresses.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::read::Reading;
use crate::yaml::Node;

/// A setting that is one of a few names.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            const NAMES: &'static [&'static str] = &[$($text),*];

            pub(super) fn read(node: &Node) -> Reading<Self> {
                match node.scalar().map(|scalar| scalar.text.trim()) {
                    $(Some($text) => Ok(Self::$variant),)*
                    _ => Err(format!("`{}`", Self::NAMES.join("` or `"))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self {
                    $(Self::$variant => $text,)*
                })
            }
        }
    };
}

choice! {
    /// How far the agent is hardened where nothing else is set.
    Profile {
        /// As AWS's agent behaves.
        Compatible = "compatible",
        /// Every hardening on.
        Strict = "strict",
    }
}

choice! {
    /// What the host does when an event after Install fails.
    OnFailure {
        /// Reports it and leaves the new revision.
        Report = "report",
        /// Puts the last good revision back, then reports.
        Restore = "restore",
    }
}

choice! {
    /// Who owns what is installed where no permission entry says.
    Ownership {
        /// The archive's numeric ids; root for archives without any.
        Preserve = "preserve",
        /// Root.
        Root = "root",
    }
}

choice! {
    /// Whether scripts that are run are put on record.
    ScriptRecord {
        /// Each is; one that cannot be put on record runs, with a warning.
        On = "on",
        /// Each is; one that cannot be put on record is not run.
        Required = "required",
        /// None is.
        Off = "off",
    }
}

choice! {
    /// The symlinks on the way to a destination that are followed.
    FollowLinks {
        /// Those of root, and those whose owner also owns what they lead to.
        Safe = "safe",
        /// Those of root alone.
        Root = "root",
    }
}

choice! {
    /// The form of the agent's own log.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// What the agent does when the service asks it to update itself.
    UpdateAgent {
        /// Refuses.
        Refuse = "refuse",
        /// Updates by the system's package manager.
        Packages = "packages",
    }
}

choice! {
    /// Whether progress is reported while a command runs.
    ProgressUpdates {
        /// To services that are known to take it.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// Whether scripts with `runas` get what the host's PAM gives by `su`.
    HookPam {
        /// Where its stack has it.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}

/// The shell profile that gives hooks their base environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookProfile {
    /// None: the agent's environment as it is.
    None,
    /// Evaluated once, over the agent's environment.
    File(PathBuf),
}

impl fmt::Display for HookProfile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("none"),
            Self::File(path) => path.display().fmt(out),
        }
    }
}

/// The address of a proxy. It may hold a password, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUri(Url);

impl ProxyUri {
    /// Parses `http://[user:password@]host[:port]`, also with `https`.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_address =
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
        (is_address && matches!(url.path(), "" | "/") && url.query().is_none()).then_some(Self(url))
    }

    /// The address with its password, where it is put to use.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for ProxyUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://", self.0.scheme())?;
        if !self.0.username().is_empty() || self.0.password().is_some() {
            out.write_str("(credentials)@")?;
        }
        out.write_str(self.0.host_str().unwrap_or_default())?;
        match self.0.port() {
            Some(port) => write!(out, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ProxyUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
