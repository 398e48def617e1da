use bytes::BytesMut;

use super::error::innermost;

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than it may be.
    #[error(
        "it is longer than the {0} bytes that are accepted; make what the service sends shorter, or check what answers in \
         its place"
    )]
    TooLong(usize),
    /// The connection broke.
    #[error("it broke off: {0}")]
    Broken(String),
}

/// Reads a whole body of at most `limit` bytes.
pub async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<bytes::Bytes, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| BodyError::Broken(innermost(&error)))? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
