//! An operator's first hour: the data directory, keys, the authority's certificate, the log of changes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use super::support::{PROGRAM, Running, S3, wait_until};

const API: &str = "CodeDeploy_20141006";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A shell's view of the lines that a command printed.
fn evaluated(lines: &str, name: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("eval \"$1\"; printf %s \"${name}\""), "sh", lines]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn only_serve_makes_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none");
    for arguments in [
        &["keys", "list"][..],
        &["keys", "create", "--administrator", "alice"],
        &["bucket", "create", "bundles"],
        &["host-config", "web-1", "--dir", "out", "--endpoint", "https://deploy.example.com:8443"],
        &["ca"],
    ] {
        let mut command = Command::new(PROGRAM);
        let output =
            command.args(arguments).env("SLIPWAY_DATA", &missing).current_dir(directory.path()).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains("no control service in") && text.contains("slipway-control serve"), "{text}");
        assert!(text.contains("--data or SLIPWAY_DATA"), "{text}");
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 0, "a command made something");
    let help = Command::new(PROGRAM).args(["keys", "list", "--help"]).output().unwrap();
    assert!(said(&help).contains("/var/lib/slipway") && said(&help).contains("SLIPWAY_DATA"), "{}", said(&help));
}

#[tokio::test]
async fn one_line_of_a_shell_is_all_that_the_next_command_needs() {
    let running = Running::start(&[]);
    let output = running.command(&["keys", "create", "--administrator", "alice", "--env"]);
    let lines = said(&output);
    assert!(output.status.success(), "{lines}");
    assert_eq!(evaluated(&lines, "AWS_ENDPOINT_URL_CODEDEPLOY"), running.url);
    assert_eq!(evaluated(&lines, "AWS_ENDPOINT_URL_S3"), running.url);
    assert_eq!(evaluated(&lines, "AWS_DEFAULT_REGION"), "us-east-1");
    assert_eq!(Path::new(&evaluated(&lines, "AWS_CA_BUNDLE")).canonicalize().unwrap(), running.ca());
    let Some(()) = super::aws_cli::aws() else { return };
    let script = "eval \"$1\"; aws deploy list-applications && aws s3 ls";
    let mut shell = Command::new("sh");
    let listed = shell
        .args(["-c", script, "sh", &lines])
        .env("PATH", super::aws_cli::path())
        .env("HOME", running.directory.path())
        .output()
        .unwrap();
    assert!(listed.status.success() && said(&listed).contains("applications"), "{}", said(&listed));
}

#[test]
fn everybody_reads_the_authoritys_certificate_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"skipped: only root can become another user\n");
        return;
    }
    let running = Running::start(&[]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    std::fs::set_permissions(running.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = running.data();
    let as_nobody = |line: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", line, "sh"]);
        command.arg(&data).env("PROGRAM", PROGRAM).output().unwrap()
    };
    let shown = as_nobody("cat \"$1/pki/ca.pem\"");
    assert_eq!(said(&shown), std::fs::read_to_string(running.ca()).unwrap());
    for line in [
        "ls \"$1\"",
        "ls \"$1/pki\"",
        "cat \"$1/pki/ca-key.pem\"",
        "cat \"$1/pki/server.pem\"",
        "cat \"$1/slipway.db\"",
        "cat \"$1/slipway.db-wal\"",
        "ls \"$1/objects\"",
        "cat \"$1/endpoint\"",
    ] {
        let refused = as_nobody(line);
        assert!(!refused.status.success() && said(&refused).contains("ermission denied"), "{line}: {}", said(&refused));
    }
    // The program may lie where that user cannot reach it.
    let own = running.command(&["ca"]);
    assert_eq!(said(&own), std::fs::read_to_string(running.ca()).unwrap());
}

#[tokio::test]
async fn the_log_says_who_changed_what_and_from_where() {
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "alice"]);
    let host = running.host("web-1", &[]);
    let create = format!("{API}.CreateApplication");
    assert_eq!(running.call(&key, &create, json!({"applicationName": "shop"})).await.0, 200);
    assert_eq!(running.call(&key, &create, json!({"applicationName": "shop"})).await.0, 400);
    assert_eq!(running.call(&host, &create, json!({"applicationName": "mine"})).await.0, 403);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    assert_eq!(S3::new(&running, &key, "bundles/app.zip").put("content").await, 200);
    let log = running.log();
    let line = |parts: &[&str]| {
        let found = log.lines().any(|line| line.contains(" INFO ") && parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line has {parts:?}:\n{log}");
    };
    let alice = format!("key=\"{}\"", key.id);
    let who = ["user/alice", alice.as_str(), "address=\"127.0.0.1\""];
    line(&[&["changed", "CreateApplication", "shop"], &who[..]].concat());
    line(&[&["refused", "CreateApplication", "ApplicationAlreadyExistsException"], &who[..]].concat());
    line(&["refused", "CreateApplication", "AccessDeniedException", "user/web-1", &host.id]);
    line(&[&["PutObject", "bundles/app.zip"], &who[..]].concat());
    assert!(!log.contains(&key.secret) && !log.contains(&host.secret), "secrets in the log");
}

#[tokio::test]
async fn a_repeated_host_config_names_the_keys_that_stay_and_ends_them_on_request() {
    let running = Running::start(&["--poll-hold", "0"]);
    let poll = json!({"HostIdentifier": "arn:aws:iam::000000000000:user/web-1"});
    let first = running.host("web-1", &[]);
    let out = running.directory.path().join("again");
    let again = |arguments: &[&str]| {
        let output = running.command(&[&["host-config", "web-1", "--dir", out.to_str().unwrap()], arguments].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let text = again(&[]);
    assert!(text.contains(&format!("slipway-control keys revoke {}", first.id)), "{text}");
    let target = "CodeDeployCommandService_v20141006.PollHostCommand";
    assert_eq!(running.call(&first, target, poll.clone()).await.0, 200);
    let text = again(&["--revoke-old"]);
    assert!(text.contains(&format!("Revoked its old key {}", first.id)) && !text.contains("Still valid"), "{text}");
    let (status, error) = running.call(&first, target, poll).await;
    assert_eq!((status, &error["__type"]), (403, &json!("UnrecognizedClientException")));

    let both = running.directory.path().join("hosts");
    let two = ["host-config", "web-2", "web-3", "--dir", both.to_str().unwrap(), "--tag", "fleet=web"];
    assert!(running.command(&two).status.success());
    for host in ["web-2", "web-3"] {
        assert!(both.join(host).join("codedeployagent.yml").exists(), "{host}");
    }
    let one_is_wrong = running.command(&["host-config", "web-4", "i-5", "--dir", both.to_str().unwrap()]);
    assert!(!one_is_wrong.status.success() && !both.join("web-4").exists(), "{}", said(&one_is_wrong));
}

/// A host that was deregistered, and versions that its deployments do not name.
#[tokio::test]
async fn a_host_reads_the_version_of_its_deployment_and_nothing_once_it_is_deregistered() {
    let running = Running::start(&["--poll-hold", "0"]);
    let administrator = running.key(&["--administrator", "root"]);
    let host = running.host("web-1", &["--tag", "Stage=test"]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    let put = async |content: &str| S3::new(&running, &administrator, "bundles/app.zip").put_version(content).await;
    let older = put("older").await;
    running.group(&administrator).await;
    let deployed = put("deployed").await;
    running.deploy(&administrator).await;
    let get = async |version: &str| S3::new(&running, &host, "bundles/app.zip").get_version(version).await;
    assert_eq!(get(&deployed).await, (200, "deployed".to_owned()));
    assert_eq!(get(&older).await.0, 403, "no deployment names that version");
    assert_eq!(S3::new(&running, &host, "bundles/app.zip").get().await, (200, "deployed".to_owned()));
    let newer = put("newer").await;
    assert_eq!(get(&newer).await.0, 403, "what was uploaded later is not the host's");
    assert_eq!(S3::new(&running, &host, "bundles/app.zip").get().await.0, 403);
    assert_eq!(get(&deployed).await.0, 200);

    let deregister = async || {
        running.ok(&administrator, "DeregisterOnPremisesInstance", json!({"instanceName": "web-1"})).await;
    };
    deregister().await;
    let (status, text) = get(&deployed).await;
    assert!(status == 403 && text.contains("InvalidAccessKeyId"), "{status} {text}");
    let listed = said(&running.command(&["keys", "list"]));
    assert!(listed.lines().any(|line| line.contains(&host.id) && line.contains("revoked")), "{listed}");
    wait_until("the log names the key", || running.log().contains(&host.id));
    // A key that was made since, or that an earlier version left valid.
    let since = running.key(&["--host", "web-1"]);
    deregister().await;
    let listed = said(&running.command(&["keys", "list"]));
    assert!(listed.lines().any(|line| line.contains(&since.id) && line.contains("revoked")), "{listed}");
}

#[tokio::test]
async fn keys_are_made_for_the_identities_that_aws_gives_hosts() {
    let running = Running::start(&["--poll-hold", "0"]);
    let administrator = running.key(&["--administrator", "root"]);
    let poll = "CodeDeployCommandService_v20141006.PollHostCommand";
    for (name, member, arn) in [
        ("one", "iamUserArn", "arn:aws:iam::000000000000:user/AWS/CodeDeploy/one"),
        ("two", "iamSessionArn", "arn:aws:sts::000000000000:assumed-role/hosts/two"),
    ] {
        let key = running.key(&["--host-arn", arn]);
        let register = format!("{API}.RegisterOnPremisesInstance");
        let input = json!({"instanceName": name, member: arn});
        assert_eq!(running.call(&administrator, &register, input).await.0, 200);
        let (status, answer) = running.call(&key, poll, json!({"HostIdentifier": arn})).await;
        assert_eq!(status, 200, "{arn}: {answer}");
        let again =
            running.call(&administrator, &register, json!({"instanceName": format!("{name}-too"), member: arn})).await;
        let kind = if member == "iamUserArn" { "IamUserArn" } else { "IamSessionArn" };
        assert_eq!(again.1["__type"], format!("{kind}AlreadyRegisteredException"));
    }
    for wrong in
        ["web-1", "arn:aws:iam::1:user/x", "arn:aws:iam::000000000000:role/x", "arn:aws:iam::000000000000:user/"]
    {
        let output = running.command(&["keys", "create", "--host-arn", wrong]);
        assert!(
            output.status.code() == Some(2) && said(&output).contains("assumed-role"),
            "{wrong}: {}",
            said(&output)
        );
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_told_with_its_remedy() {
    let running = Running::start(&[]);
    let other = tempfile::tempdir().unwrap();
    for (listen, status, parts) in [
        (format!("127.0.0.1:{}", running.port()), 1, &["another program has that port", "ss -ltnp", "--listen"][..]),
        ("192.0.2.1:8443".to_owned(), 1, &["does not have that address"]),
        ("localhost".to_owned(), 2, &["there is no port", "localhost:8443"]),
    ] {
        let output =
            Command::new(PROGRAM).args(["serve", "--listen", &listen, "--data"]).arg(other.path()).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{listen}: {text}");
    }
}

#[tokio::test]
async fn an_own_certificate_is_shown_and_hosts_are_told_whom_to_trust() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["deploy.test", "*.deploy.test"].map(str::to_owned);
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(file("own.pem"), certificate.pem()).unwrap();
    std::fs::write(file("own.key"), key.serialize_pem()).unwrap();
    let own = ["--certificate", &file("own.pem"), "--key", &file("own.key"), "--hostname", "deploy.test"];
    let running = Running::start(&own);
    let address = format!("127.0.0.1:{}", running.port()).parse().unwrap();
    let trusts = |ca: &Path| {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
        reqwest::Client::builder().no_proxy().tls_certs_only([ca]).resolve("deploy.test", address).build().unwrap()
    };
    let answer = trusts(Path::new(&file("own.pem"))).get(&running.url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(trusts(&running.ca()).get(&running.url).send().await.is_err(), "it shows its own certificate");

    let lines = said(&running.command(&["keys", "create", "--administrator", "alice", "--env"]));
    assert!(!lines.contains("AWS_CA_BUNDLE") && lines.contains("https://deploy.test"), "{lines}");
    let out = running.directory.path().join("web-1");
    let output =
        running.command(&["host-config", "web-1", "--dir", out.to_str().unwrap(), "--tls-ca", &file("own.pem")]);
    assert!(output.status.success(), "{}", said(&output));
    let config = std::fs::read_to_string(out.join("codedeployagent.yml")).unwrap();
    assert!(config.contains("tls-ca.pem\"\n") && config.contains("deployment_spec_ca_file: "), "{config}");
    assert_eq!(
        std::fs::read_to_string(out.join("tls-ca.pem")).unwrap(),
        std::fs::read_to_string(file("own.pem")).unwrap()
    );
    assert_eq!(std::fs::read(out.join("slipway-ca.pem")).unwrap(), std::fs::read(running.ca()).unwrap());

    let other = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], part: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(other.path());
        let output = command.args(arguments).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(part), "{arguments:?}: {}", said(&output));
    };
    refused(&["--certificate", &file("own.pem"), "--hostname", "deploy.test"], "--key");
    refused(&["--certificate", &file("own.pem"), "--key", &file("own.key")], "--hostname");
    let elsewhere = ["--certificate", &file("own.pem"), "--key", &file("own.key"), "--hostname", "elsewhere.test"];
    refused(&elsewhere, "it is not for elsewhere.test");
}
