//! Entries of systemd's journal, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The journal's socket.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A way to the journal.
#[derive(Debug)]
pub struct JournalSocket(UnixDatagram);

impl JournalSocket {
    /// Fails where no journal listens.
    pub fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }

    /// Waits at most that long for a journal that is busy.
    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.0.set_write_timeout(Some(time))
    }

    /// Sends an entry of these fields, whose names are of capital letters and underscores. Fails for one that is longer than the
    /// socket takes.
    pub fn send<'a>(&self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> io::Result<()> {
        let mut entry = Vec::new();
        for (name, value) in fields {
            put(&mut entry, name, value);
        }
        self.0.send(&entry).map(drop)
    }
}

/// One field. A value with a line end goes with its length.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_with_their_length() {
        let mut entry = Vec::new();
        put(&mut entry, "A", "b");
        put(&mut entry, "C", "d\ne");
        assert_eq!(entry, b"A=b\nC\n\x03\0\0\0\0\0\0\0d\ne\n");
    }
}
