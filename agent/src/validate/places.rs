//! Where in an AppSpec something is that its types no longer tell.

use std::collections::BTreeSet;

use crate::yaml::{Node, Position, Scalar, Value};

/// A field of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Source,
    Destination,
    Object,
    Mode,
    Context,
    Location,
}

/// Where the value of a field is, in the entry that begins at `entry`.
pub(super) fn value(node: &Node, entry: Position, field: Field) -> Option<Position> {
    let name = match field {
        Field::Source => "source",
        Field::Destination => "destination",
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

/// The scalar that begins at a place.
pub(super) fn scalar_at(node: &Node, at: Position) -> Option<&Scalar> {
    match &node.value {
        Value::Scalar(scalar) => (node.at == at).then_some(scalar),
        Value::Sequence(items) => items.iter().find_map(|item| scalar_at(item, at)),
        Value::Mapping(entries) => entries.iter().find_map(|entry| scalar_at(&entry.value, at)),
    }
}

/// The values that aliases stand for, which the tree has at more than one place.
pub(super) fn shared_values(root: &Node) -> BTreeSet<Position> {
    fn walk(node: &Node, seen: &mut BTreeSet<Position>, shared: &mut BTreeSet<Position>) {
        if let Value::Scalar(_) = &node.value {
            // What has no value is where the next thing is.
            if !node.is_null() && !seen.insert(node.at) {
                shared.insert(node.at);
            }
            return;
        }
        match &node.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter().for_each(|item| walk(item, seen, shared)),
            Value::Mapping(entries) => entries.iter().for_each(|entry| walk(&entry.value, seen, shared)),
        }
    }
    let (mut seen, mut shared) = (BTreeSet::new(), BTreeSet::new());
    walk(root, &mut seen, &mut shared);
    shared
}
