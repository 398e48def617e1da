use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::json;

use super::support::{Running, S3, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_held_polls_and_ends_cleanly() {
    let mut running = Running::start(&["--poll-hold", "60"]);
    let host = running.host("web-1", &[]);
    let poll = json!({"HostIdentifier": "arn:aws:iam::000000000000:user/web-1"}).to_string();
    let request = running.signed(&host, "CodeDeployCommandService_v20141006.PollHostCommand", &poll);
    let client = running.client();
    let held = tokio::spawn(async move { client.execute(request).await });
    wait_until("the poll is held", || running.log().contains("called operation=\"PollHostCommand\""));
    running.signal(Signal::TERM);
    let answered = held.await.unwrap().unwrap();
    assert_eq!(answered.status(), 200);
    assert_eq!(answered.text().await.unwrap(), "{}");
    assert!(running.wait().success());
}

#[tokio::test]
async fn a_killed_service_comes_back_with_everything() {
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    let application = json!({"applicationName": "app"});
    assert_eq!(running.call(&key, "CodeDeploy_20141006.CreateApplication", application).await.0, 200);
    let ca = std::fs::read(running.ca()).unwrap();
    let running = running.restart(&["--hostname", "deploy.example.org"]);
    assert!(running.url.starts_with("https://deploy.example.org:"), "{}", running.url);
    assert_eq!(std::fs::read(running.ca()).unwrap(), ca);
    let output = running.command(&["keys", "list"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&key.id), "{output:?}");
}

/// What was acknowledged is there after a kill at any moment, whole; what was not, is there whole or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_object_that_was_acknowledged() {
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    let content = |number: usize| format!("{number} ").repeat(20_000);
    let acknowledged = AtomicUsize::new(0);
    let putting = async {
        for number in 0.. {
            let path = format!("bundles/{number}");
            let url = S3::new(&running, &key, &path).presigned("PUT", &running.url);
            match running.client().put(url).body(content(number)).send().await {
                Ok(response) if response.status() == 200 => acknowledged.store(number + 1, Ordering::SeqCst),
                _ => return,
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("objects are stored", || acknowledged.load(Ordering::SeqCst) >= 10);
            running.signal(Signal::KILL);
        });
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(putting));
    });
    let acknowledged = acknowledged.into_inner();
    let running = running.restart(&[]);
    for number in 0..acknowledged {
        let got = S3::new(&running, &key, &format!("bundles/{number}")).get().await;
        assert!(got == (200, content(number)), "{number} of {acknowledged}: {}", got.0);
    }
    let (status, text) = S3::new(&running, &key, &format!("bundles/{acknowledged}")).get().await;
    assert!(status == 404 || text == content(acknowledged), "{status}");
    let incoming = running.data().join("objects/incoming");
    assert_eq!(incoming.read_dir().unwrap().count(), 0);
}

#[test]
fn one_directory_has_one_server() {
    let running = Running::start(&[]);
    let second = running.command(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("serves from") && text.contains("already"), "{text}");
    assert!(running.data().join("endpoint").exists(), "the first one's file stays");
}

#[test]
fn mistakes_are_named() {
    let running = Running::start(&[]);
    let code = |arguments: &[&str]| {
        let output = running.command(arguments);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, text) = code(&["keys", "create"]);
    assert_eq!(status, 2, "{text}");
    let (status, text) = code(&["keys", "create", "--host", "i-1"]);
    assert!(status == 2 && text.contains("EC2"), "{text}");
    let (status, text) = code(&["keys", "revoke", "AKIAX"]);
    assert!(status == 1 && text.contains("no key AKIAX"), "{text}");
    let (status, text) = code(&["bucket", "create", "No_Bucket"]);
    assert!(status == 1 && text.contains("cannot be a bucket's name"), "{text}");
    let (status, text) = code(&["host-config", "a", "--dir", "/nonexistent/x", "--endpoint", "http://x"]);
    assert!(status == 2 && text.contains("https://name:port"), "{text}");
}
