use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A setting's value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    value: T,
    origin: Origin,
}

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is built in.
    Default,
    /// It is what `profile: strict` stands for.
    StrictProfile,
    /// A configuration file.
    File {
        /// Its path.
        file: Arc<str>,
        /// The line of the key, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(&'static str),
}

impl<T> Setting<T> {
    /// A value from somewhere.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether somebody set it, in a file or in the environment.
    pub fn is_explicit(&self) -> bool {
        matches!(self.origin, Origin::File { .. } | Origin::Environment(_))
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::StrictProfile => out.write_str("profile: strict"),
            Self::File { file, line } => write!(out, "{file}:{line}"),
            Self::Environment(variable) => write!(out, "environment {variable}"),
        }
    }
}
