use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Running, S3, answered};

const API: &str = "CodeDeploy_20141006";
const COMMANDS: &str = "CodeDeployCommandService_v20141006";

#[tokio::test]
async fn a_look_without_a_signature_is_answered_and_a_call_is_refused() {
    let running = Running::start(&[]);
    let client = running.client();
    let greeting = client.get(&running.url).send().await.unwrap();
    assert_eq!(greeting.status(), 200);
    assert!(greeting.headers().contains_key("x-amzn-requestid"));
    assert_eq!(greeting.version(), reqwest::Version::HTTP_2);

    let unsigned = client.post(&running.url).header("x-amz-target", format!("{API}.ListApplications")).send().await;
    let unsigned = unsigned.unwrap();
    assert_eq!(unsigned.headers()["content-type"], "application/x-amz-json-1.1");
    let (status, error) = answered(unsigned).await;
    assert_eq!((status, &error["__type"]), (403, &json!("MissingAuthenticationTokenException")));

    for (path, target) in
        [("/", None), ("/", Some("Other.Thing")), ("/x", Some("CodeDeploy_20141006.ListApplications"))]
    {
        let mut request = client.post(format!("{}{path}", running.url));
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        let (status, error) = answered(request.send().await.unwrap()).await;
        assert_eq!((status, &error["__type"]), (404, &json!("UnknownOperationException")), "{path} {target:?}");
    }
    let rpc = client.post(format!("{}/service/CodeDeploy_20141006/operation/ListApplications", running.url));
    let (status, error) = answered(rpc.header("smithy-protocol", "rpc-v2-cbor").send().await.unwrap()).await;
    assert_eq!((status, &error["__type"]), (404, &json!("UnknownOperationException")));
}

#[tokio::test]
async fn each_key_opens_its_own_doors() {
    let running = Running::start(&["--poll-hold", "0"]);
    let administrator = running.key(&["--administrator", "root"]);
    let host = running.host("web-1", &[]);
    let own = json!({"HostIdentifier": "arn:aws:iam::000000000000:user/web-1"});
    let other = json!({"HostIdentifier": "arn:aws:iam::000000000000:user/web-2"});
    let list = format!("{API}.ListApplications");
    let poll = format!("{COMMANDS}.PollHostCommand");

    assert_eq!(running.call(&administrator, &list, json!({})).await, (200, json!({"applications": []})));
    let (status, error) = running.call(&host, &list, json!({})).await;
    assert_eq!((status, &error["__type"]), (403, &json!("AccessDeniedException")));
    assert_eq!(running.call(&host, &poll, own.clone()).await, (200, json!({})));
    let secure = "CodeDeployCommandService.PollHostCommand";
    assert_eq!(running.call(&host, secure, own.clone()).await, (200, json!({})));
    assert_eq!(running.call(&host, &poll, other).await.0, 403);
    assert_eq!(running.call(&administrator, &poll, own.clone()).await.0, 403);
    assert_eq!(running.call(&administrator, &format!("{API}.Nothing"), json!({})).await.0, 404);

    let revoked = running.command(&["keys", "revoke", &host.id]);
    assert!(revoked.status.success(), "{revoked:?}");
    let (status, error) = running.call(&host, &poll, own).await;
    assert_eq!((status, &error["__type"]), (403, &json!("UnrecognizedClientException")));
    let log = running.log();
    assert!(!log.contains(&administrator.secret) && !log.contains(&host.secret), "secrets in the log");
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    let (status, error) =
        running.call(&key, &format!("{API}.ListApplications"), json!({"nextToken": "x".repeat(1_100_000)})).await;
    assert_eq!((status, &error["__type"]), (413, &json!("RequestEntityTooLargeException")));
}

/// From a registered host to its bundle: the whole way of a host's key through the S3.
#[tokio::test]
async fn a_host_reads_the_bundle_of_its_deployment_and_no_other() {
    let running = Running::start(&["--poll-hold", "0"]);
    let administrator = running.key(&["--administrator", "root"]);
    let host = running.host("web-1", &["--tag", "Stage=test"]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    for name in ["app.zip", "other.zip"] {
        assert_eq!(S3::new(&running, &administrator, &format!("bundles/{name}")).put(name).await, 200);
    }
    assert_eq!(S3::new(&running, &host, "bundles/app.zip").get().await.0, 403, "nothing is deployed yet");

    running.group(&administrator).await;
    running.deploy(&administrator).await;

    assert_eq!(S3::new(&running, &host, "bundles/app.zip").get().await, (200, "app.zip".to_owned()));
    assert_eq!(S3::new(&running, &host, "bundles/other.zip").get().await.0, 403);
    assert_eq!(S3::new(&running, &host, "bundles/app.zip").put("evil").await, 403);
    assert_eq!(S3::new(&running, &host, "bundles").get().await.0, 403);
    assert_eq!(S3::new(&running, &administrator, "bundles/app.zip").get().await.1, "app.zip");

    let identifier = "arn:aws:iam::000000000000:user/web-1";
    let begun = Instant::now();
    let poll = json!({"HostIdentifier": identifier});
    let command = loop {
        let (status, output) = running.call(&host, &format!("{COMMANDS}.PollHostCommand"), poll.clone()).await;
        assert_eq!(status, 200);
        if let Some(command) = output.get("HostCommand") {
            break command.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no command came");
    };
    let input = json!({"DeploymentExecutionId": command["DeploymentExecutionId"], "HostIdentifier": identifier});
    let (status, output) = running.call(&host, &format!("{COMMANDS}.GetDeploymentSpecification"), input).await;
    assert_eq!(status, 200, "{output}");
    let envelope = &output["DeploymentSpecification"]["GenericEnvelope"];
    assert_eq!(envelope["Format"], "PKCS7/JSON");
    let Some(specification) = verified_by_openssl(&running, envelope["Payload"].as_str().unwrap()) else { return };
    assert_eq!(specification["Revision"]["S3Revision"]["Key"], "app.zip");
    let sha256 = <sha2::Sha256 as sha2::Digest>::digest("app.zip");
    assert_eq!(specification["Revision"]["S3Revision"]["ChecksumSHA256"], hex::encode(sha256));
}

/// What `openssl smime -verify` says that the service signed; `None`, said aloud, where there is no openssl.
fn verified_by_openssl(running: &Running, pem: &str) -> Option<Value> {
    let spec = running.directory.path().join("spec.pem");
    std::fs::write(&spec, pem).unwrap();
    let verification = std::process::Command::new("openssl")
        .args(["smime", "-verify", "-binary", "-inform", "PEM", "-CAfile"])
        .args([running.ca(), "-in".into(), spec])
        .output();
    match verification {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            Some(serde_json::from_slice(&output.stdout).unwrap())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped: there is no `openssl` command on the PATH\n"),
            );
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A link that was given away is for what it says, and cannot be turned into another request.
#[tokio::test]
async fn a_presigned_link_takes_no_further_headers_and_old_signatures_are_refused() {
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    assert_eq!(S3::new(&running, &key, "bundles/secret").put("secret").await, 200);
    let url = S3::new(&running, &key, "bundles/inbox").presigned("PUT", &running.url);
    let copying = running.client().put(&url).header("x-amz-copy-source", "/bundles/secret").body("");
    let refused = copying.send().await.unwrap();
    let (status, text) = (refused.status().as_u16(), refused.text().await.unwrap());
    assert!(status == 403 && text.contains("AccessDenied") && text.contains("x-amz-copy-source"), "{status} {text}");

    let old = format!("{}/bundles/secret?AWSAccessKeyId={}&Signature=x&Expires=9999999999", running.url, key.id);
    let refused = running.client().get(old).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let form = running.client().post(format!("{}/bundles", running.url));
    let form = form.header("content-type", "multipart/form-data; boundary=x").body("--x--");
    assert_eq!(form.send().await.unwrap().status(), 501);
}

#[tokio::test]
async fn a_bucket_can_be_in_the_name_of_the_host() {
    let running = Running::start(&["--hostname", "deploy.test"]);
    let key = running.key(&["--administrator", "root"]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    assert_eq!(S3::new(&running, &key, "bundles/k").put("content").await, 200);
    let url = S3::new(&running, &key, "k").presigned("GET", &format!("https://bundles.deploy.test:{}", running.port()));
    let response = running.client().get(url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, "content"));
    // Then the paths of other services are objects', too.
    let base = format!("https://bundles.deploy.test:{}", running.port());
    let url = S3::new(&running, &key, "service/a/operation/b").presigned("PUT", &base);
    assert_eq!(running.client().put(url).body("x").send().await.unwrap().status(), 200);
    let refused = running.client().post(format!("{base}/?delete")).body("<Delete/>").send().await.unwrap();
    assert!(refused.text().await.unwrap().contains("<Code>AccessDenied"), "the S3 answers, not the API");
}
