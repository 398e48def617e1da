//! Scripts that an earlier life of the agent, a runner or the host left behind.

use std::time::Duration;

use slipway_agent::hooks::{Ran, Recovered, Wish, Wishes};
use slipway_agent::outcome::{ErrorCode, Failure, Outcome};

use crate::fixture::{Host, failure, kill, lives, success_log, wait_for};

const FOREVER: &str = "echo $$ > DIR/leader; echo begun\n\
     (setsid sh -c 'echo $$ > DIR/daemon; while :; do sleep 1; done' >/dev/null 2>&1 &)\n\
     while :; do sleep 1; done";

fn over(recovered: Recovered) -> Failure {
    match recovered {
        Recovered::Over(outcome) => failure(outcome),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_killed_runner_is_told_and_nothing_of_its_script_is_left() {
    let host = Host::new();
    let scripts = [host.sh("x.sh", FOREVER)];
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(&scripts));
        let (leader, daemon) = (host.pid("leader"), host.pid("daemon"));
        kill(host.runner_pid(0));
        let failure = failure(running.join().unwrap());
        assert_eq!((failure.code, failure.script.as_str()), (ErrorCode::FailedAfterRestart, "x.sh"));
        assert!(failure.message.contains("lost its runner") && failure.message.contains("which began at 2"));
        assert!(!lives(leader) && !lives(daemon));
    });
    // And it stays so: the script is not started again.
    std::fs::remove_file(host.path("leader")).unwrap();
    assert_eq!(failure(host.run(&scripts)).code, ErrorCode::FailedAfterRestart);
    assert!(!host.path("leader").exists());
}

#[test]
fn what_ignores_term_does_not_outlive_a_lost_runner() {
    let host = Host::new();
    let scripts = [host.sh("x.sh", "trap '' TERM PIPE; echo $$ > DIR/leader; while :; do sleep 1; done")];
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(&scripts));
        let leader = host.pid("leader");
        kill(host.runner_pid(0));
        assert_eq!(failure(running.join().unwrap()).code, ErrorCode::FailedAfterRestart);
        assert!(!lives(leader));
    });
}

#[test]
fn a_script_that_still_runs_when_the_agent_comes_back_is_waited_for() {
    let host = Host::new();
    let scripts = [
        host.sh("done.sh", "echo done"),
        host.sh(
            "x.sh",
            "echo ran >> DIR/count; echo $$ > DIR/leader; while [ ! -e DIR/go ]; do sleep 0.02; done; exit 7",
        ),
        host.sh("never.sh", "echo never"),
    ];
    for life in 0..3 {
        let wishes = Wishes::new().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| match life {
                0 => matches!(host.run_until(&scripts, &wishes).unwrap(), Ran::HandedOver),
                _ => matches!(host.recover_until(&wishes), Recovered::HandedOver),
            });
            host.pid("leader");
            wishes.make(Wish::HandOver).unwrap();
            assert!(waiting.join().unwrap(), "life {life}");
        });
        assert!(lives(host.pid("leader")), "life {life}");
    }
    let failure = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| over(host.recover()));
        std::fs::write(host.path("go"), "").unwrap();
        waiting.join().unwrap()
    });
    assert_eq!((failure.code, failure.script.as_str()), (ErrorCode::ScriptFailed, "x.sh"));
    assert!(failure.message.contains("with exit code 7"), "{}", failure.message);
    assert!(failure.log.contains("[stdout]done"), "{}", failure.log);
    assert_eq!(host.read("count"), "ran\n");
}

#[test]
fn a_script_whose_agent_is_killed_goes_on_and_belongs_to_nobody() {
    let host = Host::new();
    let scripts = [host.sh("x.sh", "echo $$ > DIR/leader; while [ ! -e DIR/go ]; do sleep 0.02; done")];
    let wishes = Wishes::new().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| host.run_until(&scripts, &wishes));
        host.pid("leader");
        let runner = host.runner_pid(0);
        let stat = crate::fixture::read(format!("/proc/{runner}/stat").as_ref());
        let parent: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_ne!(u32::try_from(parent).unwrap(), std::process::id());
        wishes.make(Wish::HandOver).unwrap();
        waiting.join().unwrap().unwrap();
    });
    std::fs::write(host.path("go"), "").unwrap();
    match host.recover() {
        Recovered::Over(outcome) => success_log(outcome),
        other => panic!("{other:?}"),
    };
}

#[test]
fn a_script_that_is_cancelled_is_ended_with_all_that_it_started_and_its_output_kept() {
    let host = Host::new();
    let scripts = [host.sh("done.sh", "echo done"), host.sh("x.sh", FOREVER)];
    let wishes = Wishes::new().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| host.run_until(&scripts, &wishes));
        let (leader, daemon) = (host.pid("leader"), host.pid("daemon"));
        wishes.make(Wish::Cancel("an operator wanted it".to_owned())).unwrap();
        let Ran::Over(outcome) = waiting.join().unwrap().unwrap() else { panic!("it was handed over") };
        let failure = failure(outcome);
        assert_eq!((failure.code, failure.script.as_str()), (ErrorCode::FailedAfterRestart, "x.sh"));
        assert!(failure.message.contains("an operator wanted it"), "{}", failure.message);
        assert!(failure.log.contains("[stdout]done") && failure.log.contains("[stdout]begun"), "{}", failure.log);
        assert!(!lives(leader) && !lives(daemon));
    });
    // One that was cancelled before it began is not begun.
    let other = Host::new();
    let Ran::Over(outcome) = other.run_until(&[other.sh("x.sh", "echo ran > DIR/ran")], &wishes).unwrap() else {
        panic!("it was handed over")
    };
    assert!(failure(outcome).message.contains("an operator wanted it"));
    assert!(!other.path("ran").exists());
}

#[test]
fn a_script_that_ended_while_no_agent_was_there_has_its_true_result() {
    let host = Host::new();
    let script = host.sh("x.sh", "echo $$ > DIR/leader; while [ ! -e DIR/go ]; do sleep 0.02; done; exit 21");
    // An agent of its own, so that it can be killed.
    success_log(host.run(&[host.sh("other.sh", "true")]));
    let dir = host.hook_dir(0);
    let mut spec = unsealed(&dir.join("spec.json"));
    spec["subject"]["name"] = "x.sh".into();
    spec["program"]["path"] = host.revision.root().join("x.sh").display().to_string().into();
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("spec.json"), spec.to_string()).unwrap();
    let shell = format!(
        "{} hook-runner {} & echo $! > {}; wait",
        crate::fixture::RUNNER,
        dir.display(),
        host.path("runner").display()
    );
    let mut agent = std::process::Command::new("sh").args(["-c", &shell]).spawn().unwrap();
    host.pid("leader");
    kill(i32::try_from(agent.id()).unwrap());
    agent.wait().unwrap();
    std::fs::write(host.path("go"), "").unwrap();
    let runner = host.pid("runner");
    wait_for("the runner's end", || (!lives(runner)).then_some(()));
    let failure = over(host.recover());
    assert_eq!(failure.code, ErrorCode::ScriptFailed);
    assert!(failure.message.contains("with exit code 21"), "{}", failure.message);
    assert_eq!(host.run(&[script]), Outcome::Failed(failure));
}

#[test]
fn a_script_of_another_boot_is_told_as_such() {
    let host = Host::new();
    let scripts = [host.sh("x.sh", "echo ran >> DIR/count")];
    host.run(&scripts);
    let started = host.hook_dir(0).join("started");
    let boot = unsealed(&started);
    let id = boot["runner"]["boot"]["id"].as_str().unwrap();
    std::fs::write(&started, boot.to_string().replace(id, "11111111-2222-3333-4444-555555555555")).unwrap();
    std::fs::remove_file(host.hook_dir(0).join("exit.json")).unwrap();
    let failure = over(host.recover());
    assert_eq!(failure.code, ErrorCode::FailedAfterRestart);
    assert!(failure.message.contains("reboot"), "{}", failure.message);
    assert_eq!(host.run(&scripts), Outcome::Failed(failure));
    assert_eq!(host.read("count"), "ran\n");
}

#[test]
fn a_number_that_was_given_to_another_process_is_left_alone() {
    let host = Host::new();
    host.run(&[host.sh("x.sh", "true")]);
    let script = started_at(&host.hook_dir(0));
    // Starts are told in ticks of 10 ms: a process of the very same tick could not be told apart.
    let mut bystander = wait_for("a process of a later tick", || {
        let mut sleep = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        if crate::fixture::start_ticks(sleep.id()) > script {
            return Some(sleep);
        }
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        None
    });
    // As if the runner and the script had had this number, and had ended long ago.
    for (file, member) in [("started", "runner"), ("child", "script")] {
        let path = host.hook_dir(0).join(file);
        let mut json = unsealed(&path);
        json[member]["pid"] = bystander.id().into();
        std::fs::write(&path, json.to_string()).unwrap();
    }
    std::fs::remove_file(host.hook_dir(0).join("exit.json")).unwrap();
    assert!(over(host.recover()).message.contains("lost its runner"));
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// A state file without its checksum, so that it can be changed.
fn unsealed(path: &std::path::Path) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_str(&crate::fixture::read(path)).unwrap();
    json.as_object_mut().unwrap().remove("crc32c");
    json
}

/// Ticks from the boot to the start of a script.
fn started_at(dir: &std::path::Path) -> u64 {
    let json: serde_json::Value = serde_json::from_str(&crate::fixture::read(&dir.join("child"))).unwrap();
    json["script"]["started"].as_u64().unwrap()
}

#[test]
fn an_event_that_was_cut_off_between_two_scripts_goes_on() {
    let host = Host::new();
    let scripts = [host.sh("a.sh", "echo a >> DIR/order"), host.sh("b.sh", "echo b >> DIR/order")];
    success_log(host.run(&scripts));
    std::fs::remove_dir_all(host.hook_dir(1)).unwrap();
    assert!(matches!(host.recover(), Recovered::Partly));
    success_log(host.run(&scripts));
    assert_eq!(host.read("order"), "a\nb\nb\n");
}

#[test]
fn a_runner_that_is_told_to_end_ends_its_script_and_says_so() {
    let mut host = Host::new();
    host.settings.kill_grace = Duration::from_secs(20);
    let scripts =
        [host.sh("x.sh", "trap 'echo tidied; exit 0' TERM\necho $$ > DIR/leader; while :; do sleep 0.05; done")];
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(&scripts));
        host.pid("leader");
        let runner = nix::unistd::Pid::from_raw(host.runner_pid(0));
        nix::sys::signal::kill(runner, nix::sys::signal::Signal::SIGTERM).unwrap();
        let failure = failure(running.join().unwrap());
        assert_eq!(failure.code, ErrorCode::FailedAfterRestart);
        assert!(failure.message.contains("its runner was told to end"), "{}", failure.message);
        assert!(failure.log.contains("[stdout]tidied"), "{}", failure.log);
    });
}

/// Processes in whose command line or environment a text is.
fn processes_with(text: &str) -> Vec<i32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let has = |pid: &i32, file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    pids.filter(|pid| lives(*pid) && (has(pid, "cmdline") || has(pid, "environ"))).collect()
}

#[test]
fn killed_at_any_moment_a_runner_starts_its_script_once_at_most_and_leaves_nothing() {
    let (mut never, mut lost, mut whole) = (0, 0, 0);
    for moment in 0..60 {
        let host = Host::new();
        let scripts = [host.sh("x.sh", "echo ran >> DIR/count; sleep 0.02")];
        let dir = host.hook_dir(0).display().to_string();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| host.try_run(&scripts));
            let runner = wait_for("a runner", || {
                let found = processes_with(&format!("hook-runner\0{dir}"));
                found.first().copied().or(running.is_finished().then_some(0))
            });
            std::thread::sleep(Duration::from_micros(moment * 700));
            if runner != 0 && !running.is_finished() {
                // It may have ended since.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(runner), nix::sys::signal::Signal::SIGKILL);
            }
            let count = || std::fs::read_to_string(host.path("count")).map_or(0, |text| text.lines().count());
            match running.join().unwrap() {
                Err(_) => {
                    never += 1;
                    assert_eq!(count(), 0);
                    success_log(host.run(&scripts));
                    assert_eq!(count(), 1);
                }
                Ok(Outcome::Failed(failure)) => {
                    lost += 1;
                    assert_eq!(failure.code, ErrorCode::FailedAfterRestart, "{}", failure.message);
                    assert!(count() <= 1);
                }
                Ok(Outcome::Succeeded { .. }) => {
                    whole += 1;
                    assert_eq!(count(), 1);
                }
            }
        });
        assert_eq!(processes_with(&format!("SLIPWAY_HOOK={dir}")), Vec::<i32>::new());
        // One that has not become the script yet ends by itself, since its gate does not open.
        wait_for("the end of all of them", || processes_with(&dir).is_empty().then_some(()));
    }
    println!("60 moments: {never} before the start, {lost} in between, {whole} after the result");
    assert!(lost > 0);
}
