//! `doctor`: each thing that can be wrong with a host, made wrong.

mod access;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::binaries::repository;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;
use slipway_tests::proxy::{Answer, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::web::free_port;

use crate::clock::Clock;
use crate::expect::{contains, succeeded};
use crate::space::SmallDisk;

/// What `doctor --json` says, held to its exit status.
struct Diagnosis(Value);

impl Diagnosis {
    fn of(place: &Place, agent: &Agent<'_>) -> Result<Self> {
        Self::with(place, agent, |command| command)
    }

    fn asking(place: &Place, agent: &Agent<'_>, arguments: &[&str]) -> Result<Self> {
        Self::with(place, agent, |command| command.args(arguments))
    }

    fn with(place: &Place, agent: &Agent<'_>, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Result<Self> {
        let mut command = agent.command(&["doctor", "--json"])?;
        let output = program::output(place, prepare(&mut command))?;
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
        let failed = report["checks"].as_array().context("a list of checks")?.iter().any(|row| row["result"] == "fail");
        ensure!(report["healthy"] == !failed, "{report}");
        ensure!(output.status.code() == Some(i32::from(failed)), "{:?} for {report}", output.status);
        Ok(Self(report))
    }

    fn row(&self, check: &str) -> Result<&Value> {
        let rows = self.0["checks"].as_array().context("a list of checks")?;
        rows.iter().find(|row| row["check"] == check).with_context(|| format!("{check} is not in {}", self.0))
    }

    /// Those checks fail, and no other.
    fn only_fails(&self, checks: &[&str]) -> Result<()> {
        let rows = self.0["checks"].as_array().context("a list of checks")?;
        let failed: Vec<_> = rows.iter().filter(|row| row["result"] == "fail").map(|row| &row["check"]).collect();
        ensure!(failed == checks, "{failed:?} fail, expected {checks:?}: {}", self.0);
        Ok(())
    }

    fn is(&self, check: &str, result: &str) -> Result<()> {
        let row = self.row(check)?;
        ensure!(row["result"] == result, "{row}, expected {result}");
        ensure!(row["remedy"].is_string() == (result == "fail"), "{row}");
        Ok(())
    }

    /// A check that failed; what was found and what to do, in one text.
    fn failed(&self, check: &str, parts: &[&str]) -> Result<()> {
        self.is(check, "fail")?;
        let row = self.row(check)?;
        contains(&format!("{} {}", row["found"], row["remedy"]), parts)
    }
}

#[test]
fn a_host_that_can_deploy_is_healthy() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "one", &[]), BundleKind::Tgz)?;
        succeeded(&fleet.group.deploy(&bundle)?)?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        let rows = [
            "configuration",
            "clock",
            "name of commands service",
            "name of S3",
            "TLS of commands service",
            "TLS of S3",
            "endpoint of commands service",
            "endpoint of S3",
            "credentials",
            "permission to poll",
            "bundle in S3",
            "state",
            "space in root_dir",
        ];
        for check in rows {
            diagnosis.is(check, "pass")?;
        }
        diagnosis.is("permissions", if Uid::effective().is_root() { "pass" } else { "not_tried" })?;
        let text = fleet.agent.output(&["doctor"])?;
        let said = String::from_utf8_lossy(&text.stdout).into_owned();
        contains(&said, &["ok         configuration", "0 failed"])?;
        contains(&diagnosis.row("bundle in S3")?.to_string(), &["s3://bundles/blue/v1", "may be read"])?;
        // It took nothing away from the daemon.
        succeeded(&fleet.group.deploy(&bundle)?)?;
        fleet.agent.stop()
    })
}

#[test]
fn nothing_is_tried_with_a_configuration_that_is_wrong() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("20-bad.yml", "max_revisions: 0\n")?;
        let diagnosis = Diagnosis::of(place, &agent)?;
        diagnosis.failed("configuration", &["20-bad.yml:1", "max_revisions"])?;
        for check in ["clock", "name of services", "TLS of services", "endpoint of services", "space", "permissions"] {
            diagnosis.is(check, "not_tried")?;
        }
        Ok(())
    })
}

#[test]
fn without_an_endpoint_or_a_region_nobody_is_asked() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("20-identity.yml", &format!("on_premises_config_file: {}/none\n", place.path().display()))?;
        let diagnosis = Diagnosis::of(place, &agent)?;
        for check in ["clock", "name of S3", "TLS of S3", "endpoint of commands service"] {
            diagnosis.is(check, "not_tried")?;
        }
        diagnosis.only_fails(&["credentials"])?;
        contains(&diagnosis.row("endpoint of S3")?.to_string(), &["region"])?;
        diagnosis.failed("credentials", &["AWS_HOST_IDENTIFIER", "AWS_REGION"])
    })
}

/// Answers with another time.
struct OtherTime;

impl Rule for OtherTime {
    fn answer(&self, _: &Passing, mut answer: Answer) -> Answer {
        answer.headers.insert("date", http::HeaderValue::from_static("Fri, 20 Nov 2020 10:00:00 GMT"));
        answer
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_by_the_services() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let proxy = Proxy::start(&fleet.control, OtherTime)?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.failed("clock", &["ahead of the service's", "synchronise"])?;
        diagnosis.is("endpoint of S3", "pass")
    })
}

#[test]
fn ten_minutes_are_too_many() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let Some(clock) = Clock::new(place)? else { return Ok(()) };
        for (offset, side) in [("+10m", "ahead of"), ("-10m", "behind")] {
            clock.set(offset)?;
            let diagnosis = Diagnosis::with(place, &fleet.agent, |command| clock.give(command))?;
            diagnosis.only_fails(&["clock"])?;
            diagnosis.failed("clock", &[side, "synchronise"])?;
            contains(&diagnosis.row("permission to poll")?.to_string(), &["not_tried", "the clock"])?;
        }
        clock.set("+1m")?;
        Diagnosis::with(place, &fleet.agent, |command| clock.give(command))?.only_fails(&[])
    })
}

#[test]
fn a_full_disk_is_named() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let Some(_disk) = SmallDisk::mount(place, &fleet.agent.root())? else { return Ok(()) };
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.only_fails(&["space in root_dir"])?;
        diagnosis.failed("space in root_dir", &["MiB", "max_revisions"])
    })
}

#[test]
fn a_name_that_does_not_resolve_leaves_the_rest_untried() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        fleet.agent.configure("20-name.yml", "deploy_control_endpoint: https://deploy.invalid:8443\n")?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.failed("name of commands service", &["deploy.invalid:8443", "/etc/resolv.conf"])?;
        diagnosis.only_fails(&["name of commands service"])?;
        diagnosis.is("TLS of commands service", "not_tried")?;
        diagnosis.is("endpoint of commands service", "not_tried")?;
        // The other one is there, and has the time.
        diagnosis.is("endpoint of S3", "pass")?;
        diagnosis.is("clock", "pass")
    })
}

#[test]
fn an_unknown_authority_is_a_failure_of_tls() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let other = repository().join("agent/src/bundle/tests/unused-root.pem");
        fleet.agent.configure("20-ca.yml", &format!("ca_bundle: {}\n", other.display()))?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.is("name of commands service", "pass")?;
        diagnosis.failed("TLS of commands service", &["TLS failed", "ca_bundle"])?;
        diagnosis.only_fails(&["TLS of commands service", "TLS of S3"])?;
        diagnosis.is("endpoint of commands service", "not_tried")?;
        diagnosis.is("clock", "not_tried")?;

        fleet.agent.configure("20-ca.yml", &format!("ca_bundle: {}/missing.pem\n", place.path().display()))?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.failed("TLS of S3", &["missing.pem", "ca_bundle"])?;
        diagnosis.is("endpoint of S3", "not_tried")
    })
}

#[test]
fn an_endpoint_where_nobody_listens_is_named() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let port = free_port()?;
        fleet.agent.configure("20-port.yml", &format!("s3_endpoint_override: https://127.0.0.1:{port}\n"))?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.failed("endpoint of S3", &[&format!("127.0.0.1:{port}"), "firewalls"])?;
        diagnosis.is("TLS of S3", "not_tried")?;
        diagnosis.is("endpoint of commands service", "pass")
    })
}

#[test]
fn a_proxy_that_wants_a_password_is_known_by_that() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        // It lives as long as the test's process, and answers whoever comes.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
                );
            }
        });
        fleet.agent.configure("20-proxy.yml", &format!("control_proxy_uri: http://me:hunter2@127.0.0.1:{port}\n"))?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        let parts = ["proxy authorization required", "control_proxy_uri", "user and password"];
        diagnosis.failed("endpoint of commands service", &parts)?;
        diagnosis.only_fails(&["endpoint of commands service"])?;
        diagnosis.is("TLS of commands service", "not_tried")?;
        diagnosis.is("endpoint of S3", "pass")?;
        ensure!(!diagnosis.0.to_string().contains("hunter2"));
        // A service without TLS is asked of the proxy itself, which answers in its own name.
        fleet.agent.configure("21-http.yml", "deploy_control_endpoint: http://deploy.invalid/\n")?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.failed("endpoint of commands service", &["407", "control_proxy_uri"])
    })
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

#[test]
fn what_others_could_change_or_read_is_named_with_the_command_that_mends_it() -> Result<()> {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root looks at permissions");
        return Ok(());
    }
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let (root, conf) = (fleet.agent.root(), fleet.agent.home().join("conf"));
        let identity = conf.join("codedeploy.onpremises.yml");
        let key = place.path().join("key.pub");
        fs::copy(repository().join("agent/src/bundle/signature/tests/first.pub"), &key)?;
        fleet.agent.configure("30-keys.yml", &format!("trusted_bundle_keys: {}\n", key.display()))?;
        let rows = [
            (root.clone(), 0o777, 0o755, "chmod go-w"),
            (root.clone(), 0o700, 0o755, "chmod o+x"),
            (fleet.agent.home().to_owned(), 0o775, 0o755, "chmod go-w"),
            (identity, 0o644, 0o600, "chmod go="),
            (conf.join("codedeployagent.yml"), 0o666, 0o644, "chmod go-w"),
            (conf.join("conf.d/10-place.yml"), 0o664, 0o644, "chmod go-w"),
            (key, 0o646, 0o644, "chmod go-w"),
        ];
        for (path, wrong, right, remedy) in rows {
            set_mode(&path, wrong)?;
            let shown = path.display().to_string();
            let diagnosis = Diagnosis::of(place, &fleet.agent)?;
            diagnosis
                .failed("permissions", &[&format!("{shown} has mode {wrong:04o}"), &format!("{remedy} {shown}")])?;
            set_mode(&path, right)?;
        }
        Diagnosis::of(place, &fleet.agent)?.is("permissions", "pass")
    })
}

#[test]
fn a_unit_that_is_not_enabled_or_not_active_is_a_failure() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let programs = place.directory("bin")?;
        let path = format!("{}:/usr/bin:/bin", programs.display());
        let answers = |running: &str, enabled: &str, active: &str| -> Result<Diagnosis> {
            let script = format!(
                "#!/bin/sh\ncase \"$*\" in\n  is-system-running) echo {running} ;;\n  \
                 'is-enabled slipway-agent.service') echo {enabled} ;;\n  \
                 'is-active slipway-agent.service') echo {active}; exit 3 ;;\n  *) exit 9 ;;\nesac\n"
            );
            let file = programs.join("systemctl");
            // A new file each time: the one before may still be open for execution.
            let _ = fs::remove_file(&file);
            fs::write(&file, script)?;
            set_mode(&file, 0o755)?;
            Diagnosis::with(place, &fleet.agent, |command| command.env("PATH", &path))
        };
        let fine = answers("degraded", "enabled", "active")?;
        fine.is("systemd unit enabled", "pass")?;
        fine.is("systemd unit active", "pass")?;
        answers("running", "disabled", "active")?.only_fails(&["systemd unit enabled"])?;
        let disabled = answers("running", "disabled", "inactive")?;
        disabled.failed("systemd unit enabled", &["disabled", "systemctl enable slipway-agent"])?;
        disabled.failed("systemd unit active", &["inactive", "journalctl -u slipway-agent"])?;
        let masked = answers("running", "masked", "failed")?;
        masked.failed("systemd unit enabled", &["masked", "unmask"])?;
        let missing = answers("running", "not-found", "inactive")?;
        missing.failed("systemd unit enabled", &["there is no slipway-agent.service"])?;
        let elsewhere = answers("offline", "enabled", "active")?;
        elsewhere.is("systemd unit enabled", "not_tried")?;
        elsewhere.is("systemd unit active", "not_tried")
    })
}
