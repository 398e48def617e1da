//! Where in an AppSpec something is that its types no longer tell.

use crate::yaml::{Node, Position, Value};

/// A field of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Source,
    Object,
    Mode,
    Context,
    Location,
}

/// Where the value of a field is, in the entry that begins at `entry`.
pub(super) fn value(node: &Node, entry: Position, field: Field) -> Option<Position> {
    let name = match field {
        Field::Source => "source",
        Field::Object => "object",
        Field::Mode => "mode",
        Field::Context => "context",
        Field::Location => "location",
    };
    match &node.value {
        Value::Scalar(_) => None,
        Value::Sequence(items) => items.iter().find_map(|item| value(item, entry, field)),
        Value::Mapping(entries) => {
            let own = entries.iter().find(|found| node.at == entry && found.key == name);
            own.map(|found| found.value.at).or_else(|| entries.iter().find_map(|e| value(&e.value, entry, field)))
        }
    }
}
