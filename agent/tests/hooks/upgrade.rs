//! Files that another version of the agent has written: `golden/` holds those of 0.1.0, for ever.

use std::process::Command;

use slipway_agent::hooks::{HookError, Recovered, Wishes, recover};
use slipway_agent::outcome::ErrorCode;

use crate::fixture::{Host, RUNNER, failure, read};

const SPEC: &str = include_str!("golden/spec.json");
const STARTED: &str = include_str!("golden/started");
const EXIT: &str = include_str!("golden/exit.json");

impl Host {
    /// As if another version had been at work on the event's only script.
    fn with(files: &[(&str, &str)]) -> Self {
        let host = Self::new();
        let dir = host.hook_dir(0);
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text.replace("DIR", &host.revision.root().display().to_string())).unwrap();
        }
        host
    }

    fn runner(&self) -> std::process::Output {
        Command::new(RUNNER).arg("hook-runner").arg(self.hook_dir(0)).output().unwrap()
    }

    fn try_recover(&self) -> Result<Recovered, HookError> {
        recover(&self.layout, &self.spec.deployment_id, &self.event, &Wishes::new().unwrap())
    }
}

#[test]
fn a_runner_understands_what_the_agent_before_it_has_written() {
    let host = Host::with(&[("spec.json", SPEC)]);
    host.sh("x.sh", "echo ran >> DIR/count; exit 5");
    let output = host.runner();
    assert!(output.status.success(), "{output:?}");
    let Recovered::Over(outcome) = host.recover() else { panic!("it is over") };
    assert!(failure(outcome).message.contains("with exit code 5"));
    assert_eq!(host.read("count"), "ran\n");
}

#[test]
fn an_agent_understands_what_a_runner_before_it_has_written() {
    let host = Host::with(&[("spec.json", SPEC), ("started", STARTED), ("exit.json", EXIT)]);
    let Recovered::Over(outcome) = host.recover() else { panic!("it is over") };
    let ended = failure(outcome);
    assert_eq!((ended.code, ended.script.as_str()), (ErrorCode::ScriptFailed, "x.sh"));
    assert!(ended.message.contains("with exit code 3") && ended.log.contains("[stdout]hello"), "{ended:?}");

    let host = Host::with(&[("spec.json", SPEC), ("started", STARTED)]);
    let Recovered::Over(outcome) = host.recover() else { panic!("it is over") };
    assert!(failure(outcome).message.contains("reboot"));
}

#[test]
fn files_that_are_torn_or_from_the_future_are_named_and_nothing_is_run_twice() {
    let files = [("spec.json", SPEC), ("started", STARTED), ("exit.json", EXIT)];
    let newer = |text: &str| text.replace("\"format\":1", "\"format\":99");
    for (name, text) in files {
        for (bad, said) in [(text[..text.len() / 2].to_owned(), "cannot be read"), (newer(text), "format 99")] {
            let mut files = files.to_vec();
            // Without a result, what comes before it counts.
            files.retain(|(other, _)| *other == name || *other == "spec.json" || name == "exit.json");
            for file in files.iter_mut().filter(|(other, _)| *other == name) {
                file.1 = &bad;
            }
            let host = Host::with(&files);
            host.sh("x.sh", "echo ran >> DIR/count");
            let output = host.runner();
            assert!(!output.status.success(), "{name}");
            if name != "spec.json" {
                let error = host.try_recover().unwrap_err().to_string();
                assert!(error.contains(said) && error.contains(name), "{name}: {error}");
            }
            assert!(!host.path("count").exists(), "{name}");
            let complaint = read(&host.hook_dir(0).join("runner.log"));
            assert!(complaint.contains(said) || complaint.contains("taken already"), "{name}: {complaint}");
        }
    }
}
