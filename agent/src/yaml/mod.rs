//! YAML as a tree of raw scalars with their places.
//!
//! Scalars are not resolved: `0644`, `yes` and `1e3` stay the text that the author wrote until a
//! reader says what type it wants. The tree is built from the parser's events, so that the limits on
//! size, nodes and nesting hold while it is built. Mistakes are collected instead of ending the reading
//! at the first one: where the syntax shows what its author meant, that is read, and said.

mod align;
mod builder;
mod finding;
mod input;
mod lines;
mod load;
mod mapping;
mod mend;
mod read;
mod text;

pub use finding::{Finding, Findings, Oddity, Report, Warning, quoted};
pub use load::parse;
pub use read::{Fields, lacks_space, nearest};

/// Line and column in a file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The first character.
    pub const START: Self = Self { line: 1, column: 1 };
    /// After everything else.
    pub const END: Self = Self { line: usize::MAX, column: usize::MAX };
}

/// A file, read as far as it can be.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its tree. Where there are mistakes it is what the author most likely meant; nothing where that cannot
    /// be told.
    pub root: Option<Node>,
    /// Mistakes of its syntax.
    pub findings: Findings,
    /// What other readers take; whether it is a mistake is up to the reader of the tree.
    pub oddities: Vec<Oddity>,
}

/// A value and where it begins. A value that an alias stands for is where its anchor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text, number, boolean or nothing: whatever its reader takes it for.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Names and their values, each name once, in the file's order of their first places.
    Mapping(Vec<Entry>),
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub key: String,
    /// Where the name begins.
    pub at: Position,
    /// Its value.
    pub value: Node,
}

/// An unresolved scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Its text, without quotes and escapes.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written, which decides whether it can be nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: `null`, `~` and the empty text mean nothing.
    Plain,
    /// In quotes, as a block, or tagged as a string: always a text.
    Quoted,
}

/// What a file may take to read, whatever is in it. Aliases count for what they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Length of the file, and of all scalars together once aliases are expanded.
    pub bytes: usize,
    /// Scalars, lists, mappings and names.
    pub nodes: usize,
    /// Lists and mappings inside of each other, at most some hundred: readers recurse.
    pub depth: usize,
}

impl Budget {
    /// For a file that a person wrote: some twenty megabytes of memory at worst.
    pub const FILE: Self = Self { bytes: 1 << 20, nodes: 50_000, depth: 32 };
}

impl Scalar {
    /// Whether it stands for no value.
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// A boolean in the spellings of YAML 1.1, which the authors of such files are used to, quoted or
    /// not.
    pub fn as_bool(&self) -> Option<bool> {
        match self.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        }
    }
}

impl Node {
    /// Whether it stands for no value.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// The scalar, if it is one and not nothing.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => None,
        }
    }

    /// What it is, for the `found` of a finding. Shows the text of a scalar: not for secrets.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null() => quoted(&scalar.text),
            _ => self.kind().to_owned(),
        }
    }

    /// What kind of thing it is, for the `found` of a finding, without any of its content.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

#[cfg(test)]
mod tests;
