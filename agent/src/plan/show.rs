//! A plan for people.

use std::fmt;

use super::{Change, PathState, Plan, Step};

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = [0usize; 4];
        for step in &self.steps {
            let kind = match step.change {
                Change::Create => 0,
                Change::Replace | Change::Attributes | Change::Touch => 1,
                Change::Remove | Change::RemoveDirectory => 2,
                Change::Keep | Change::Retain => 3,
            };
            if let Some(count) = counts.get_mut(kind) {
                *count += 1;
            }
            if step.change != Change::Keep {
                writeln!(out, "{step}")?;
            }
        }
        for rule in &self.rules {
            writeln!(out, "~ {rule}")?;
        }
        for warning in &self.warnings {
            writeln!(out, "! {warning}")?;
        }
        let [added, changed, removed, kept] = counts;
        write!(out, "{added} to add, {changed} to change, {removed} to remove, {kept} left as they are")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.change {
            Change::Create => write!(out, "+ {path}  {}", self.want),
            Change::Replace => match (self.was(), &self.want) {
                (PathState::File { attrs: was, .. }, PathState::File { attrs: want, size, .. }) if was == want => {
                    write!(out, "~ {path}  content, {size} bytes")
                }
                (was, want) => write!(out, "~ {path}  {was} becomes {want}"),
            },
            Change::Remove => write!(out, "- {path}  {}", self.was().kind()),
            Change::RemoveDirectory => write!(out, "- {path}  directory, if empty"),
            Change::Attributes => write!(out, "~ {path}  {} becomes {}", self.was(), self.want),
            Change::Touch => write!(out, "~ {path}  modification time"),
            Change::Keep => write!(out, "  {path}"),
            Change::Retain => write!(out, "= {path}  {} stays", self.was().kind()),
        }
    }
}
