//! What is said to the commands service, and what it answers, for people: the setting `log_aws_wire`.
//!
//! What nobody is to see is left out: signatures, session tokens wherever the answer repeats them, and the
//! specification of a deployment, which can hold a token for GitHub inside its signed envelope.

use ::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ::http::{HeaderMap, StatusCode};
use serde_json::Value;

/// Longest body that is shown, in bytes.
const SHOWN: usize = 16 << 10;
/// Headers whose values nobody is to see.
const SECRET_HEADERS: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("x-amz-security-token")];
/// Members of JSON that hold a specification.
const ENVELOPES: [&str; 2] = ["GenericEnvelope", "VariantEnvelope"];
/// A member of a specification.
const TOKEN: &str = "GitHubAccessToken";
/// Stands where something was left out.
const LEFT_OUT: &str = "(secret)";

/// Whether requests and answers are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireLog {
    /// They are, at the level of information.
    Written,
    /// They are not.
    Off,
}

/// What of a request nobody is to see, and its answer may repeat: services do that where a signature is wrong.
pub(super) struct Unseen(Vec<String>);

/// A request that was sent, for its answer.
pub(super) struct Said {
    operation: String,
    wire: WireLog,
    unseen: Unseen,
}

impl WireLog {
    /// Logs a request, if that is wanted.
    pub(super) fn request(self, operation: &str, request: &reqwest::Request) -> Said {
        let unseen = Unseen::of(request.headers());
        if self == Self::Written {
            let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
            tracing::info!(
                operation,
                url = %request.url(),
                headers = unseen.headers(request.headers()),
                body = unseen.body(body),
                "asked the commands service"
            );
        }
        Said { operation: operation.to_owned(), wire: self, unseen }
    }
}

impl Said {
    /// Logs the answer, if that is wanted.
    pub(super) fn answer(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        if self.wire == WireLog::Written {
            tracing::info!(
                operation = self.operation,
                status = status.as_u16(),
                headers = self.unseen.headers(headers),
                body = self.unseen.body(body),
                "the commands service answered"
            );
        }
    }

    /// An answer that ends up in a message, without what nobody is to see.
    pub(super) fn tellable(&self, body: &[u8]) -> Vec<u8> {
        self.unseen.left_out_of(&String::from_utf8_lossy(body)).into_bytes()
    }
}

impl Unseen {
    fn of(headers: &HeaderMap) -> Self {
        let secret = headers.iter().filter(|(name, _)| SECRET_HEADERS.contains(name));
        let plain = secret.filter_map(|(_, value)| value.to_str().ok()).filter(|text| !text.is_empty());
        // JSON may be written with its slashes escaped.
        Self(plain.flat_map(|text| [text.replace('/', "\\/"), text.to_owned()]).collect())
    }

    fn headers(&self, headers: &HeaderMap) -> String {
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = match SECRET_HEADERS.contains(name) || value.is_sensitive() {
                true => LEFT_OUT.to_owned(),
                false => self.left_out_of(&String::from_utf8_lossy(value.as_bytes())),
            };
            format!("{name}: {value}")
        };
        headers.iter().map(shown).collect::<Vec<_>>().join("; ")
    }

    fn body(&self, body: &[u8]) -> String {
        let text = match serde_json::from_slice::<Value>(body) {
            Ok(mut value) => {
                redact(&mut value);
                value.to_string()
            }
            // Half of an envelope is not found in it. What is not of the protocol has none.
            Err(_) if body.trim_ascii_start().starts_with(b"<") => String::from_utf8_lossy(body).into_owned(),
            Err(_) => format!("({} bytes that are no JSON, not shown)", body.len()),
        };
        let text = self.left_out_of(&text);
        match text.char_indices().map(|(at, _)| at).find(|at| *at >= SHOWN) {
            Some(end) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
            None => text,
        }
    }

    fn left_out_of(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), LEFT_OUT))
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Object(envelope) if ENVELOPES.contains(&name.as_str()) => {
                        if let Some(payload) = envelope.get_mut("Payload") {
                            let length = payload.as_str().map_or(0, str::len);
                            *payload = format!("({length} bytes, not shown)").into();
                        }
                    }
                    other if name == TOKEN => *other = LEFT_OUT.into(),
                    other => redact(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Unseen {
        Unseen(Vec::new())
    }

    #[test]
    fn what_an_answer_repeats_of_a_secret_is_left_out() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-security-token", HeaderValue::from_static("IQoJtoken/=="));
        let said = Said { operation: "x".to_owned(), wire: WireLog::Off, unseen: Unseen::of(&headers) };
        for body in [
            r#"{"message":"The canonical string should have been x-amz-security-token:IQoJtoken/=="}"#,
            r#"{"message":"The canonical string should have been x-amz-security-token:IQoJtoken\/=="}"#,
            "<html>IQoJtoken/==</html>",
        ] {
            let told = String::from_utf8(said.tellable(body.as_bytes())).unwrap();
            for shown in [said.unseen.body(body.as_bytes()), told] {
                assert!(!shown.contains("IQoJ") && shown.contains(LEFT_OUT), "{shown}");
            }
        }
    }

    #[test]
    fn specifications_and_tokens_are_not_shown_and_the_rest_is() {
        let body = br#"{"DeploymentSystem":"CodeDeploy","DeploymentSpecification":{"GenericEnvelope":
            {"Format":"PKCS7/JSON","Payload":"c2VjcmV0"},"VariantEnvelope":null},"x":[{"GitHubAccessToken":"ghp_1"}]}"#;
        let shown = none().body(body);
        assert!(!shown.contains("c2Vj") && !shown.contains("ghp_"), "{shown}");
        for part in ["CodeDeploy", "PKCS7/JSON", "(8 bytes, not shown)", LEFT_OUT] {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
        // What a hook has said is reported in the same member of another one.
        let report = br#"{"Diagnostics":{"Format":"JSON","Payload":"{\"error_code\":0}"}}"#;
        assert!(none().body(report).contains("error_code"));
    }

    #[test]
    fn headers_are_shown_without_what_opens_doors() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("AWS4-HMAC-SHA256 Signature=1f"));
        headers.insert("x-amz-security-token", HeaderValue::from_static("IQoJ"));
        headers.insert("x-amz-date", HeaderValue::from_static("20261120T100000Z"));
        let shown = none().headers(&headers);
        assert!(!shown.contains("1f") && !shown.contains("IQoJ") && shown.contains("x-amz-date: 2026"), "{shown}");
    }

    #[test]
    fn what_is_neither_of_the_protocol_nor_a_page_is_only_counted() {
        assert_eq!(none().body(br#"{"GitHubAccessToken":"ghp_1"#), "(27 bytes that are no JSON, not shown)");
        assert_eq!(none().body(b" <html>gone</html>"), " <html>gone</html>");
    }

    #[test]
    fn a_long_body_is_cut_between_characters() {
        let shown = none().body(format!("<html>{}", "ä".repeat(SHOWN)).as_bytes());
        assert!(shown.len() < SHOWN + 60 && shown.ends_with(&format!("({} bytes in all)", 2 * SHOWN + 6)));
    }
}
