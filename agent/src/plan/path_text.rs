//! Paths in JSON: a string where the path is UTF-8, else an object with its bytes in hexadecimal.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Utf8(String),
    Bytes { hex: String },
}

/// For `#[serde(with = "path_text")]`.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => Text::Bytes { hex: hex::encode(path.as_os_str().as_bytes()) }.serialize(serializer),
    }
}

/// For `#[serde(with = "path_text")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    match Text::deserialize(deserializer)? {
        Text::Utf8(text) => Ok(text.into()),
        Text::Bytes { hex } => {
            let bytes = hex::decode(hex).map_err(serde::de::Error::custom)?;
            Ok(OsString::from_vec(bytes).into())
        }
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
