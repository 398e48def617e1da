//! Logs, tails, and output that is left open.

use std::process::Command;
use std::time::Duration;

use slipway_agent::outcome::{ErrorCode, MAX_LOG};

use crate::fixture::{Host, failure, is_root, lives, read, success_log};

#[test]
fn both_logs_have_every_line_in_the_usual_form() {
    let host = Host::new();
    let script = host.sh("a.sh", "printf '\\033[32mgreen\\033[0m\\nlast line without end'; echo oops >&2");
    success_log(host.run(&[script]));
    let scripts: Vec<String> = host.scripts_log().lines().map(str::to_owned).collect();
    let after_stamp: Vec<&str> = scripts.iter().map(|line| &line["2026-01-01 00:00:00 ".len()..]).collect();
    assert_eq!(after_stamp[..2], ["LifecycleEvent - AfterInstall", "Script - a.sh"]);
    for line in ["[stdout]green", "[stdout]last line without end", "[stderr]oops"] {
        assert!(after_stamp.contains(&line), "{after_stamp:?}");
    }
    for line in read(&host.layout.deployments_log()).lines() {
        let (stamp, rest) = line.split_at("[2026-01-01 00:00:00.000]".len());
        assert!(stamp.starts_with("[2") && stamp.ends_with(']'), "{line}");
        assert!(rest.starts_with(" [d-1]"), "{line}");
    }
}

#[test]
fn without_a_log_of_all_deployments_there_is_none() {
    let mut host = Host::new();
    host.settings.deployments_log = slipway_agent::hooks::DeploymentsLog::Off;
    success_log(host.run(&[host.sh("a.sh", "echo x")]));
    assert!(!host.layout.deployments_log().exists());
}

#[test]
fn much_output_takes_little_memory_and_bounded_disk() {
    let host = Host::new();
    // 50 MB of lines, then 20 MB without any line end, and the runner's peak at the end of both.
    let script = host.sh(
        "loud.sh",
        "yes 0123456789012345678901234567890123456789012345678 | head -c 50000000\n\
         head -c 20000000 /dev/zero | tr '\\0' x\n\
         grep VmHWM /proc/$PPID/status > DIR/peak\n\
         echo; echo the end",
    );
    let log = success_log(host.run(&[script]));
    assert!(log.ends_with("\n[stdout]the end\n"));
    assert!(log.len() <= MAX_LOG);
    let peak: u64 = host.read("peak").split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("runner: {peak} kB at its peak with 70 MB of output");
    assert!(peak < 24 << 10, "{peak} kB");
    let path = host.layout.scripts_log(&host.spec.group_id, &host.spec.deployment_id);
    let sizes: Vec<u64> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    println!("scripts.log and its old ones: {sizes:?}");
    assert_eq!(sizes.len(), 4, "three logs and a lock");
    assert!(sizes.iter().all(|size| *size < 17 << 20));
    assert!(host.scripts_log().ends_with("[stdout]the end\n"));
}

#[test]
fn output_left_open_names_the_holder_and_the_remedy_and_ends_it() {
    let host = Host::new();
    let script = host.sh("start.sh", "sleep 4321 &\necho $! > DIR/pid");
    let failure = failure(host.run(&[script]));
    let pid = host.pid("pid");
    assert_eq!(failure.code, ErrorCode::OutputLeftOpen);
    assert!(failure.message.contains(&format!("process {pid} (sleep 4321)")), "{}", failure.message);
    assert!(failure.message.contains("`command >/dev/null 2>&1 &`"), "{}", failure.message);
    assert!(!lives(pid));
}

#[test]
fn a_script_that_failed_and_left_its_output_open_has_failed() {
    let host = Host::new();
    let failure = failure(host.run(&[host.sh("start.sh", "sleep 4322 &\necho $! > DIR/pid; exit 5")]));
    assert_eq!(failure.code, ErrorCode::ScriptFailed);
    assert!(failure.message.contains("with exit code 5"), "{}", failure.message);
    assert!(failure.message.contains("(sleep 4322)"), "{}", failure.message);
    assert!(!lives(host.pid("pid")));
}

#[test]
fn output_that_is_closed_within_the_grace_is_fine() {
    let mut host = Host::new();
    host.settings.output_grace = Duration::from_secs(30);
    let log = success_log(host.run(&[host.sh("start.sh", "(sleep 0.3; echo late) &")]));
    assert!(log.ends_with("[stdout]late\n"), "{log}");
}

#[test]
fn a_double_fork_that_holds_the_output_is_found() {
    let host = Host::new();
    let script = host.sh("start.sh", "(setsid sh -c 'echo $$ > DIR/pid; exec sleep 4323' &) ; sleep 0.1");
    let failure = failure(host.run(&[script]));
    let pid = host.pid("pid");
    assert_eq!(failure.code, ErrorCode::OutputLeftOpen);
    assert!(failure.message.contains(&format!("process {pid} (sleep 4323)")), "{}", failure.message);
    assert!(!lives(pid));
}

#[test]
fn a_full_disk_does_not_lose_the_result() {
    if !is_root() {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: only root can mount a small file system\n"),
        );
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let mount = temp.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&mount).status().unwrap();
    assert!(mounted.success());
    let unmount = Unmount(mount.clone());
    let host = Host::at(mount, temp);
    let script = host.sh(
        "fill.sh",
        "cat /dev/zero > DIR/fill; head -c 8192 /dev/zero > DIR/more && exit 0; echo it is full; exit 4",
    );
    let failure = failure(host.run(&[script]));
    assert_eq!(failure.code, ErrorCode::ScriptFailed);
    assert!(failure.message.contains("with exit code 4"), "{}", failure.message);
    assert!(failure.log.contains("[stdout]it is full"));
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn an_error_is_reported_though_much_output_follows() {
    let host = Host::new();
    let script = host.sh("a.sh", "echo 'cannot open db.conf' >&2; yes progress | head -n 10000; exit 3");
    let failure = failure(host.run(&[script]));
    assert!(failure.log.contains("[stderr]cannot open db.conf\n"), "{}", failure.log);
    assert!(failure.log.contains("…\n[stdout]progress\n"), "{}", failure.log);
    assert!(failure.log.len() <= MAX_LOG);
    let message = failure.message;
    assert!(message.contains("Its last lines: “[stderr]cannot open db.conf” and “[stdout]progress”."), "{message}");
}

#[test]
fn what_a_carriage_return_would_overwrite_is_in_the_log() {
    let host = Host::new();
    let log = success_log(host.run(&[host.sh("a.sh", "printf 'fetching 1%%\\rfetching 50%%\\rdone\\nnext\\r\\n'")]));
    assert!(log.ends_with("[stdout]fetching 1%\n[stdout]done\n[stdout]next\n"), "{log}");
    let lines: Vec<String> = host.scripts_log().lines().map(str::to_owned).collect();
    for line in ["[stdout]fetching 1%", "[stdout]fetching 50%", "[stdout]done", "[stdout]next"] {
        assert!(lines.iter().any(|found| found.ends_with(line)), "{line} in {lines:?}");
    }
}

#[test]
fn a_failed_script_with_windows_line_ends_is_told_so() {
    let host = Host::new();
    let script = host.script("a.sh", "#!/bin/sh\necho begun\ncd /\r\nexit 4\n");
    let message = failure(host.run(&[script])).message;
    assert!(message.contains("Windows line ends, the first in line 3"), "{message}");
    assert!(message.contains("sed -i 's/\\r$//' a.sh"), "{message}");
    let host = Host::new();
    let message = failure(host.run(&[host.sh("b.sh", "exit 4")])).message;
    assert!(!message.contains("Windows"), "{message}");
}
