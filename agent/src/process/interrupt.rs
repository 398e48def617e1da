use nix::sys::signal::{SigSet, Signal, raise};

use super::{Result, system};

/// Has something cleaned up when somebody ends this process by INT, TERM or HUP; the signal then ends it
/// as it would have. To be called before there is a second thread.
pub fn on_interrupt(clean_up: impl FnOnce() + Send + 'static) -> Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().map_err(system("block signals"))?;
    let wait = move || {
        let Ok(signal) = signals.wait() else { return };
        clean_up();
        // Whether or not this works there is nobody left to tell.
        let _ = signals.thread_unblock();
        let _ = raise(signal);
    };
    let started = std::thread::Builder::new().name("interrupt".to_owned()).spawn(wait);
    started.map(drop).map_err(|source| super::Error::System { action: "start a thread", source })
}
