//! The address that `serve` listens on, as operators write it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// Reads `PORT` (on every address), `ADDRESS:PORT` or `NAME:PORT`.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    let forms = "give PORT, ADDRESS:PORT or NAME:PORT, such as 8443, 127.0.0.1:8443, [::]:8443 or localhost:8443";
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        return Err(format!("there is no port in it: {forms}"));
    }
    let found: Vec<SocketAddr> =
        text.to_socket_addrs().map_err(|error| format!("the name cannot be resolved ({error}): {forms}"))?.collect();
    // Where a name has both, most clients of a test machine try IPv4.
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.copied().ok_or_else(|| format!("the name has no address: {forms}"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_address_is_read_as_operators_write_it() {
        for (text, address) in [
            ("8443", "0.0.0.0:8443"),
            (":8443", "0.0.0.0:8443"),
            ("127.0.0.1:8443", "127.0.0.1:8443"),
            ("[::]:8443", "[::]:8443"),
            ("localhost:8443", "127.0.0.1:8443"),
        ] {
            assert_eq!(parse(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", "localhost", "127.0.0.1", "::1", "https://localhost:8443", "localhost:99999", "99999"] {
            assert!(parse(text).unwrap_err().contains("NAME:PORT"), "{text}");
        }
    }
}
