//! Where in an AppSpec something is that its types no longer tell.

use crate::ids::EventName;
use crate::lifecycle::{HOOK_EVENTS, SERVICE_EVENTS};
use crate::yaml::{Node, Position, Value, nearest};

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

/// Events of `hooks` that can run but are neither known nor like a known one.
pub(super) fn own_events(root: &Node) -> Vec<(String, Position)> {
    let hooks = section(root, "hooks").map(|hooks| match &hooks.value {
        Value::Mapping(events) => events.as_slice(),
        _ => &[],
    });
    let is_own = |name: &str| {
        EventName::parse(name).is_ok()
            && nearest(name, HOOK_EVENTS).is_none()
            && !SERVICE_EVENTS.contains(&name)
            && !matches!(name, "DownloadBundle" | "Install")
    };
    let events = hooks.unwrap_or_default().iter().filter(|event| !event.value.is_null() && is_own(&event.key));
    events.map(|event| (event.key.clone(), event.at)).collect()
}

fn section<'n>(root: &'n Node, name: &str) -> Option<&'n Node> {
    match &root.value {
        Value::Mapping(entries) => entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value),
        _ => None,
    }
}
