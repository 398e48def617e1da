//! The end of a fetch that was asked for.

use std::time::Duration;

use super::BundleError;
use crate::process::StopSignal;

/// How often a fetch that waits for a network looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Goes on with a fetch until it is over, or is to end.
pub(super) async fn unless_stopped<T>(
    stop: &StopSignal,
    fetch: impl Future<Output = Result<T, BundleError>>,
) -> Result<T, BundleError> {
    let asked = async {
        while !stop.is_given() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        done = fetch => done,
        () = asked => Err(BundleError::Stopped),
    }
}

/// Fails where a fetch is to end.
pub(super) fn look(stop: &StopSignal) -> Result<(), BundleError> {
    if stop.is_given() { Err(BundleError::Stopped) } else { Ok(()) }
}
