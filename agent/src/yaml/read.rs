use super::{Entry, Node, Report, Style, Value};

impl Node {
    /// The fields of a mapping. Anything else is a finding that says `expected`.
    pub fn fields(&self, expected: &str, report: &mut Report) -> Option<Fields<'_>> {
        match &self.value {
            Value::Mapping(entries) => Some(Fields { node: self, rest: entries.iter().collect() }),
            _ => {
                report.expected(self.at, expected, self.described());
                None
            }
        }
    }

    /// What is there instead of a mapping; with `key:value`, why it is none.
    fn described(&self) -> String {
        let scalar = self.scalar().filter(|scalar| scalar.style == Style::Plain);
        match scalar.and_then(|scalar| lacks_space(&scalar.text)) {
            Some(key) => format!("{}: a space is missing after `{key}:`", self.describe()),
            None => self.describe(),
        }
    }

    /// The items of a list; nothing is an empty list. Anything else is a finding that says `expected`.
    pub fn items(&self, expected: &str, report: &mut Report) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ if self.is_null() => &[],
            _ => {
                report.expected(self.at, expected, self.describe());
                &[]
            }
        }
    }

    /// A value parsed from a scalar, by a function whose error says what was expected.
    pub fn parsed<T>(&self, report: &mut Report, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        // What is expected is known to the parser alone, so it is asked even where there is no scalar.
        let parsed = match self.scalar() {
            Some(scalar) => parse(scalar.text.trim()),
            None => parse("").and_then(|_| Err("a single value".to_owned())),
        };
        parsed.map_err(|expected| report.expected(self.at, expected, self.describe())).ok()
    }
}

/// The fields of a mapping, taken out one by one; what is left in the end is unknown.
#[derive(Debug)]
pub struct Fields<'n> {
    node: &'n Node,
    rest: Vec<&'n Entry>,
}

impl<'n> Fields<'n> {
    /// Where the mapping begins.
    pub fn at(&self) -> super::Position {
        self.node.at
    }

    /// Whether a field is there that was not taken yet, and has a value.
    pub fn has(&self, key: &str) -> bool {
        self.rest.iter().any(|entry| entry.key == key && !entry.value.is_null())
    }

    /// Takes a field out, also one without a value.
    pub fn take(&mut self, key: &str) -> Option<&'n Entry> {
        let index = self.rest.iter().position(|entry| entry.key == key)?;
        Some(self.rest.remove(index))
    }

    /// Takes a field's value out; a field without one counts as absent.
    pub fn value(&mut self, key: &str) -> Option<&'n Node> {
        self.take(key).map(|entry| &entry.value).filter(|value| !value.is_null())
    }

    /// Takes a field's value out; one that is absent or empty is a finding.
    pub fn required(&mut self, key: &str, expected: &str, report: &mut Report) -> Option<&'n Node> {
        match self.take(key) {
            Some(entry) if !entry.value.is_null() => Some(&entry.value),
            Some(entry) => {
                report.expected(entry.at, expected, format!("`{key}` without a value"));
                None
            }
            None => {
                report.expected(self.node.at, expected, format!("no `{key}`"));
                None
            }
        }
    }

    /// What was not taken.
    pub fn rest(self) -> Vec<&'n Entry> {
        self.rest
    }
}

/// The key in a text such as `key:value`, which YAML takes for one word.
pub fn lacks_space(text: &str) -> Option<&str> {
    let (key, value) = text.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    (is_key && !value.is_empty() && !value.starts_with([' ', '\t']) && !value.starts_with("//")).then_some(key)
}

/// The known name that an unknown one is most likely a slip for.
pub fn nearest<'k>(unknown: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let unknown = unknown.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&unknown, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).clamp(1, 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
