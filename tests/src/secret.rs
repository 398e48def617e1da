//! What nobody is to see, in every encoding that a log or a state file could have.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A secret, and all that it could be written as.
#[derive(Clone, Debug)]
pub struct Secret {
    name: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    /// A text that nobody is to see.
    pub fn new(name: &'static str, text: &str) -> Self {
        let bytes = text.as_bytes();
        let kept = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let percent = |all: bool, lower: bool| -> Vec<u8> {
            let one = |byte: &u8| match (!all && kept(byte), lower) {
                (true, _) => char::from(*byte).to_string(),
                (false, true) => format!("%{byte:02x}"),
                (false, false) => format!("%{byte:02X}"),
            };
            bytes.iter().map(one).collect::<String>().into_bytes()
        };
        let mut forms = vec![
            bytes.to_vec(),
            bytes.iter().rev().copied().collect(),
            hex::encode(bytes).into_bytes(),
            hex::encode_upper(bytes).into_bytes(),
            text.replace('/', "\\/").into_bytes(),
        ];
        forms.extend(
            [(false, false), (false, true), (true, false), (true, true)].map(|(all, lower)| percent(all, lower)),
        );
        for engine in [STANDARD, URL_SAFE] {
            forms.extend((0..3).map(|before| base64_within(&engine, bytes, before)));
        }
        Self { name, forms }
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Which of its forms a text holds.
    pub fn in_text(&self, text: &[u8]) -> Option<&[u8]> {
        self.forms.iter().map(Vec::as_slice).find(|form| memchr::memmem::find(text, form).is_some())
    }
}

/// The characters that `bytes` have in any base64 in which so many bytes come before them: those that they share
/// with what is before and after are left out.
fn base64_within(engine: &impl Engine, bytes: &[u8], before: usize) -> Vec<u8> {
    let whole = [&vec![0; before], bytes].concat();
    let encoded = engine.encode(&whole);
    let from = (before * 8).div_ceil(6);
    let to = whole.len() * 8 / 6;
    encoded.as_bytes()[from..to].to_vec()
}
