//! `hosts`, `deployments` and `deployment`.

use serde_json::{Value, json};

use super::support::{Running, S3, wait_until};

fn shown(running: &Running, arguments: &[&str]) -> String {
    let output = running.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn an_operator_sees_hosts_and_deployments_while_the_service_runs() {
    let running = Running::start(&["--poll-hold", "0"]);
    assert!(shown(&running, &["hosts"]).contains("slipway-control host-config"));
    assert!(shown(&running, &["deployments"]).contains("aws deploy create-deployment"));
    let administrator = running.key(&["--administrator", "alice"]);
    let host = running.host("web-1", &["--tag", "Stage=test"]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    assert_eq!(S3::new(&running, &administrator, "bundles/app.zip").put("bundle").await, 200);
    running.group(&administrator).await;

    // Its agent reports success of every event.
    let first = running.deploy(&administrator).await;
    running.agent(&host, "web-1", |_| json!({"error_code": 0})).await;
    // And then that a script failed.
    let second = running.deploy(&administrator).await;
    let failure = json!({
        "error_code": 4, "script_name": "scripts/start.sh", "message": "exit code 3", "log": "[stderr]no such port",
    });
    running
        .agent(
            &host,
            "web-1",
            |event| if event == "ApplicationStart" { failure.clone() } else { json!({"error_code": 0}) },
        )
        .await;

    let hosts = || serde_json::from_str::<Value>(&shown(&running, &["hosts", "--json"])).unwrap()["hosts"][0].clone();
    wait_until("the host's agent to be stored", || hosts()["agentVersion"].is_string());
    let web = hosts();
    assert_eq!((&web["name"], &web["tags"]["Stage"]), (&json!("web-1"), &json!("test")));
    assert_eq!(web["agentVersion"], "slipway-agent/9.9.9");
    assert_eq!(web["deployed"][0]["deploymentId"], first, "the one that failed is not what it has: {web}");
    let table = shown(&running, &["hosts"]);
    assert!(
        table.starts_with("HOST") && table.contains("web-1") && table.contains("app/all: s3://bundles/app.zip"),
        "{table}"
    );

    let table = shown(&running, &["deployments"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].starts_with(&second) && lines[1].contains("Failed") && lines[1].contains("1 Failed"), "{table}");
    assert!(lines[2].starts_with(&first) && lines[2].contains("Succeeded"), "{table}");
    assert_eq!(shown(&running, &["deployments", "-n", "1"]).lines().count(), 2);
    assert!(shown(&running, &["deployments", "--application", "none"]).contains("no deployments"));

    let text = shown(&running, &["deployment", &second]);
    for part in [
        "app/all: Failed",
        "ApplicationStart Failed",
        "web-1 failed in ApplicationStart in scripts/start.sh",
        "no such port",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let told: Value = serde_json::from_str(&shown(&running, &["deployment", &second, "--json"])).unwrap();
    assert_eq!(told["hosts"][0]["lifecycleEvents"].as_array().unwrap().len(), 7);
    let unknown = running.command(&["deployment", "d-NONE"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("slipway-control deployments"), "{unknown:?}");

    running.ok(&administrator, "DeregisterOnPremisesInstance", json!({"instanceName": "web-1"})).await;
    assert!(shown(&running, &["hosts"]).contains("There are no hosts"));
    assert!(shown(&running, &["hosts", "--all"]).contains("deregistered"));
}
