//! A wire that breaks: TCP connections to a service, cut at certain bytes of what comes back, and counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// A listener that passes every connection on; it ends when this is dropped.
pub struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
}

/// What came back so far, over all connections.
struct State {
    passed: u64,
    /// After which bytes a connection is cut, the next one last.
    cuts: Vec<u64>,
    connections: u64,
}

impl Wire {
    /// Passes on to the host and port of `endpoint`. Whichever connection brings the byte after one of `cuts` is
    /// cut before it.
    pub fn to(endpoint: &str, mut cuts: Vec<u64>) -> Result<Self> {
        let upstream: SocketAddr = endpoint.trim_start_matches("https://").parse().context("the service's address")?;
        cuts.sort_unstable_by(|one, other| other.cmp(one));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { passed: 0, cuts, connections: 0 }));
        let ended = Arc::new(AtomicBool::new(false));
        let (passing, over) = (Arc::clone(&state), Arc::clone(&ended));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // A client whose service is gone sees its connection closed.
                let _ = pass(client, upstream, &passing);
            }
        });
        Ok(Self { address, state, ended })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Bytes that came back, TLS and heads and all.
    pub fn passed(&self) -> u64 {
        lock(&self.state).passed
    }

    /// Cuts that were not made yet.
    pub fn cuts_left(&self) -> usize {
        lock(&self.state).cuts.len()
    }

    /// Connections that were made.
    pub fn connections(&self) -> u64 {
        lock(&self.state).connections
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The last connection wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn pass(client: TcpStream, upstream: SocketAddr, state: &Arc<Mutex<State>>) -> std::io::Result<()> {
    let service = TcpStream::connect(upstream)?;
    lock(state).connections += 1;
    let (from_client, to_service) = (client.try_clone()?, service.try_clone()?);
    thread::spawn(move || copy(from_client, to_service, |count| (count, true)));
    let state = Arc::clone(state);
    thread::spawn(move || {
        copy(service, client, |count| {
            let mut state = lock(&state);
            let cut = state.cuts.last().map(|cut| usize::try_from(cut.saturating_sub(state.passed)).unwrap_or(count));
            let kept = cut.filter(|cut| *cut < count);
            if kept.is_some() {
                state.cuts.pop();
            }
            state.passed += kept.unwrap_or(count) as u64;
            (kept.unwrap_or(count), kept.is_none())
        });
    });
    Ok(())
}

/// Copies until the end, or until `allow` says how much of a piece passes, and that nothing more does.
fn copy(mut from: TcpStream, mut to: TcpStream, mut allow: impl FnMut(usize) -> (usize, bool)) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let (count, goes_on) = allow(count);
        if to.write_all(&buffer[..count]).is_err() || !goes_on {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
