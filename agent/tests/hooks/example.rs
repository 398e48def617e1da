//! The scripts of `appspec-examples/hello-web`, at another place and port. Their files are copied here as an
//! Install would.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use slipway_agent::ids::EventName;
use slipway_agent::outcome::{ErrorCode, Outcome};

use crate::fixture::{Host, failure, lives, success_log};

struct Web {
    place: tempfile::TempDir,
    port: u16,
}

impl Web {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { place: tempfile::tempdir().unwrap(), port }
    }

    fn destination(&self) -> PathBuf {
        self.place.path().join("hello")
    }

    fn pid_file(&self) -> PathBuf {
        self.place.path().join("hello.state/pid")
    }

    /// A host that has unpacked this version.
    fn unpack(&self, version: &str) -> Host {
        let host = Host::new();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../appspec-examples/hello-web").join(version);
        self.copy(&example, host.revision.root());
        host
    }

    fn copy(&self, from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let (from, to) = {
                let entry = entry.unwrap();
                (entry.path(), to.join(entry.file_name()))
            };
            if from.is_dir() {
                self.copy(&from, &to);
                continue;
            }
            let text = std::fs::read_to_string(&from).unwrap();
            let text = text.replace("/opt/hello-web", &self.destination().display().to_string());
            std::fs::write(&to, text.replace("PORT=8080", &format!("PORT={}", self.port))).unwrap();
            let mode = std::fs::metadata(&from).unwrap().permissions().mode();
            std::fs::set_permissions(&to, PermissionsExt::from_mode(mode)).unwrap();
        }
    }

    fn install(&self, host: &Host) {
        let _ = std::fs::remove_dir_all(self.destination());
        self.copy(&host.revision.root().join("app"), &self.destination());
    }

    fn page(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    }

    fn pid(&self) -> i32 {
        let text = crate::fixture::read(&self.pid_file());
        text.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn event(host: &mut Host, event: &str, script: &str) -> Outcome {
    host.event = EventName::parse(event).unwrap();
    host.run(&[host.entry(script)])
}

#[test]
fn versions_follow_each_other_and_the_third_does_not_validate() {
    let web = Web::new();
    let mut before: Option<Host> = None;
    for version in ["v1", "v2", "v3"] {
        let mut host = web.unpack(version);
        if let Some(mut before) = before.take() {
            success_log(event(&mut before, "ApplicationStop", "scripts/stop.sh"));
            assert!(web.page().is_err());
        }
        success_log(event(&mut host, "BeforeInstall", "scripts/prepare.sh"));
        web.install(&host);
        success_log(event(&mut host, "AfterInstall", "scripts/check.sh"));
        success_log(event(&mut host, "ApplicationStart", "scripts/start.sh"));
        let number = version.trim_start_matches('v');
        let valid = event(&mut host, "ValidateService", "scripts/validate.sh");
        if version == "v3" {
            let failure = failure(valid);
            assert_eq!((failure.code, failure.script.as_str()), (ErrorCode::ScriptFailed, "scripts/validate.sh"));
            assert!(failure.log.contains("does not say 'This is version 3.'"), "{}", failure.log);
        } else {
            success_log(valid);
            assert!(web.page().unwrap().contains(&format!("This is version {number}.")));
        }
        before = Some(host);
    }
    let mut last = before.unwrap();
    success_log(event(&mut last, "Stop1", "scripts/stop.sh"));
    assert!(success_log(event(&mut last, "Stop2", "scripts/stop.sh")).contains("does not run"));
}

#[test]
fn a_start_replaces_what_still_runs_and_a_stop_spares_strangers() {
    let web = Web::new();
    let mut host = web.unpack("v1");
    success_log(event(&mut host, "BeforeInstall", "scripts/prepare.sh"));
    web.install(&host);
    success_log(event(&mut host, "Start1", "scripts/start.sh"));
    let first = web.pid();
    success_log(event(&mut host, "Start2", "scripts/start.sh"));
    let second = web.pid();
    assert!(!lives(first) && lives(second));
    // The number of this very process, with another's start time.
    let pid_file = std::fs::read_to_string(web.pid_file()).unwrap();
    std::fs::write(web.pid_file(), format!("{} 1\n", std::process::id())).unwrap();
    assert!(success_log(event(&mut host, "Stop1", "scripts/stop.sh")).contains("does not run"));
    std::fs::write(web.pid_file(), pid_file).unwrap();
    success_log(event(&mut host, "Stop2", "scripts/stop.sh"));
    assert!(!lives(second));
}

#[test]
fn a_port_that_is_taken_is_told() {
    let web = Web::new();
    let _taken = TcpListener::bind(("127.0.0.1", web.port)).unwrap();
    let mut host = web.unpack("v2");
    success_log(event(&mut host, "BeforeInstall", "scripts/prepare.sh"));
    web.install(&host);
    let failure = failure(event(&mut host, "ApplicationStart", "scripts/start.sh"));
    assert!(failure.log.contains("Address already in use"), "{}", failure.log);
}
