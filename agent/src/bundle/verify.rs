//! What content must have, and whether it has that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::digest::{Algorithm, Over, Wanted};

/// A digest that the content must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expectation {
    pub digest: Wanted,
    /// Who says so.
    pub origin: &'static str,
    pub expected: Vec<u8>,
    /// As the origin writes it.
    pub notation: Notation,
}

/// How a digest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Hex,
    Base64,
}

impl Expectation {
    /// Reads a digest in either notation; `None` if it is neither, or of another length.
    pub fn parse(digest: Wanted, origin: &'static str, text: &str) -> Option<Self> {
        let hexadecimal = hex::decode(text).ok().map(|bytes| (bytes, Notation::Hex));
        let base64 = || STANDARD.decode(text).ok().map(|bytes| (bytes, Notation::Base64));
        let fits = |(bytes, _): &(Vec<u8>, Notation)| bytes.len() == digest.algorithm.length();
        let (expected, notation) = hexadecimal.filter(fits).or_else(|| base64().filter(fits))?;
        Some(Self { digest, origin, expected, notation })
    }

    /// As the origin writes it: of parts, with their number after it.
    fn write(&self, digest: &[u8]) -> String {
        let written = match self.notation {
            Notation::Hex => hex::encode(digest),
            Notation::Base64 => STANDARD.encode(digest),
        };
        match &self.digest.over {
            Over::Whole => written,
            Over::Parts(lengths) => format!("{written}-{}", lengths.len()),
        }
    }
}

/// A difference between what must be and what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub algorithm: &'static str,
    pub origin: &'static str,
    pub expected: String,
    pub computed: String,
}

/// What was computed.
#[derive(Debug, Default)]
pub(super) struct Computed(pub Vec<(Wanted, Vec<u8>)>);

impl Computed {
    fn of(&self, wanted: &Wanted) -> &[u8] {
        self.0.iter().find(|(other, _)| other == wanted).map_or(&[], |(_, digest)| digest)
    }

    /// Of the whole content, in hexadecimal digits.
    pub fn sha256(&self) -> String {
        hex::encode(self.of(&Wanted::whole(Algorithm::Sha256)))
    }

    /// The first expectation that is not met.
    pub fn compare(&self, expectations: &[Expectation]) -> Result<(), Difference> {
        for expectation in expectations {
            let computed = self.of(&expectation.digest);
            if computed != expectation.expected {
                return Err(Difference {
                    algorithm: expectation.digest.algorithm.name(),
                    origin: expectation.origin,
                    expected: expectation.write(&expectation.expected),
                    computed: expectation.write(computed),
                });
            }
        }
        Ok(())
    }
}

/// Each digest that `expectations` need once, and the SHA-256 of the whole.
pub(super) fn wanted<'a>(expectations: impl Iterator<Item = &'a Expectation>) -> Vec<Wanted> {
    let mut all = vec![Wanted::whole(Algorithm::Sha256)];
    for Expectation { digest, .. } in expectations {
        if !all.contains(digest) {
            all.push(digest.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_in_both_notations() {
        let parse = |text| Expectation::parse(Wanted::whole(Algorithm::Crc32), "x", text);
        let (hex, base64) = (parse("cbf43926").unwrap(), parse("y/Q5Jg==").unwrap());
        assert_eq!(hex.expected, base64.expected);
        assert_eq!((hex.notation, base64.notation), (Notation::Hex, Notation::Base64));
        for bad in ["", "cbf439", "y/Q5Jg==-2", "not a digest"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_difference_is_told_as_the_origin_writes_it() {
        let whole = Wanted::whole(Algorithm::Crc32);
        let parts = Wanted { algorithm: Algorithm::Crc32, over: Over::Parts(vec![4, 4, 1]) };
        let expectations = [("cbf43926", &whole), ("y/Q5Jg==", &whole), ("y/Q5Jg==", &parts)]
            .map(|(text, digest)| Expectation::parse(digest.clone(), "x", text).unwrap());
        assert_eq!(wanted(expectations.iter()).len(), 3);
        let right = vec![0xcb, 0xf4, 0x39, 0x26];
        let computed = Computed(vec![(whole.clone(), right.clone()), (parts.clone(), right.clone())]);
        computed.compare(&expectations).unwrap();
        let computed = Computed(vec![(whole, vec![0; 4]), (parts, vec![0; 4])]);
        for (expectation, expected, found) in
            [(0, "cbf43926", "00000000"), (1, "y/Q5Jg==", "AAAAAA=="), (2, "y/Q5Jg==-3", "AAAAAA==-3")]
        {
            let difference = computed.compare(&expectations[expectation..=expectation]).unwrap_err();
            assert_eq!((&*difference.expected, &*difference.computed), (expected, found));
        }
        assert!(Computed::default().compare(&expectations).is_err(), "what was not computed is not right");
    }
}
