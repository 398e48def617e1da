//! Debian's tinyproxy as a forward proxy, with a password or without.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::place::Place;
use crate::program::Program;
use crate::until::until_true;
use crate::web::free_port;

/// Longest time for it to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom a proxy lets through.
#[derive(Clone, Copy, Debug)]
pub enum Admits<'a> {
    /// Everybody on this machine.
    Everybody,
    /// Who knows this name and this password.
    Knowing(&'a str, &'a str),
}

/// A running tinyproxy; it ends when this is dropped.
#[derive(Debug)]
pub struct ForwardProxy {
    port: u16,
    log: PathBuf,
    _program: Program,
}

impl ForwardProxy {
    /// Whether there is a tinyproxy on this machine.
    pub fn is_installed() -> bool {
        Command::new("tinyproxy").arg("-v").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Starts one on a free loopback port.
    pub fn start(place: &Place, name: &str, admits: Admits<'_>) -> Result<Self> {
        let port = free_port()?;
        // Beside the place's logs: no agent writes it, and it tells of nothing but connections.
        let directory = place.directory(&format!("proxies/{name}"))?;
        let (log, file) = (directory.join("requests"), directory.join("tinyproxy.conf"));
        let mut settings = format!(
            "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 600\nMaxClients 100\nLogLevel Connect\nLogFile \"{}\"\n",
            log.display()
        );
        if let Admits::Knowing(user, password) = admits {
            settings.push_str(&format!("BasicAuth {user} {password}\n"));
        }
        fs::write(&file, settings)?;
        let mut program = Program::start(place, name, Command::new("tinyproxy").args(["-d", "-c"]).arg(&file))?;
        until_true("tinyproxy to listen", PATIENCE, || {
            program.must_run()?;
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        })?;
        Ok(Self { port, log, _program: program })
    }

    /// Its address, for who says so much about himself.
    pub fn address(&self, credentials: &str) -> String {
        let at = if credentials.is_empty() { "" } else { "@" };
        format!("http://{credentials}{at}127.0.0.1:{}", self.port)
    }

    /// Host and port of each connection that it was asked to make, in order.
    pub fn asked(&self) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let asked = log.lines().filter_map(|line| line.split_once("): CONNECT ")?.1.split_whitespace().next());
        asked.map(str::to_owned).collect()
    }
}
