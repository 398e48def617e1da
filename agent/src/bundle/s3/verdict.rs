//! What is known of an object beforehand, and whether what came is that.

use super::answer::PartsClaim;
use super::download::Head;
use super::exchange::Exchange;
use super::parts::Parts;
use crate::bundle::BundleError;
use crate::bundle::arrival::Destination;
use crate::bundle::digest::{Algorithm, Running, Wanted};
use crate::bundle::stopped::look;
use crate::bundle::verify::{Computed, Difference, Expectation, wanted};
use crate::disk;

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// What the content is held to.
pub(super) struct Known {
    pub expectations: Vec<Expectation>,
    /// Of these, those whose parts may be of other lengths than was assumed.
    assumed: Vec<(Expectation, PartsClaim)>,
    /// Of these, those that may be over the whole: as they are then.
    or_whole: Vec<(Expectation, Expectation)>,
}

impl Known {
    /// Whether a SHA-256 is among it.
    pub fn has_sha256(&self) -> bool {
        self.expectations.iter().any(|expectation| expectation.digest.algorithm == Algorithm::Sha256)
    }

    /// Each digest that has to be computed.
    pub fn wanted(&self) -> Vec<Wanted> {
        wanted(self.expectations.iter().chain(self.or_whole.iter().map(|(_, whole)| whole)))
    }
}

impl Exchange<'_> {
    /// Everything that can be known of the object by its first answer, and by asking where its parts begin.
    pub async fn known(&self, head: &Head) -> Result<Known, BundleError> {
        let mut known = Known { expectations: head.claims.whole.clone(), assumed: Vec::new(), or_whole: Vec::new() };
        for claim in &head.claims.parts {
            let parts = match head.length {
                Some(length) => self.parts(claim, length).await?,
                None => Parts::Unknown,
            };
            let (expectation, is_assumed) = match parts {
                Parts::Told(lengths) => (claim.expectation(lengths), false),
                Parts::Assumed(lengths) => (claim.expectation(lengths), true),
                Parts::Unknown => (None, false),
            };
            let Some(expectation) = expectation else {
                let (object, header) = (self.object.shown(), claim.origin);
                tracing::warn!(
                    bundle = object,
                    header,
                    "a checksum over parts is not verified: their lengths are not told"
                );
                continue;
            };
            if is_assumed {
                known.assumed.push((expectation.clone(), claim.clone()));
            }
            known.or_whole.extend(claim.over_the_whole().map(|whole| (expectation.clone(), whole)));
            known.expectations.push(expectation);
        }
        Ok(known)
    }

    /// Holds what was computed to what is known. Answers who is content with it.
    pub async fn verify(
        &self,
        known: &Known,
        computed: &Computed,
        place: &Destination<'_>,
        length: u64,
    ) -> Result<Vec<&'static str>, BundleError> {
        for expectation in &known.expectations {
            let Err(difference) = computed.compare(std::slice::from_ref(expectation)) else { continue };
            let whole = known.or_whole.iter().find(|(over_parts, _)| over_parts == expectation).map(|(_, whole)| whole);
            if whole.is_some_and(|whole| computed.compare(std::slice::from_ref(whole)).is_ok()) {
                continue;
            }
            let claim = known.assumed.iter().find(|(assumed, _)| assumed == expectation).map(|(_, claim)| claim);
            let Some(claim) = claim else { return Err(self.mismatch(difference)) };
            match self.each_part(claim, length).await? {
                Parts::Told(lengths) => self.verify_parts(claim, lengths, place, length)?,
                Parts::Assumed(_) | Parts::Unknown => return Err(self.mismatch(difference)),
            }
        }
        Ok(known.expectations.iter().map(|expectation| expectation.origin).collect())
    }

    /// Reads the file once more, by the parts as they really are.
    fn verify_parts(
        &self,
        claim: &PartsClaim,
        lengths: Vec<u64>,
        place: &Destination<'_>,
        length: u64,
    ) -> Result<(), BundleError> {
        let Some(expectation) = claim.expectation(lengths) else { return Ok(()) };
        let mut running = Running::new(&expectation.digest);
        let file = place.read()?;
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        while at < length {
            look(place.stop())?;
            let count = BUFFER.min(usize::try_from(length - at).unwrap_or(BUFFER));
            let piece = buffer.get_mut(..count).unwrap_or_default();
            disk::read_at(&file, place.path(), at, piece).map_err(BundleError::Disk)?;
            running.update(piece);
            at += count as u64;
        }
        let computed = Computed(vec![(expectation.digest.clone(), running.finish())]);
        computed.compare(&[expectation]).map_err(|difference| self.mismatch(difference))
    }

    fn mismatch(&self, difference: Difference) -> BundleError {
        BundleError::Mismatch {
            object: self.object.shown(),
            algorithm: difference.algorithm,
            origin: difference.origin,
            expected: difference.expected,
            computed: difference.computed,
        }
    }
}
