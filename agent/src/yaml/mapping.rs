//! Mappings on their way: unique names, and what `<<` brings in.

use std::collections::HashMap;

use super::{Entry, Findings, Node, Oddity, Position, Scalar, Style, Value};

/// A mapping that has not ended.
#[derive(Default)]
pub(super) struct OpenMapping {
    entries: Vec<Entry>,
    /// Where each name is in `entries`.
    names: HashMap<String, usize>,
    /// Values of `<<`, to be taken in at the end, since own entries go before them.
    merged: Vec<Node>,
    key: Option<Key>,
}

enum Key {
    Name(String, Position),
    Merge,
    /// A key that was refused; its value is read and dropped.
    Refused,
}

impl OpenMapping {
    /// Takes a key, or the value of the key before it. A name that is there already is answered.
    pub(super) fn put(&mut self, node: Node, findings: &mut Findings) -> Option<Oddity> {
        let Some(key) = self.key.take() else {
            self.key = Some(Self::key(node, findings));
            return None;
        };
        match key {
            Key::Name(key, at) => return self.insert(Entry { key, at, value: node }),
            Key::Merge => self.merged.push(node),
            Key::Refused => {}
        }
        None
    }

    /// The last of several entries with one name counts, as libyaml's readers have it.
    fn insert(&mut self, entry: Entry) -> Option<Oddity> {
        if let Some(index) = self.names.get(&entry.key)
            && let Some(before) = self.entries.get_mut(*index)
        {
            let again = Oddity::Again { key: entry.key.clone(), at: entry.at, before: before.at.line };
            *before = entry;
            return Some(again);
        }
        self.names.insert(entry.key.clone(), self.entries.len());
        self.entries.push(entry);
        None
    }

    fn key(node: Node, findings: &mut Findings) -> Key {
        let Value::Scalar(Scalar { text, style }) = node.value else {
            findings.add(node.at, "a name before the colon", node.kind());
            return Key::Refused;
        };
        if text == "<<" && style == Style::Plain {
            return Key::Merge;
        }
        Key::Name(text, node.at)
    }

    /// Its entries, those of `<<` after its own.
    pub(super) fn finish(mut self, findings: &mut Findings) -> Vec<Entry> {
        for source in std::mem::take(&mut self.merged) {
            match source.value {
                Value::Mapping(entries) => self.merge(entries),
                Value::Sequence(items) => {
                    for item in items {
                        match item.value {
                            Value::Mapping(entries) => self.merge(entries),
                            _ => findings.add(item.at, "mappings in the list after `<<`", item.kind()),
                        }
                    }
                }
                _ => findings.add(source.at, "a mapping, or a list of mappings, after `<<`", source.kind()),
            }
        }
        self.entries
    }

    fn merge(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if !self.names.contains_key(&entry.key) {
                self.names.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }
}
