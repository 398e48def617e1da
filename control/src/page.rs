//! Long lists in pages, by opaque tokens that say where the next page begins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::ApiError;

/// Items on one page.
pub const SIZE: usize = 100;

/// Begins every token, so that those of another format are recognised.
const MARK: &str = "slipway2";

/// Where a page begins: after the item with this sort key, or at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Names the list in its tokens: the operation with its other members.
    list: String,
    after: Option<String>,
}

impl Start {
    /// From a request's `nextToken`. A token belongs to its list: `operation` with the same other members, `members`.
    ///
    /// # Errors
    /// `InvalidNextTokenException`.
    pub fn from_request(token: Option<String>, operation: &str, members: &impl Serialize) -> Result<Self, ApiError> {
        let members = serde_json::to_vec(members).map_err(ApiError::internal)?;
        let list = hex::encode(&Sha256::digest([operation.as_bytes(), b":", &members].concat())[..8]);
        let Some(token) = token else { return Ok(Self { list, after: None }) };
        let invalid = |message| ApiError::client("InvalidNextTokenException", message);
        let unknown =
            || invalid("nextToken is not one that this service gave out; leave it out to begin at the first page.");
        let bytes = URL_SAFE_NO_PAD.decode(&token).map_err(|_| unknown())?;
        let text = String::from_utf8(bytes).map_err(|_| unknown())?;
        let mut parts = text.splitn(3, ':');
        let (Some(MARK), Some(of), Some(after)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(unknown());
        };
        if of != list {
            return Err(invalid(
                "nextToken was given out for another list: repeat the operation that gave it, with the same other members.",
            ));
        }
        Ok(Self { list, after: Some(after.to_owned()) })
    }

    /// The sort key after which the page begins; None at the start.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The same for lists that are sorted by something that is no text.
    ///
    /// # Errors
    /// `InvalidNextTokenException` if the key is none of such a list.
    pub fn after_key<K: DeserializeOwned>(&self) -> Result<Option<K>, ApiError> {
        let key = |text: &str| {
            serde_json::from_str(text).map_err(|_| {
                ApiError::client("InvalidNextTokenException", "nextToken is not one that this service gave out.")
            })
        };
        self.after().map(key).transpose()
    }

    fn token(&self, after: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{MARK}:{}:{after}", self.list))
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
    pub fn cut(mut items: Vec<T>, start: &Start, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > SIZE;
        items.truncate(SIZE);
        let next = match items.last() {
            Some(last) if more => Some(start.token(&key(last))),
            _ => None,
        };
        Self { items, next }
    }

    /// One page of a list that is at hand as a whole. `key` gives an item's sort key, which no other item has: what comes or
    /// goes between two pages moves no other item from one page to another.
    ///
    /// # Errors
    /// `InvalidNextTokenException` if the token's key is none of this list.
    pub fn of<K: Ord + Serialize + DeserializeOwned>(
        mut items: Vec<T>,
        start: &Start,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, ApiError> {
        let after: Option<K> = start.after_key()?;
        items.sort_by_key(&key);
        items.retain(|item| after.as_ref().is_none_or(|after| key(item) > *after));
        items.truncate(SIZE + 1);
        Ok(Self::cut(items, start, |item| serde_json::json!(key(item)).to_string()))
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

    fn start(token: Option<String>) -> Result<Start, ApiError> {
        Start::from_request(token, "ListThings", &["web"])
    }

    #[test]
    fn pages_follow_each_other_to_the_end_whatever_comes_and_goes() {
        let mut all: Vec<i64> = (0..500).step_by(2).collect();
        let (mut seen, mut token, mut page_number) = (Vec::new(), None, 0);
        loop {
            let page = Page::of(all.clone(), &start(token).unwrap(), |item| *item).unwrap();
            assert!(page.items.len() <= SIZE);
            seen.extend(page.items);
            token = page.next;
            if token.is_none() {
                break;
            }
            // In front of the next page some come, and the last one that was shown goes.
            page_number += 1;
            all.extend([-page_number, 1 + 2 * page_number]);
            all.retain(|item| Some(item) != seen.last());
        }
        assert_eq!(seen, (0..500).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn a_list_can_run_backwards() {
        let newest =
            |token| Page::of((0..150).collect(), &start(token).unwrap(), |item: &i64| std::cmp::Reverse(*item));
        let first = newest(None).unwrap();
        let second = newest(first.next).unwrap();
        assert_eq!((first.items[0], second.items[0], second.items.len()), (149, 49, 50));
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let token = Page::of((0..150).collect(), &start(None).unwrap(), |item: &i64| *item).unwrap().next;
        start(token.clone()).unwrap();
        let others = [("ListOthers", ["web"]), ("ListThings", ["db"])];
        for (operation, members) in others {
            let error = Start::from_request(token.clone(), operation, &members).unwrap_err();
            assert!(error.message.contains("another list"), "{error}");
        }
        for bad in ["", "x", "!!!", &URL_SAFE_NO_PAD.encode("slipway1:1"), &URL_SAFE_NO_PAD.encode([0xff, 0xfe])] {
            assert_eq!(start(Some(bad.to_owned())).unwrap_err().name, "InvalidNextTokenException", "{bad:?}");
        }
        let word = start(Some(start(None).unwrap().token("web"))).unwrap();
        assert!(word.after_key::<i64>().is_err());
    }
}
