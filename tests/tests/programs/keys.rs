//! Keys of the configuration whose effect no other test of whole programs sees.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_tests::agent::Agent;
use slipway_tests::deployment::{Finished, finish};
use slipway_tests::fleet::{APPLICATION, Fleet, Group, OnFailure, PATIENCE};
use slipway_tests::place::{Place, scenario, write_private};
use slipway_tests::polled::{Poll, Polled};
use slipway_tests::program::{self, Program};
use slipway_tests::proxy::Proxy;
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::{until, until_true};
use slipway_tests::web::free_port;

use crate::envelope::{Forger, content, has_openssl, signed_over};
use crate::expect::{contains, succeeded};

/// A host with an identity of its own and a service at that address.
fn host<'a>(place: &'a Place, service: &str, configuration: &str) -> Result<Agent<'a>> {
    let name = format!("host-{}", fastrand::u64(..));
    let agent = Agent::alone(place, &name)?;
    let identity = agent.home().join("identity.yml");
    write_private(
        &identity,
        "region: us-east-1\niam_user_arn: arn:aws:iam::111122223333:user/web-1\naws_access_key_id: AKIA1\n\
         aws_secret_access_key: geheim\n",
    )?;
    let mut text = format!("on_premises_config_file: {}\n", identity.display());
    if !service.is_empty() {
        text.push_str(&format!("deploy_control_endpoint: {service}\nwait_between_runs: 1\n"));
    }
    agent.configure("20-host.yml", &text)?;
    agent.configure("30-key.yml", configuration)?;
    Ok(agent)
}

/// The first poll of a host with that configuration, and its log.
fn first_poll(place: &Place, configuration: &str) -> Result<(Poll, String)> {
    let service = Polled::start()?;
    let mut agent = host(place, service.endpoint(), configuration)?;
    agent.start()?;
    let poll = until("a poll", PATIENCE, || Ok(service.polls().first().cloned()))?;
    agent.stop()?;
    Ok((poll, agent.log()))
}

/// A local deploy with that configuration, of a bundle.
struct Local<'a> {
    agent: Agent<'a>,
    output: Output,
}

impl<'a> Local<'a> {
    fn deploy(place: &'a Place, configuration: &str, revision: &Revision) -> Result<Self> {
        let bundle = place.path().join(format!("bundle-{}.tar", fastrand::u64(..)));
        fs::write(&bundle, revision.pack(BundleKind::Tar)?)?;
        Self::deploy_file(place, configuration, &bundle)
    }

    fn deploy_file(place: &'a Place, configuration: &str, bundle: &Path) -> Result<Self> {
        let agent = host(place, "", configuration)?;
        let output = agent.output(&["deploy-local", "-g", "g1", "-l", &bundle.display().to_string()])?;
        Ok(Self { agent, output })
    }

    fn said(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.output.stdout), String::from_utf8_lossy(&self.output.stderr))
    }

    fn succeeded(self) -> Result<Self> {
        ensure!(self.output.status.success(), "{}", self.said());
        Ok(self)
    }

    fn failed(&self, parts: &[&str]) -> Result<()> {
        ensure!(!self.output.status.success(), "{}", self.said());
        contains(&self.said(), parts)
    }
}

/// The files of that name below a directory.
fn named(directory: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(named(&path, name)?);
        } else if path.file_name().is_some_and(|found| found == name) {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn log_format_makes_each_line_a_json_document() -> Result<()> {
    scenario(|place| {
        let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|value| value.is_object());
        let (_, text) = first_poll(place, "log_format: text\n")?;
        ensure!(text.lines().count() > 1 && !text.lines().any(is_json), "{text}");
        let (_, json) = first_poll(place, "log_format: json\n")?;
        ensure!(json.lines().count() > 1 && json.lines().all(is_json), "{json}");
        Ok(())
    })
}

#[test]
fn enable_deployments_log_keeps_the_log_of_all_deployments() -> Result<()> {
    scenario(|place| {
        let revision = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", "echo said")]);
        let log = "deployment-logs/codedeploy-agent-deployments.log";
        let kept = Local::deploy(place, "enable_deployments_log: true\n", &revision)?.succeeded()?;
        contains(&fs::read_to_string(kept.agent.root().join(log))?, &["said"])?;
        fs::remove_dir_all(place.path().join("app"))?;
        let off = Local::deploy(place, "enable_deployments_log: false\n", &revision)?.succeeded()?;
        ensure!(!off.agent.root().join(log).exists());
        ensure!(named(&off.agent.root(), "scripts.log")?.len() == 1, "the deployment's own log is another one");
        Ok(())
    })
}

#[test]
fn wait_after_error_is_the_longest_pause() -> Result<()> {
    scenario(|place| {
        // By the standard pauses the twentieth poll comes after ten minutes.
        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        let mut agent = host(place, &nobody, "wait_after_error: 0\n")?;
        agent.start()?;
        until_true("twenty polls", PATIENCE, || Ok(agent.log().matches("the poll failed").count() >= 20))
    })
}

#[test]
fn kill_agent_max_wait_time_seconds_is_how_long_an_end_waits_for_an_install() -> Result<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: there is no strace to hold an install up; `make test` installs it");
        return Ok(());
    }
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.agent.configure("30-key.yml", "kill_agent_max_wait_time_seconds: 0\n")?;
        fleet.agent.start()?;
        let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Zip)?;
        let pid = fleet.agent.program().context("it runs")?.id().to_string();
        let held = place.path().join("held");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &pid, "-e", "trace=renameat2", "-e", "inject=renameat2:delay_enter=15s:when=1", "-o"]);
        let _strace = Program::start(place, "strace", strace.arg(&held))?;
        // One poll later each thread is traced.
        until_true("strace to be attached", PATIENCE, || {
            Ok(fs::read_to_string(format!("/proc/{pid}/status"))?
                .lines()
                .any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0")))
        })?;
        fleet.group.begin(&bundle)?;
        until_true("the install to be held up", PATIENCE, || {
            Ok(fs::read_to_string(&held).is_ok_and(|text| text.contains("renameat2")))
        })?;
        fleet.agent.stop()?;
        contains(&fleet.agent.log(), &["these commands did not end in time", "Install"])
    })
}

#[test]
fn keep_bundles_keeps_the_bundle() -> Result<()> {
    scenario(|place| {
        for (setting, bundles) in [("true", 1), ("false", 0)] {
            let place = Place::new_in(place.path())?;
            let mut fleet = Fleet::gather(&place)?;
            fleet.agent.configure("30-key.yml", &format!("keep_bundles: {setting}\n"))?;
            fleet.agent.start()?;
            let revision = app(&place.path().join("app"), "page", &[]);
            succeeded(&fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Zip)?)?)?;
            let found = named(&fleet.agent.root(), "bundle.tar")?;
            ensure!(found.len() == bundles, "{setting}: {found:?}");
        }
        Ok(())
    })
}

/// Two groups of a host, with the same script in each.
fn two_groups(place: &Place, configuration: &str, script: &str) -> Result<()> {
    let mut fleet = Fleet::gather(place)?;
    let other = Agent::register(place, &fleet.control, "web-2", &["blue", "green"])?;
    fleet.agent = other;
    fleet.agent.configure("30-key.yml", configuration)?;
    let green = Group::create(&fleet.control, &fleet.api, "green", OnFailure::Leave)?;
    // The host that nobody runs an agent for has to be out of the way.
    fleet.api.call("DeregisterOnPremisesInstance", json!({"instanceName": "web-1"}))?;
    let mut begun = Vec::new();
    for group in [&fleet.group, &green] {
        let script = script.replace("NAME", group.name());
        let revision = app(&place.path().join(group.name()), "page", &[Hook::new("BeforeInstall", &script)]);
        begun.push(group.begin(&group.push("v1", &revision, BundleKind::Zip)?)?);
    }
    fleet.agent.start()?;
    for id in &begun {
        succeeded(&finish(&fleet.api, id, PATIENCE)?)?;
    }
    Ok(())
}

#[test]
fn max_parallel_groups_is_how_many_work_at_the_same_time() -> Result<()> {
    scenario(|place| {
        // Each waits for the other one.
        let met = place.directory("met")?.display().to_string();
        let meet = format!(
            "touch {met}/NAME; for i in $(seq 300); do [ -e {met}/blue ] && [ -e {met}/green ] && exit 0; sleep 0.1; done; exit 1"
        );
        two_groups(place, "max_parallel_groups: 2\n", &meet)
    })?;
    scenario(|place| {
        let alone = place.path().join("alone").display().to_string();
        let one = format!("mkdir {alone} && sleep 1 && rmdir {alone}");
        two_groups(place, "max_parallel_groups: 1\n", &one)
    })
}

/// The address that a proxy is asked for by a host with that configuration.
fn asked_for(place: &Place, configuration: &str) -> Result<String> {
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let text = format!("proxy_uri: http://{}\n{configuration}", proxy.local_addr()?);
    let (sender, receiver) = mpsc::channel();
    let listening = thread::spawn(move || -> Result<()> {
        let mut line = String::new();
        BufReader::new(proxy.accept()?.0).read_line(&mut line)?;
        Ok(sender.send(line)?)
    });
    let mut agent = host(place, "", &text)?;
    agent.start()?;
    let line = receiver.recv_timeout(PATIENCE).context("the proxy is asked")?;
    listening.join().map_err(|_| anyhow::anyhow!("the proxy ended badly"))??;
    agent.stop()?;
    Ok(line)
}

#[test]
fn use_fips_mode_asks_for_the_endpoint_with_validated_cryptography() -> Result<()> {
    scenario(|place| {
        let plain = asked_for(place, "use_fips_mode: false\n")?;
        contains(&plain, &["CONNECT codedeploy-commands.us-east-1.amazonaws.com:443 "])?;
        let fips = asked_for(place, "use_fips_mode: true\n")?;
        contains(&fips, &["CONNECT codedeploy-commands-fips.us-east-1.amazonaws.com:443 "])
    })
}

#[test]
fn enable_auth_policy_asks_the_secure_service() -> Result<()> {
    scenario(|place| {
        let (ordinary, _) = first_poll(place, "enable_auth_policy: false\n")?;
        let (secure, _) = first_poll(place, "enable_auth_policy: true\n")?;
        ensure!(ordinary.target.starts_with("CodeDeployCommandService_v20141006."), "{ordinary:?}");
        ensure!(secure.target.starts_with("CodeDeployCommandService."), "{secure:?}");
        let line = asked_for(place, "enable_auth_policy: true\n")?;
        contains(&line, &["CONNECT codedeploy-commands-secure.us-east-1.amazonaws.com:443 "])
    })
}

#[test]
fn agent_version_header_is_what_the_service_is_told() -> Result<()> {
    scenario(|place| {
        let (own, _) = first_poll(place, "")?;
        ensure!(own.version.contains(env!("CARGO_PKG_VERSION")), "{own:?}");
        let (set, _) = first_poll(place, "agent_version_header: OFFICIAL_1.8.1\n")?;
        ensure!(set.version == "OFFICIAL_1.8.1", "{set:?}");
        Ok(())
    })
}

#[test]
fn ownership_says_whose_the_installed_files_are() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return Ok(());
    }
    scenario(|place| {
        for (ownership, expected) in [("preserve", 12_345), ("root", 0)] {
            let destination = place.path().join(ownership);
            let revision = app(&destination, "page", &[]);
            let bundle = place.path().join(format!("{ownership}.tar"));
            let mut archive = tar::Builder::new(fs::File::create(&bundle)?);
            for (path, bytes) in revision.files() {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                header.set_uid(12_345);
                header.set_gid(12_345);
                archive.append_data(&mut header, path, bytes)?;
            }
            archive.finish()?;
            Local::deploy_file(place, &format!("ownership: {ownership}\n"), &bundle)?.succeeded()?;
            let owner = fs::metadata(destination.join("page"))?.uid();
            ensure!(owner == expected, "{ownership}: the page is {owner}'s");
        }
        Ok(())
    })
}

#[test]
fn hook_directory_is_where_scripts_run() -> Result<()> {
    scenario(|place| {
        let (seen, directory) = (place.path().join("seen"), place.directory("elsewhere")?);
        let revision =
            app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &format!("pwd > {}", seen.display()))]);
        Local::deploy(place, &format!("hook_directory: {}\n", directory.display()), &revision)?.succeeded()?;
        let found = fs::read_to_string(&seen)?;
        ensure!(found.trim_end() == directory.display().to_string(), "{found}");
        Ok(())
    })
}

#[test]
fn restrict_log_dir_permissions_closes_the_log() -> Result<()> {
    scenario(|place| {
        for (setting, directory, file) in [("false", 0o755, 0o644), ("true", 0o700, 0o600)] {
            let logs = place.path().join(format!("closed-{setting}"));
            let text = format!("log_dir: {}\nrestrict_log_dir_permissions: {setting}\n", logs.display());
            first_poll(place, &text)?;
            let mode = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
            let log = logs.join("codedeploy-agent.log");
            ensure!(
                (mode(&logs)?, mode(&log)?) == (directory, file),
                "{setting}: {:o} {:o}",
                mode(&logs)?,
                mode(&log)?
            );
        }
        Ok(())
    })
}

#[test]
fn archive_max_extraction_size_is_the_most_that_a_bundle_may_hold() -> Result<()> {
    scenario(|place| {
        let revision = app(&place.path().join("app"), &"x".repeat(20_000), &[]);
        let refused = Local::deploy(place, "archive_max_extraction_size: 10000\n", &revision)?;
        refused.failed(&["archive_max_extraction_size"])?;
        ensure!(!place.path().join("app").exists());
        Local::deploy(place, "archive_max_extraction_size: 30000\n", &revision)?.succeeded()?;
        Ok(())
    })
}

#[test]
fn reject_path_traversal_in_bundle_refuses_a_zip_that_is_else_unpacked_without_the_dots() -> Result<()> {
    scenario(|place| {
        let revision = app(&place.path().join("app"), "page", &[]).file("build/../notes", "x");
        let bundle = place.path().join("dots.zip");
        fs::write(&bundle, revision.pack(BundleKind::Zip)?)?;
        for configuration in ["reject_path_traversal_in_bundle: true\n", "profile: strict\n"] {
            let refused = Local::deploy_file(place, configuration, &bundle)?;
            refused.failed(&["build/../notes"])?;
            ensure!(!place.path().join("app").exists());
        }
        let taken = Local::deploy_file(place, "reject_path_traversal_in_bundle: false\n", &bundle)?.succeeded()?;
        contains(&taken.said(), &["`..`", "build/../notes"])?;
        ensure!(fs::read_to_string(place.path().join("app/page"))? == "page");
        Ok(())
    })
}

#[test]
fn what_strict_refuses_of_a_bundle_each_key_refuses_alone() -> Result<()> {
    scenario(|place| {
        let destination = place.path().join("app");
        let permissions = |entry: &str| {
            let appspec = format!(
                "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {0}\npermissions:\n  - object: {0}\n    \
                 pattern: '**'\n    {entry}\n",
                destination.display()
            );
            Revision::with_appspec(&appspec).file("content/page", "page")
        };
        for (key, revision) in [
            ("reject_symlinks_in_bundle: true\n", app(&destination, "page", &[]).symlink("content/link", "page")),
            ("reject_unsafe_permissions_in_bundle: true\n", permissions("mode: '0666'")),
            ("reject_unconfined_selinux_in_bundle: true\n", permissions("context: {type: unconfined_t}")),
        ] {
            let name = key.split(':').next().unwrap_or_default();
            Local::deploy(place, key, &revision)?.failed(&[name])?;
            ensure!(!destination.exists(), "{key}");
        }
        Ok(())
    })
}

/// A restart deploys the last revision again, which the host still has.
#[test]
fn enable_archive_reuse_takes_the_revision_that_is_there() -> Result<()> {
    scenario(|place| {
        for (setting, bundles) in [("true", 1), ("false", 2)] {
            let place = Place::new_in(place.path())?;
            let mut fleet = Fleet::gather(&place)?;
            fleet.agent.configure("30-key.yml", &format!("keep_bundles: true\nenable_archive_reuse: {setting}\n"))?;
            fleet.agent.start()?;
            let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Zip)?;
            succeeded(&fleet.group.deploy(&bundle)?)?;
            let again = json!({
                "applicationName": APPLICATION,
                "deploymentGroupName": fleet.group.name(),
                "deploymentMode": "RESTART",
            });
            let answer = fleet.api.call("CreateDeployment", again)?;
            let id = answer["deploymentId"].as_str().context("an id")?;
            succeeded(&finish(&fleet.api, id, PATIENCE)?)?;
            let found = named(&fleet.agent.root(), "bundle.tar")?;
            ensure!(found.len() == bundles, "{setting}: {found:?}");
        }
        Ok(())
    })
}

/// Deploys where the service's specifications are signed again by that signer, over that digest.
fn signed_again(place: &Place, configuration: &str, signer: Option<PathBuf>, digest: &'static str) -> Result<Finished> {
    let mut fleet = Fleet::gather(place)?;
    let signer = signer.unwrap_or_else(|| fleet.control.data().join("pki/spec-signer.pem"));
    let work = place.directory("forger")?;
    let again = move |pem: &str| signed_over(&work, &content(&work, pem)?, &signer, digest);
    let proxy = Proxy::start(&fleet.control, Forger(again))?;
    fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
    fleet.agent.configure("30-key.yml", configuration)?;
    fleet.agent.start()?;
    fleet.group.deploy(&fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Zip)?)
}

#[test]
fn deployment_spec_ca_file_is_whose_specifications_count() -> Result<()> {
    if !has_openssl() {
        return Ok(());
    }
    scenario(|place| {
        let at = |name: &str| place.path().join(name);
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=another", "-keyout"]);
        program::run(place, make.arg(at("key")).arg("-out").arg(at("certificate")))?;
        let signer = at("signer");
        fs::write(&signer, [fs::read(at("key"))?, fs::read(at("certificate"))?].concat())?;
        let file = format!("deployment_spec_ca_file: {}\n", at("certificate").display());
        for (configuration, signer, ends) in
            [("", Some(&signer), "Failed"), (&file, Some(&signer), "Succeeded"), (&file, None, "Failed")]
        {
            let inner = Place::new_in(place.path())?;
            let finished = signed_again(&inner, configuration, signer.cloned(), "sha256")?;
            ensure!(finished.status() == ends, "{configuration} {signer:?}: {}", finished.info);
        }
        Ok(())
    })
}

#[test]
fn allow_sha1_envelope_accepts_an_old_digest() -> Result<()> {
    if !has_openssl() {
        return Ok(());
    }
    scenario(|place| {
        let refused = signed_again(&Place::new_in(place.path())?, "", None, "sha1")?;
        contains(refused.failed_event()?.diagnostic("message"), &["allow_sha1_envelope"])?;
        succeeded(&signed_again(&Place::new_in(place.path())?, "allow_sha1_envelope: true\n", None, "sha1")?)
    })
}
