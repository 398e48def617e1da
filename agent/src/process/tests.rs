#![allow(clippy::disallowed_methods, reason = "tests arrange files and processes by themselves")]

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::*;

fn sh(script: &str) -> Program {
    Program {
        path: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        environment: Environment([("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into()),
        directory: "/".into(),
        account: None,
        umask: None,
        limits: Vec::new(),
        priority: None,
    }
}

fn start(program: &Program) -> (Identity, io::PipeReader) {
    let ((reader, stdout), (_, stderr)) = (io::pipe().unwrap(), io::pipe().unwrap());
    let identity = match start_gated::<Error>(program, ScriptIo { stdout, stderr }, |_| Ok(())) {
        Ok(identity) => identity,
        Err(Gate::Closed(error)) => panic!("{error}"),
        Err(Gate::Refused(error)) => panic!("{error}"),
    };
    (identity, reader)
}

fn end(identity: &Identity) {
    if let Presence::Running(running) = identity.presence().unwrap() {
        running.signal(Signal::SIGKILL).unwrap();
        assert!(running.wait_until(Instant::now() + Duration::from_secs(10)).unwrap());
    }
}

#[test]
fn a_process_is_known_again_until_it_ends() {
    assert!(matches!(Identity::current().unwrap().presence().unwrap(), Presence::Running(_)));
    let (identity, _output) = start(&sh("exec sleep 1000"));
    let stored: Identity = serde_json::from_str(&serde_json::to_string(&identity).unwrap()).unwrap();
    assert_eq!(stored, identity);
    let Presence::Running(running) = stored.presence().unwrap() else { panic!("it runs") };
    assert!(!running.wait_until(Instant::now() + Duration::from_millis(20)).unwrap());
    end(&identity);
    assert!(matches!(identity.presence().unwrap(), Presence::Ended));
    running.signal(Signal::SIGKILL).unwrap();
}

#[test]
fn the_program_waits_until_its_identity_was_taken() {
    let temp = tempfile::tempdir().unwrap();
    let ran = temp.path().join("ran");
    let program = sh(&format!("echo ran > {}", ran.display()));
    let ((_, stdout), (_, stderr)) = (io::pipe().unwrap(), io::pipe().unwrap());
    let mut told = None;
    let refused = start_gated::<Error>(&program, ScriptIo { stdout, stderr }, |identity| {
        assert!(matches!(identity.presence()?, Presence::Running(_)));
        assert!(!ran.exists());
        told = Some(identity.clone());
        Err(Error::System { action: "record it", source: io::ErrorKind::StorageFull.into() })
    });
    assert!(matches!(refused, Err(Gate::Closed(Error::System { action: "record it", .. }))));
    assert!(matches!(told.unwrap().presence().unwrap(), Presence::Ended));
    assert!(!ran.exists());
}

#[test]
fn what_is_blocked_here_is_not_blocked_in_what_is_started() {
    let mask = nix::sys::signal::SigSet::all();
    mask.thread_block().unwrap();
    let look = "while read -r name value; do [ $name != SigBlk: ] || echo $value; done < /proc/$$/status";
    let (_, output) = start(&sh(look));
    let line = io::BufReader::new(output).lines().next().unwrap().unwrap();
    assert_eq!(line, "0000000000000000");
    let args = ["-c", look].map(std::ffi::OsStr::new);
    let answer = ask("/bin/sh".as_ref(), &args, b"", Duration::from_secs(60)).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "0000000000000000\n");
    mask.thread_unblock().unwrap();
}

#[test]
fn a_program_has_the_limits_that_it_is_given_and_an_unlimited_soft_one_is_the_hard_one() {
    let limit = |resource, soft, hard| ResourceLimit { resource, soft, hard };
    let limits = vec![
        limit(Resource::Nofile, Some(Bound::At(40)), Some(Bound::At(50))),
        limit(Resource::Core, Some(Bound::Unlimited), Some(Bound::At(512))),
        limit(Resource::Cpu, Some(Bound::At(7200)), None),
    ];
    let program = Program { limits, ..sh("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -St") };
    let (_, output) = start(&program);
    let lines: Vec<_> = io::BufReader::new(output).lines().map(|line| line.unwrap()).collect();
    assert_eq!(lines, ["40", "50", "1", "7200"]);
}

#[test]
fn a_program_that_cannot_be_executed_is_refused_with_the_systems_answer() {
    let program = Program { path: "/no/such/program".into(), ..sh("") };
    let ((_, stdout), (_, stderr)) = (io::pipe().unwrap(), io::pipe().unwrap());
    let refused = start_gated::<Error>(&program, ScriptIo { stdout, stderr }, |_| Ok(()));
    assert!(matches!(refused, Err(Gate::Refused(error)) if error.kind() == io::ErrorKind::NotFound));
}

#[test]
fn a_group_is_found_when_its_leader_has_ended_and_others_by_their_environment() {
    let mut program = sh("sleep 1000 & echo $!; setsid sleep 1000 >/dev/null & echo $!");
    let mark = format!("{:x}", fastrand::u128(..));
    program.environment.0.insert("TEST_MARK".to_owned(), mark.clone());
    let (leader, output) = start(&program);
    let mut lines = io::BufReader::new(output).lines();
    let pids = [(); 2].map(|()| lines.next().unwrap().unwrap());
    let [member, daemon] = pids.map(|pid| pid.parse::<i32>().unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    let table = loop {
        let table = ProcessTable::now().unwrap();
        let asleep = table.with_variable("TEST_MARK", &mark);
        let asleep = asleep.iter().filter(|row| row.holder().command == "sleep 1000").count();
        // A command is read later than the row: its process may have left the group in between.
        let in_group: Vec<_> = table.group_of(&leader).iter().map(|row| row.pid).collect();
        if asleep == 2 && in_group == [member] && matches!(leader.presence().unwrap(), Presence::Ended) {
            break table;
        }
        assert!(Instant::now() < deadline, "{asleep} sleep, and of the group there are {in_group:?}");
        std::thread::sleep(LOOK_AGAIN);
    };
    let mut marked: Vec<_> = table.with_variable("TEST_MARK", &mark).iter().map(|row| row.pid).collect();
    marked.sort();
    let mut expected = [member, daemon];
    expected.sort();
    assert_eq!(marked, expected);
    for row in table.with_variable("TEST_MARK", &mark) {
        row.signal(Signal::SIGKILL).unwrap();
    }
}

#[test]
fn descendants_are_all_generations_and_the_own_line_leads_up() {
    let (parent, _output) = start(&sh("sh -c 'sleep 1000; :'; :"));
    let deadline = Instant::now() + Duration::from_secs(10);
    let table = loop {
        let table = ProcessTable::now().unwrap();
        let below: Vec<_> = table.descendants(parent.pid()).iter().map(|row| row.holder().command).collect();
        if below.contains(&"sleep 1000".to_owned()) && below.len() == 2 {
            break table;
        }
        assert!(Instant::now() < deadline, "{below:?}");
        std::thread::sleep(LOOK_AGAIN);
    };
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(table.own_line()[0], own);
    assert!(table.descendants(own).iter().any(|row| row.pid == parent.pid()));
    for row in table.descendants(parent.pid()) {
        row.signal(Signal::SIGKILL).unwrap();
    }
    end(&parent);
}

#[test]
fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
    let temp = tempfile::tempdir().unwrap();
    let odd = temp.path().join("a) R 1 (b");
    std::fs::copy("/bin/sleep", &odd).unwrap();
    let mut child = loop {
        match std::process::Command::new(&odd).arg("1000").spawn() {
            // A process that another test forked at this moment has the copy open for writing.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::sleep(LOOK_AGAIN),
            other => break other.unwrap(),
        }
    };
    let row = Row::of(i32::try_from(child.id()).unwrap()).unwrap().unwrap();
    assert_eq!(row.parent, i32::try_from(std::process::id()).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn accounts_are_found_by_name_and_number() {
    let root = Account::find("root").unwrap().unwrap();
    assert_eq!((root.uid, root.gid, root.home.as_path()), (0, 0, Path::new("/root")));
    assert_eq!(Account::find("0").unwrap(), Some(root));
    assert_eq!(Account::find("no-such-user").unwrap(), None);
}
