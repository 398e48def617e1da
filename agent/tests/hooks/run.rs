//! What a script is given, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use slipway_agent::hooks::{Recovered, ScriptsOf};
use slipway_agent::ids::DeploymentId;
use slipway_agent::outcome::{ErrorCode, Outcome};

use crate::fixture::{Host, failure, is_root, kill, lives, read, success_log, wait_for};

#[test]
fn scripts_run_in_order_with_their_environment_directory_and_empty_input() {
    let mut host = Host::new();
    host.settings.environment.0.insert("AWS_SECRET_ACCESS_KEY".into(), "secret".into());
    host.settings.environment.0.insert("FROM_AGENT".into(), "yes".into());
    let scripts = [
        host.sh("first.sh", "cat; env > DIR/env; pwd > DIR/cwd; echo first >> DIR/order; ls /proc/self/fd > DIR/fds"),
        host.sh("sub dir/second.sh", "echo second >> DIR/order; echo \"$0\" > DIR/zero"),
    ];
    let log = success_log(host.run(&scripts));
    assert_eq!(host.read("order"), "first\nsecond\n");
    assert_eq!(host.read("cwd"), "/\n");
    assert!(host.read("zero").ends_with("/g-1/d-1/deployment-archive/sub dir/second.sh\n"));
    let environment = host.read("env");
    for line in ["LIFECYCLE_EVENT=AfterInstall", "DEPLOYMENT_ID=d-1", "BUNDLE_BUCKET=b", "FROM_AGENT=yes"] {
        assert!(environment.lines().any(|found| found == line), "{line} in {environment}");
    }
    assert!(!environment.contains("secret"));
    // The three streams and the directory that ls reads.
    assert_eq!(host.read("fds"), "0\n1\n2\n3\n");
    assert_eq!(log, "LifecycleEvent - AfterInstall\nScript - first.sh\nScript - sub dir/second.sh\n");
}

#[test]
fn the_first_failure_ends_the_event() {
    let host = Host::new();
    let scripts = [
        host.sh("ok.sh", "echo fine"),
        host.sh("bad.sh", "echo doing it; echo no such thing >&2; exit 3"),
        host.sh("never.sh", "echo x > DIR/never"),
    ];
    let failure = failure(host.run(&scripts));
    assert_eq!((failure.code, failure.script.as_str()), (ErrorCode::ScriptFailed, "bad.sh"));
    assert!(failure.message.starts_with("Script at specified location: bad.sh failed with exit code 3."));
    assert!(failure.message.contains("scripts.log"), "{}", failure.message);
    assert!(!host.path("never").exists());
    let lines: Vec<_> = failure.log.lines().collect();
    assert_eq!(lines[..4], ["LifecycleEvent - AfterInstall", "Script - ok.sh", "[stdout]fine", "Script - bad.sh"]);
    assert!(lines.contains(&"[stdout]doing it") && lines.contains(&"[stderr]no such thing"));
}

#[test]
fn a_script_that_a_signal_ends_has_failed() {
    let host = Host::new();
    let message = failure(host.run(&[host.sh("x.sh", "kill -SEGV $$")])).message;
    assert!(message.contains("by signal 11 (SIGSEGV)"), "{message}");
    let host = Host::new();
    let failed = failure(host.run(&[host.sh("x.sh", "kill -40 $$")]));
    assert_eq!(failed.code, ErrorCode::ScriptFailed);
    assert!(failed.message.contains("by signal 40"), "{}", failed.message);
}

#[test]
fn a_timeout_ends_all_that_descends_from_the_script_even_what_ignores_term() {
    let host = Host::new();
    let mut script = host.sh(
        "slow.sh",
        "trap '' TERM; echo $$ > DIR/leader\n\
         (setsid sh -c 'trap \"\" TERM; echo $$ > DIR/daemon; while :; do sleep 1; done' >/dev/null 2>&1 &)\n\
         echo waiting for godot; while :; do sleep 1; done",
    );
    script.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let failure = failure(host.run(&[script]));
    assert!(begun.elapsed() >= Duration::from_millis(1300), "{:?}", begun.elapsed());
    assert_eq!(failure.code, ErrorCode::ScriptTimedOut);
    assert!(failure.message.contains("failed to complete in 1 seconds"), "{}", failure.message);
    assert!(failure.message.contains("waiting for godot"), "{}", failure.message);
    assert!(!lives(host.pid("leader")) && !lives(host.pid("daemon")));
}

#[test]
fn a_script_that_tidies_up_on_term_is_not_waited_for_longer() {
    let mut host = Host::new();
    host.settings.kill_grace = Duration::from_secs(60);
    let mut script = host.sh("x.sh", "trap 'echo tidied; exit 0' TERM; while :; do sleep 0.1; done");
    script.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let failure = failure(host.run(&[script]));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(failure.code, ErrorCode::ScriptTimedOut);
    assert!(failure.log.contains("[stdout]tidied"), "{}", failure.log);
}

#[test]
fn what_a_script_starts_in_the_background_lives_on() {
    let host = Host::new();
    let script = host.sh("start.sh", "setsid sh -c 'echo $$ > DIR/pid; exec sleep 1000' >/dev/null 2>&1 </dev/null &");
    success_log(host.run(&[script]));
    let pid = host.pid("pid");
    assert!(matches!(host.recover(), Recovered::Over(Outcome::Succeeded { .. })));
    assert!(lives(pid));
    kill(pid);
}

#[test]
fn a_result_is_used_again_and_the_script_is_not_started_again() {
    let host = Host::new();
    let scripts = [host.sh("a.sh", "echo ran >> DIR/count"), host.sh("b.sh", "echo said; exit 9")];
    let first = host.run(&scripts);
    assert_eq!(host.run(&scripts), first);
    assert!(matches!(host.recover(), Recovered::Over(outcome) if outcome == first));
    assert_eq!(host.read("count"), "ran\n");
    let again = std::process::Command::new(crate::fixture::RUNNER).arg("hook-runner").arg(host.hook_dir(0)).output();
    assert_eq!(again.unwrap().status.code(), Some(3));
    assert_eq!(host.read("count"), "ran\n");
}

#[test]
fn of_many_runners_for_one_script_one_starts_it() {
    let host = Host::new();
    let scripts = [host.sh("a.sh", "echo ran >> DIR/count; sleep 0.2")];
    // The specification is made by a run of it, whose traces are removed.
    host.run(&scripts);
    for name in ["exit.json", "started", "child", "lock"] {
        std::fs::remove_file(host.hook_dir(0).join(name)).unwrap();
    }
    std::fs::remove_file(host.path("count")).unwrap();
    let runners: Vec<_> = (0..8)
        .map(|_| {
            std::process::Command::new(crate::fixture::RUNNER)
                .arg("hook-runner")
                .arg(host.hook_dir(0))
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut codes: Vec<_> = runners.into_iter().map(|mut runner| runner.wait().unwrap().code()).collect();
    codes.sort();
    assert_eq!(codes, [vec![Some(0)], vec![Some(3); 7]].concat());
    assert_eq!(host.read("count"), "ran\n");
}

#[test]
fn runas_sets_groups_ids_and_names_without_a_shell() {
    if !is_root() {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: only root can become another user\n"),
        );
        return;
    }
    let host = Host::new();
    let mut script = host.sh("who.sh", "id -u; id -g; id -G; echo $HOME $USER $LOGNAME $SHELL");
    script.runas = Some("nobody".to_owned());
    let log = success_log(host.run(&[script]));
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    let expected = format!(
        "[stdout]{uid}\n[stdout]{gid}\n[stdout]{gid}\n[stdout]{} nobody nobody {}\n",
        nobody.dir.display(),
        nobody.shell.display()
    );
    assert!(log.ends_with(&expected), "{log}");
}

#[test]
fn a_default_user_counts_where_runas_does_not_say() {
    if !is_root() {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: only root can become another user\n"),
        );
        return;
    }
    let mut host = Host::new();
    host.settings.default_user = Some("nobody".to_owned());
    let mut script = host.sh("who.sh", "id -un");
    assert!(success_log(host.run(&[script.clone()])).contains("[stdout]nobody"));
    let mut other = Host::new();
    other.settings.default_user = Some("nobody".to_owned());
    script = other.sh("who.sh", "id -un; exit 1");
    script.runas = Some("root".to_owned());
    let failure = failure(other.run(&[script]));
    assert!(failure.log.contains("[stdout]root"));
    assert!(failure.message.contains("who.sh run as user root failed"), "{}", failure.message);
}

#[test]
fn an_unknown_user_is_named() {
    let host = Host::new();
    let mut script = host.sh("x.sh", "echo x > DIR/ran");
    script.runas = Some("no-such-user".to_owned());
    let failure = failure(host.run(&[script]));
    assert!(failure.message.contains("\"no-such-user\"") && failure.message.contains("line 7"), "{}", failure.message);
    assert_eq!(failure.script, "x.sh");
    assert!(!host.path("ran").exists());
}

#[test]
fn a_failure_in_an_earlier_revision_says_whose_script_it_is() {
    let mut host = Host::new();
    host.scripts_of = ScriptsOf::Earlier(DeploymentId::parse("d-OLD").unwrap());
    for script in [host.sh("stop.sh", "exit 1"), host.entry("gone.sh")] {
        host.event = slipway_agent::ids::EventName::parse(if script.written == "stop.sh" { "A" } else { "B" }).unwrap();
        let message = failure(host.run(&[script])).message;
        assert!(message.contains("comes from deployment d-OLD, not from the one you are deploying"), "{message}");
        assert!(message.contains("--ignore-application-stop-failures"), "{message}");
        assert!(message.contains("forget --group g-1"), "{message}");
    }
}

#[test]
fn an_event_without_scripts_has_nothing_to_do() {
    let host = Host::new();
    assert_eq!(host.run(&[]), Outcome::succeeded());
    assert!(matches!(host.recover(), Recovered::NotStarted));
    assert!(!host.layout.hooks().exists());
}

#[test]
fn the_runner_is_small() {
    let host = Host::new();
    let script = host.sh("x.sh", "echo $PPID > DIR/runner; while [ ! -e DIR/go ]; do sleep 0.02; done");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(std::slice::from_ref(&script)));
        let runner = host.pid("runner");
        // The thread that started the script is about to end when the script begins.
        let status = wait_for("a single thread", || {
            let status = read(format!("/proc/{runner}/status").as_ref());
            status.lines().any(|line| line.split_whitespace().eq(["Threads:", "1"])).then_some(status)
        });
        std::fs::write(host.path("go"), "").unwrap();
        success_log(running.join().unwrap());
        let kilobytes = |name: &str| -> u64 {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok()).unwrap()
        };
        // Pages of the program itself are shared with the agent, and how many are mapped is the kernel's affair.
        let own = kilobytes("VmHWM:") - kilobytes("RssFile:");
        println!("runner: {own} kB of its own at its peak");
        assert!(own < 4 << 10, "{own} kB");
    });
}

#[test]
fn what_a_runner_was_given_is_for_root_alone_and_can_be_forgotten() {
    let host = Host::new();
    success_log(host.run(&[host.sh("a.sh", "true")]));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&host.hook_dir(0)), 0o700);
    for name in ["spec.json", "started", "child", "exit.json"] {
        assert_eq!(mode(&host.hook_dir(0).join(name)), 0o600, "{name}");
    }
    for _ in 0..2 {
        slipway_agent::hooks::forget(&host.layout, &host.spec.deployment_id).unwrap();
        assert!(!host.hook_dir(0).exists());
    }
}
