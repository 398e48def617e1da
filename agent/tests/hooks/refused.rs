//! Scripts that cannot be started.

use std::os::unix::fs::PermissionsExt;

use slipway_agent::hooks::{HookError, Recovered};
use slipway_agent::outcome::{ErrorCode, Outcome};

use crate::fixture::{Host, failure, is_root, success_log};

#[test]
fn a_missing_script_is_told_with_what_is_there() {
    let host = Host::new();
    host.sh("scripts/Start.sh", "true");
    let failure = failure(host.run(&[host.entry("scripts/start.sh")]));
    assert_eq!(failure.code, ErrorCode::ScriptMissing);
    assert!(failure.message.starts_with("Script does not exist at specified location: scripts/start.sh"));
    assert!(failure.message.contains("line 7") && failure.message.contains("holds Start.sh"), "{}", failure.message);
    assert_eq!(failure.script, "scripts/start.sh");
}

#[test]
fn what_was_meant_by_the_location_of_no_script_is_told() {
    let host = Host::new();
    host.sh("scripts/start.sh", "true");
    for (location, part) in [
        ("scripts/start.sh production", "write `location: scripts/start.sh` and `args: [production]`"),
        ("/srv/app/scripts/start.sh", "not on the host: write `location: scripts/start.sh`"),
    ] {
        let failure = failure(host.run(&[host.entry(location)]));
        assert_eq!(failure.code, ErrorCode::ScriptMissing);
        assert!(failure.message.starts_with("Script does not exist at specified location: "), "{}", failure.message);
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

#[test]
fn a_script_that_is_not_executable_is_made_so_and_a_directory_is_none() {
    let host = Host::new();
    let script = host.sh("x.sh", "true");
    std::fs::set_permissions(host.revision.root().join("x.sh"), PermissionsExt::from_mode(0o644)).unwrap();
    let outcome = host.run(&[script]);
    let told: Vec<String> = outcome.warnings().lines().collect();
    assert_eq!(told, ["the script x.sh was not executable and was made so"]);
    assert!(matches!(outcome, Outcome::Succeeded { .. }));
    let mode = std::fs::metadata(host.revision.root().join("x.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let host = Host::new();
    std::fs::create_dir(host.revision.root().join("dir")).unwrap();
    let failed = failure(host.run(&[host.entry("dir")]));
    assert_eq!(failed.code, ErrorCode::ScriptNotExecutable);
    assert!(failed.message.contains("is a directory"), "{}", failed.message);
}

#[test]
fn a_windows_line_end_in_the_interpreter_line_is_told() {
    let host = Host::new();
    for (n, line) in ["#!/bin/sh\r\ntrue\r\n", "#!/usr/bin/env python3\r\npass\r\n"].into_iter().enumerate() {
        let script = host.script(&format!("{n}.sh"), line);
        let failure = failure(host.run(&[script]));
        assert_eq!(failure.code, ErrorCode::ScriptNotExecutable);
        assert!(failure.message.contains("carriage return"), "{}", failure.message);
    }
}

#[test]
fn a_missing_interpreter_is_named() {
    let host = Host::new();
    let failure = failure(host.run(&[host.script("x.rb", "#!/opt/ruby/bin/ruby -w\nputs 1\n")]));
    assert_eq!(failure.code, ErrorCode::ScriptNotExecutable);
    assert!(failure.message.contains("interpreter /opt/ruby/bin/ruby is not on this host"), "{}", failure.message);
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_the_shell() {
    let host = Host::new();
    let log = success_log(host.run(&[host.script("plain", "echo plain $((1 + 1))\n")]));
    assert!(log.ends_with("[stdout]plain 2\n"), "{log}");
}

#[test]
fn a_link_inside_of_the_revision_runs_and_one_out_of_it_does_not() {
    let host = Host::new();
    host.sh("real.sh", "echo ${0##*/}");
    std::os::unix::fs::symlink("real.sh", host.revision.root().join("link.sh")).unwrap();
    assert!(success_log(host.run(&[host.entry("link.sh")])).contains("[stdout]link.sh"));
    std::os::unix::fs::symlink("/bin/true", host.revision.root().join("out.sh")).unwrap();
    let other = Host::new();
    std::os::unix::fs::symlink("/bin/true", other.revision.root().join("out.sh")).unwrap();
    let failure = failure(other.run(&[other.entry("out.sh")]));
    assert_eq!(failure.code, ErrorCode::ScriptNotExecutable);
    assert!(failure.message.contains("outside of"), "{}", failure.message);
}

#[test]
fn a_directory_that_the_user_may_not_pass_is_named() {
    if !is_root() {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: only root can become another user\n"),
        );
        return;
    }
    let host = Host::new();
    let mut script = host.sh("scripts/x.sh", "true");
    script.runas = Some("nobody".to_owned());
    let closed = host.revision.root().join("scripts");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let failure = failure(host.run(&[script]));
    assert_eq!(failure.code, ErrorCode::ScriptNotExecutable);
    let expected = format!("nobody may not pass {} (mode 0700, owner 0:0)", closed.display());
    assert!(failure.message.contains(&expected), "{}", failure.message);
}

#[test]
fn a_directory_for_scripts_that_is_missing_is_named() {
    let mut host = Host::new();
    host.settings.directory = "/no/such/directory".into();
    let failure = failure(host.run(&[host.sh("x.sh", "true")]));
    assert!(failure.message.contains("/no/such/directory") && failure.message.contains("hook_directory"));
}

#[test]
fn a_runner_that_cannot_start_leaves_the_script_to_be_run_later() {
    let mut host = Host::new();
    let scripts = [host.sh("x.sh", "echo ran >> DIR/count")];
    host.settings.runner = "/bin/false".into();
    assert!(matches!(host.try_run(&scripts), Err(HookError::RunnerFailed { .. })));
    host.settings.runner = "/no/such/runner".into();
    assert!(matches!(host.try_run(&scripts), Err(HookError::Process(_))));
    assert!(matches!(host.recover(), Recovered::NotStarted));
    host.settings.runner = crate::fixture::RUNNER.into();
    success_log(host.run(&scripts));
    assert_eq!(host.read("count"), "ran\n");
}

#[test]
fn a_script_that_another_has_removed_is_told_with_that() {
    let mut host = Host::new();
    let (first, second) = (host.sh("a.sh", "rm \"${0%/*}/b.sh\""), host.sh("b.sh", "true"));
    success_log(host.run(&[first]));
    host.event = slipway_agent::ids::EventName::parse("ApplicationStart").unwrap();
    let failure = failure(host.run(&[second]));
    assert_eq!(failure.code, ErrorCode::ScriptMissing);
    assert!(failure.message.contains("look at a.sh (AfterInstall)"), "{}", failure.message);
}
