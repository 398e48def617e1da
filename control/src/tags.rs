//! Tags of hosts and the filters that select hosts by them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::words;

/// Most sets that a group may have; a host must match one filter of each.
pub const MOST_SETS: usize = 3;
/// Most filters in one set or list.
pub const MOST_FILTERS: usize = 10;

/// Tags of one host: key to value.
pub type Tags = BTreeMap<String, String>;

/// A tag as requests and answers write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// At most 128 characters, not empty.
    #[serde(rename = "Key", default)]
    pub key: String,
    /// At most 256 characters.
    #[serde(rename = "Value", default)]
    pub value: String,
}

impl Tag {
    /// Returns the limit of the API that it breaks, as a sentence.
    pub fn problem(&self) -> Option<String> {
        let key = &self.key;
        if !(1..=128).contains(&key.chars().count()) || self.value.chars().count() > 256 {
            let text = "is not valid: keys have 1 to 128 characters, values at most 256.";
            return Some(format!("The tag {key:.200?} {text}"));
        }
        let is_reserved = key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
        is_reserved.then(|| format!("The tag {key:.200?} is not valid: keys that begin with aws: are reserved."))
    }
}

words! {
    /// What a filter looks at.
    pub enum FilterType {
        /// Any value of a key.
        KeyOnly = "KEY_ONLY",
        /// A value under any key.
        ValueOnly = "VALUE_ONLY",
        /// This key with this value.
        KeyAndValue = "KEY_AND_VALUE",
    }
}

/// A filter as requests and answers write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireFilter {
    #[serde(rename = "Key", skip_serializing_if = "Option::is_none", default)]
    key: Option<String>,
    #[serde(rename = "Value", skip_serializing_if = "Option::is_none", default)]
    value: Option<String>,
    #[serde(rename = "Type", skip_serializing_if = "Option::is_none", default)]
    kind: Option<FilterType>,
}

/// A filter that says something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireFilter", into = "WireFilter")]
pub enum TagFilter {
    /// The host has this key, with any value.
    Key(String),
    /// The host has this value, under any key.
    Value(String),
    /// The host has this key with this value.
    KeyAndValue(String, String),
}

impl TryFrom<WireFilter> for TagFilter {
    type Error = String;

    fn try_from(wire: WireFilter) -> Result<Self, Self::Error> {
        let WireFilter { key, value, kind } = wire;
        let kind = match (kind, &key, &value) {
            (Some(kind), ..) => kind,
            (None, Some(_), Some(_)) => FilterType::KeyAndValue,
            (None, Some(_), None) => FilterType::KeyOnly,
            (None, None, Some(_)) => FilterType::ValueOnly,
            (None, None, None) => return Err("a tag filter needs a Key, a Value, or both".to_owned()),
        };
        match (kind, key, value) {
            (FilterType::KeyOnly, Some(key), _) if !key.is_empty() => Ok(Self::Key(key)),
            (FilterType::ValueOnly, _, Some(value)) => Ok(Self::Value(value)),
            (FilterType::KeyAndValue, Some(key), value) if !key.is_empty() => {
                Ok(Self::KeyAndValue(key, value.unwrap_or_default()))
            }
            (FilterType::ValueOnly, ..) => Err(format!("a tag filter of type {kind} needs a Value")),
            _ => Err(format!("a tag filter of type {kind} needs a Key")),
        }
    }
}

impl From<TagFilter> for WireFilter {
    fn from(filter: TagFilter) -> Self {
        match filter {
            TagFilter::Key(key) => Self { key: Some(key), value: None, kind: Some(FilterType::KeyOnly) },
            TagFilter::Value(value) => Self { key: None, value: Some(value), kind: Some(FilterType::ValueOnly) },
            TagFilter::KeyAndValue(key, value) => {
                Self { key: Some(key), value: Some(value), kind: Some(FilterType::KeyAndValue) }
            }
        }
    }
}

impl TagFilter {
    /// Whether a host with these tags is meant.
    pub fn matches(&self, tags: &Tags) -> bool {
        match self {
            Self::Key(key) => tags.contains_key(key),
            Self::Value(value) => tags.values().any(|found| found == value),
            Self::KeyAndValue(key, value) => tags.get(key) == Some(value),
        }
    }
}

/// Which hosts a group selects. Nothing selects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// No hosts.
    #[default]
    Nothing,
    /// Hosts that match any of the filters.
    Any(Vec<TagFilter>),
    /// Hosts that match any filter of each set.
    Each(Vec<Vec<TagFilter>>),
}

impl Selection {
    /// Whether a host with these tags is selected.
    pub fn matches(&self, tags: &Tags) -> bool {
        let any = |filters: &[TagFilter]| filters.iter().any(|filter| filter.matches(tags));
        match self {
            Self::Nothing => false,
            Self::Any(filters) => any(filters),
            Self::Each(sets) => !sets.is_empty() && sets.iter().all(|set| any(set)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(json: &str) -> Result<TagFilter, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn filters_are_read_by_type_or_by_what_they_hold() {
        let both = TagFilter::KeyAndValue("a".into(), "b".into());
        assert_eq!(filter(r#"{"Key":"a","Value":"b","Type":"KEY_AND_VALUE"}"#).unwrap(), both);
        assert_eq!(filter(r#"{"Key":"a","Value":"b"}"#).unwrap(), both);
        assert_eq!(filter(r#"{"Key":"a","Value":"b","Type":"KEY_ONLY"}"#).unwrap(), TagFilter::Key("a".into()));
        assert_eq!(filter(r#"{"Key":"a"}"#).unwrap(), TagFilter::Key("a".into()));
        assert_eq!(filter(r#"{"Value":"b"}"#).unwrap(), TagFilter::Value("b".into()));
        for bad in ["{}", r#"{"Type":"KEY_ONLY"}"#, r#"{"Key":"a","Type":"VALUE_ONLY"}"#, r#"{"Key":"a","Type":"X"}"#] {
            assert!(filter(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"{"Key":"a","Value":"b","Type":"KEY_AND_VALUE"}"#);
    }

    #[test]
    fn within_a_set_any_matches_across_sets_all_must() {
        let web = || TagFilter::KeyAndValue("role".into(), "web".into());
        let api = || TagFilter::KeyAndValue("role".into(), "api".into());
        let prod = || TagFilter::Value("prod".into());
        let host = tags(&[("role", "web"), ("stage", "prod")]);
        assert!(Selection::Any(vec![api(), web()]).matches(&host));
        assert!(!Selection::Any(vec![api()]).matches(&host));
        assert!(Selection::Each(vec![vec![api(), web()], vec![prod()]]).matches(&host));
        assert!(!Selection::Each(vec![vec![api()], vec![prod()]]).matches(&host));
        assert!(Selection::Any(vec![TagFilter::Key("stage".into())]).matches(&host));
        for nothing in [Selection::Nothing, Selection::Any(vec![]), Selection::Each(vec![])] {
            assert!(!nothing.matches(&host), "{nothing:?}");
        }
    }
}
