//! From a node to a setting's value, and from a value to what `config` shows.

use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use url::Url;

use super::values::{
    FollowLinks, HookPam, HookProfile, LogFormat, OnFailure, Ownership, Profile, ProgressUpdates, ProxyUri,
    ScriptRecord, UpdateAgent,
};
use crate::deployment::FileExistsBehavior;
use crate::yaml::{Node, Scalar, Value};

/// A value, or what was expected.
pub(super) type Reading<T> = Result<T, String>;

/// A setting that can be unset.
pub(super) fn optional<T>(read: impl Fn(&Node) -> Reading<T>) -> impl Fn(&Node) -> Reading<Option<T>> {
    move |node| read(node).map(Some)
}

pub(super) fn boolean(node: &Node) -> Reading<bool> {
    node.scalar().and_then(Scalar::as_bool).ok_or_else(|| "true or false".to_owned())
}

pub(super) fn text(node: &Node) -> Reading<String> {
    scalar(node)
        .filter(|text| !text.is_empty() && !text.contains(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| "a text in one line".to_owned())
}

pub(super) fn absolute_path(node: &Node) -> Reading<PathBuf> {
    scalar(node).and_then(path_from).ok_or_else(|| "an absolute path without `..`".to_owned())
}

/// A path that AWS's agent made something of, where it is one.
pub(super) fn path_if_any(node: &Node) -> Reading<Option<PathBuf>> {
    Ok(absolute_path(node).ok())
}

pub(super) fn directory_below_root(node: &Node) -> Reading<PathBuf> {
    absolute_path(node)
        .ok()
        .filter(|path| path.parent().is_some())
        .ok_or_else(|| "an absolute path without `..`, of a directory that is the agent's own".to_owned())
}

pub(super) fn path_from(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = path.is_absolute() && !text.contains('\0') && !path.components().any(|c| c == Component::ParentDir);
    plain.then(|| path.components().collect())
}

/// One absolute path, or a list of them.
pub(super) fn paths(node: &Node) -> Reading<Vec<PathBuf>> {
    let expected = || "an absolute path, or a list of them".to_owned();
    match &node.value {
        Value::Sequence(items) => items.iter().map(|item| absolute_path(item).map_err(|_| expected())).collect(),
        _ => absolute_path(node).map(|path| vec![path]).map_err(|_| expected()),
    }
}

/// Host names, domains and networks: a list, or one text with commas.
pub(super) fn hosts(node: &Node) -> Reading<Vec<String>> {
    let texts: Option<Vec<&str>> = match &node.value {
        Value::Sequence(items) => items.iter().map(scalar).collect(),
        _ => scalar(node).map(|text| vec![text]),
    };
    texts
        .map(|texts| texts.into_iter().flat_map(hosts_from).collect())
        .ok_or_else(|| "names of hosts, separated by commas or as a list".to_owned())
}

pub(super) fn hosts_from(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

/// A day is the longest time that any of the settings can mean.
const LONGEST: u32 = 86_400;

/// Seconds from `least` to a day; parts of a second are allowed.
pub(super) fn seconds(least: u32) -> impl Fn(&Node) -> Reading<Duration> {
    move |node| {
        scalar(node)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
            .and_then(|text| text.parse().ok())
            .filter(|seconds: &f64| (f64::from(least)..=f64::from(LONGEST)).contains(seconds))
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| format!("seconds from {least} to {LONGEST}"))
    }
}

/// A whole number from 1 to `most`.
pub(super) fn count(most: usize) -> impl Fn(&Node) -> Reading<NonZeroUsize> {
    move |node| {
        scalar(node)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|number: &NonZeroUsize| number.get() <= most)
            .ok_or_else(|| format!("a whole number from 1 to {most}"))
    }
}

/// A number of bytes, at least 1, with `K`, `M`, `G` or `T` for powers of 1024.
pub(super) fn bytes(node: &Node) -> Reading<u64> {
    let parse = |text: &str| {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match text[digits.len()..].trim().to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return None,
        };
        let number: u64 = digits.parse().ok()?;
        number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
    };
    scalar(node)
        .filter(|text| text.starts_with(|c: char| c.is_ascii_digit()))
        .and_then(parse)
        .ok_or_else(|| "a number of bytes, at least 1, such as 5000000 or 20G".to_owned())
}

/// The address of a service, without credentials and query.
pub(super) fn endpoint(node: &Node) -> Reading<Url> {
    scalar(node)
        .and_then(|text| Url::parse(text).ok())
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty()))
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .filter(|url| url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| "an address such as https://service.example.com:8443, without credentials".to_owned())
}

/// What a proxy's address looks like; the value itself may hold a password.
pub(super) const PROXY: &str = "an address such as http://proxy.example.com:3128";

pub(super) fn proxy(node: &Node) -> Reading<ProxyUri> {
    scalar(node).and_then(ProxyUri::parse).ok_or_else(|| PROXY.to_owned())
}

pub(super) fn file_exists_behavior(node: &Node) -> Reading<FileExistsBehavior> {
    scalar(node).and_then(FileExistsBehavior::parse).ok_or_else(|| "`DISALLOW`, `OVERWRITE` or `RETAIN`".to_owned())
}

pub(super) fn hook_profile(node: &Node) -> Reading<HookProfile> {
    match scalar(node) {
        Some("none") => Ok(HookProfile::None),
        _ => absolute_path(node)
            .map(HookProfile::File)
            .map_err(|_| "`none`, or the absolute path of a shell profile".to_owned()),
    }
}

/// Visible ASCII, as a header's value must be.
pub(super) fn header(node: &Node) -> Reading<String> {
    text(node)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
        .ok_or_else(|| "a text of ASCII letters, digits and signs".to_owned())
}

fn scalar(node: &Node) -> Option<&str> {
    node.scalar().map(|scalar| scalar.text.trim())
}

/// How `config` shows a value: to people, and to programs.
pub(super) trait Show {
    fn show(&self) -> String;

    fn json(&self) -> Json {
        self.show().into()
    }
}

macro_rules! show_by_display {
    ($($name:ty),*) => {
        $(impl Show for $name {
            fn show(&self) -> String {
                self.to_string()
            }
        })*
    };
    ($($name:ty),* => $json:expr) => {
        $(impl Show for $name {
            fn show(&self) -> String {
                self.to_string()
            }

            fn json(&self) -> Json {
                $json(*self)
            }
        })*
    };
}

show_by_display!(String, Url, ProxyUri, FileExistsBehavior, HookProfile);
show_by_display!(
    Profile,
    OnFailure,
    Ownership,
    LogFormat,
    UpdateAgent,
    ProgressUpdates,
    HookPam,
    FollowLinks,
    ScriptRecord
);
show_by_display!(bool, u64 => Json::from);
show_by_display!(NonZeroUsize => |number: NonZeroUsize| Json::from(number.get()));

impl Show for PathBuf {
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        format!("{} s", self.as_secs_f64())
    }

    fn json(&self) -> Json {
        if self.subsec_nanos() == 0 { self.as_secs().into() } else { self.as_secs_f64().into() }
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "(not set)".to_owned(), Show::show)
    }

    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Show::json)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        if self.is_empty() {
            return "(none)".to_owned();
        }
        self.iter().map(Show::show).collect::<Vec<_>>().join(", ")
    }

    fn json(&self) -> Json {
        self.iter().map(Show::json).collect()
    }
}
