use serde::Serialize;

/// One thing that AWS's agent had, and what becomes of it.
#[derive(Debug, Serialize)]
pub(super) struct Note {
    pub(super) verdict: Verdict,
    /// What it is about, in a word or two.
    pub(super) about: String,
    /// How it is, and what becomes of it.
    pub(super) what: String,
    /// What a person does about it, where something is to be done.
    pub(super) todo: Option<String>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It means the same.
    TakenOver,
    /// It means something else.
    Different,
    /// It means nothing.
    Ignored,
    /// This agent must not be started before a person has done something.
    NeedsYou,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::TakenOver => "taken over",
            Self::Different => "different",
            Self::Ignored => "ignored",
            Self::NeedsYou => "NEEDS YOU",
        }
    }
}

impl Note {
    pub(super) fn new(verdict: Verdict, about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { verdict, about: about.into(), what: what.into(), todo: None }
    }

    pub(super) fn with_remedy(self, todo: impl Into<String>) -> Self {
        Self { todo: Some(todo.into()), ..self }
    }
}
