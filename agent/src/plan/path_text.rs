//! Paths in JSON: a string where the path is UTF-8, else an object with its bytes in hexadecimal.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct Bytes {
    hex: String,
}

/// By hand and not an untagged enum, which would copy each of some hundred thousand paths once more.
struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = PathBuf;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a path as a string, or as an object with `hex`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PathBuf, E> {
        Ok(text.into())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<PathBuf, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PathBuf, A::Error> {
        let Bytes { hex } = Bytes::deserialize(MapAccessDeserializer::new(map))?;
        let bytes = hex::decode(hex).map_err(serde::de::Error::custom)?;
        Ok(OsString::from_vec(bytes).into())
    }
}

/// For `#[serde(with = "path_text")]`.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => Bytes { hex: hex::encode(path.as_os_str().as_bytes()) }.serialize(serializer),
    }
}

/// For `#[serde(with = "path_text")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    deserializer.deserialize_any(Text)
}

/// The same for several paths.
pub mod list {
    use super::{Deserialize, Deserializer, PathBuf, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super")] PathBuf);

    /// For `#[serde(with = "path_text::list")]`.
    pub fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().cloned().map(Wrapped))
    }

    /// For `#[serde(with = "path_text::list")]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<Wrapped>::deserialize(deserializer)?.into_iter().map(|wrapped| wrapped.0).collect())
    }
}

/// The same for a path that may be missing.
pub mod option {
    use super::{Deserialize, Deserializer, Path, PathBuf, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super")] PathBuf);

    /// For `#[serde(with = "path_text::option")]`.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path: &PathBuf| Wrapped(Path::to_owned(path))).serialize(serializer)
    }

    /// For `#[serde(with = "path_text::option")]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
    }
}
