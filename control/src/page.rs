//! Long lists in pages, by opaque tokens that say where the next page begins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ApiError;

/// Items on one page.
pub const SIZE: usize = 100;

/// Begins every token, so that those of another format are recognised.
const MARK: &str = "slipway1:";

/// Where a page begins: after the item with this sort key, or at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start(Option<String>);

impl Start {
    /// From a request's `nextToken`.
    ///
    /// # Errors
    /// `InvalidNextTokenException`.
    pub fn from_request(token: Option<String>) -> Result<Self, ApiError> {
        let Some(token) = token else { return Ok(Self(None)) };
        let invalid = || {
            ApiError::client(
                "InvalidNextTokenException",
                "nextToken is not one that this service gave out; leave it out to begin at the first page.",
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(&token).map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        Ok(Self(Some(text.strip_prefix(MARK).ok_or_else(invalid)?.to_owned())))
    }

    /// The sort key after which the page begins; None at the start.
    pub fn after(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The same for lists that are sorted by a number.
    ///
    /// # Errors
    /// `InvalidNextTokenException` if the token belongs to another list.
    pub fn after_number(&self) -> Result<Option<i64>, ApiError> {
        let number = |text: &str| {
            text.parse().map_err(|_| {
                ApiError::client("InvalidNextTokenException", "nextToken was given out for another operation.")
            })
        };
        self.after().map(number).transpose()
    }
}

/// One page of a list and the token of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most [`SIZE`] items.
    pub items: Vec<T>,
    /// None on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts the page out of items of which at least one more than [`SIZE`] were asked for.
    /// `key` gives an item's sort key.
    pub fn cut(mut items: Vec<T>, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > SIZE;
        items.truncate(SIZE);
        let next = match items.last() {
            Some(last) if more => Some(URL_SAFE_NO_PAD.encode(format!("{MARK}{}", key(last)))),
            _ => None,
        };
        Self { items, next }
    }

    /// One page of a list that is at hand as a whole, by the items' places.
    ///
    /// # Errors
    /// `InvalidNextTokenException` if the token belongs to another list.
    pub fn of(items: Vec<T>, start: &Start) -> Result<Self, ApiError> {
        let first = start.after_number()?.map_or(0, |last| last.saturating_add(1));
        let numbered: Vec<(usize, T)> =
            items.into_iter().enumerate().skip(usize::try_from(first).unwrap_or(usize::MAX)).take(SIZE + 1).collect();
        let Page { items, next } = Page::cut(numbered, |(place, _)| place.to_string());
        Ok(Self { items: items.into_iter().map(|(_, item)| item).collect(), next })
    }
}

impl<T: Serialize> Page<T> {
    /// The answer with the items under `member`, and `nextToken` if there is more.
    pub fn answer(self, member: &str) -> Value {
        let mut answer = json!({ member: self.items });
        if let Some(next) = self.next {
            answer["nextToken"] = Value::String(next);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let all: Vec<i64> = (0..250).collect();
        let mut seen = Vec::new();
        let mut token = None;
        loop {
            let after = Start::from_request(token).unwrap().after_number().unwrap();
            let rest =
                all.iter().copied().filter(|item| after.is_none_or(|after| *item > after)).take(SIZE + 1).collect();
            let page = Page::cut(rest, |item: &i64| item.to_string());
            assert!(page.items.len() <= SIZE);
            seen.extend(page.items);
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn foreign_tokens_are_refused() {
        for bad in ["", "x", "!!!", &URL_SAFE_NO_PAD.encode("other:1"), &URL_SAFE_NO_PAD.encode([0xff, 0xfe])] {
            let error = Start::from_request(Some(bad.to_owned())).unwrap_err();
            assert_eq!(error.name, "InvalidNextTokenException", "{bad:?}");
        }
        let word = Start::from_request(Some(URL_SAFE_NO_PAD.encode("slipway1:web"))).unwrap();
        assert!(word.after_number().is_err());
    }
}
