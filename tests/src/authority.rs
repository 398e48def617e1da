//! An authority of a test's own, and what it certifies. Made by openssl.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::place::Place;
use crate::program;

/// A CA with one certificate for `localhost` and 127.0.0.1.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
}

impl Authority {
    /// Whether there is an openssl on this machine.
    pub fn is_possible() -> bool {
        Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Makes it.
    pub fn new(place: &Place, name: &str) -> Result<Self> {
        let directory = place.directory(&format!("authorities/{name}"))?;
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        std::fs::write(directory.join("names"), names)?;
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for arguments in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN={name} -days 9"),
            format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile names -out server.crt"
                .to_owned(),
        ] {
            let mut command = Command::new("openssl");
            command.args(arguments.split(' ')).current_dir(&directory).stderr(Stdio::piped());
            program::run(place, &mut command)?;
        }
        let both = ["server.crt", "server.key"].map(|file| std::fs::read(directory.join(file)));
        let [certificate, key] = both;
        std::fs::write(directory.join("server.pem"), [certificate?, key?].concat())?;
        Ok(Self { directory })
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// What it has certified, with the key.
    pub fn server(&self) -> PathBuf {
        self.directory.join("server.pem")
    }
}

/// The files of certificates that this machine's programs trust, those that there are.
pub fn system_store() -> Vec<&'static Path> {
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"]
        .map(Path::new)
        .into_iter()
        .filter(|path| path.exists())
        .collect()
}
