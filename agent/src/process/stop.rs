use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop what is being done, for work that looks at it now and then and waits for nothing else.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Asks for the end.
    pub fn give(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Takes that back: what begins from now on may run.
    pub fn withdraw(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether the end was asked for.
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
