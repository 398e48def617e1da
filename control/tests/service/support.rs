//! A running service, and clients of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::{Certificate, Client, Response};
use serde_json::{Value, json};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_slipway-control");
/// Far beyond what anything here takes; a failure, never a pause.
const DEADLINE: Duration = Duration::from_secs(30);

/// A service that is killed when the test ends.
pub struct Running {
    pub directory: tempfile::TempDir,
    pub url: String,
    child: Child,
}

/// An access key as `keys create --json` prints it.
pub struct Key {
    pub id: String,
    pub secret: String,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    pub fn start_in(directory: tempfile::TempDir, arguments: &[&str]) -> Self {
        let log = File::options().append(true).create(true).open(directory.path().join("log")).unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "debug", "--data"])
            .arg(directory.path().join("data"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let endpoint = directory.path().join("data/endpoint");
        // What an earlier service wrote is removed before this one listens; so wait for its own process's.
        wait_until("the service listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the service ended: {status}\n{}", read(&directory.path().join("log")));
            }
            listening(&directory.path().join("log")) > 0 && endpoint.exists()
        });
        let url = read(&endpoint).trim().to_owned();
        Self { directory, url, child }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn port(&self) -> &str {
        self.url.rsplit_once(':').unwrap().1
    }

    pub fn ca(&self) -> PathBuf {
        self.data().join("pki/ca.pem")
    }

    pub fn log(&self) -> String {
        read(&self.directory.path().join("log"))
    }

    pub fn client(&self) -> Client {
        let ca = Certificate::from_pem(&std::fs::read(self.ca()).unwrap()).unwrap();
        let address = format!("127.0.0.1:{}", self.port()).parse().unwrap();
        Client::builder()
            .no_proxy()
            .tls_certs_only([ca])
            .resolve("deploy.test", address)
            .resolve("bundles.deploy.test", address)
            .build()
            .unwrap()
    }

    /// A command of the program on this service's directory.
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM).args(arguments).arg("--data").arg(self.data()).output().unwrap()
    }

    pub fn key(&self, arguments: &[&str]) -> Key {
        let output = self.command(&[&["keys", "create", "--json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        let key: Value = serde_json::from_slice(&output.stdout).unwrap();
        Key {
            id: key["accessKeyId"].as_str().unwrap().to_owned(),
            secret: key["secretAccessKey"].as_str().unwrap().to_owned(),
        }
    }

    /// Registers a host, and gives the key that its agent would use.
    pub fn host(&self, name: &str, arguments: &[&str]) -> Key {
        let out = self.directory.path().join(name);
        let output = self.command(&[&["host-config", name, "--dir", out.to_str().unwrap()], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("slipway-agent run --config"), "{output:?}");
        let identity = read(&out.join("codedeploy.onpremises.yml"));
        let field = |name: &str| {
            let line = identity.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
            serde_json::from_str(line).unwrap()
        };
        Key { id: field("aws_access_key_id"), secret: field("aws_secret_access_key") }
    }

    /// A signed call; `target` is the `X-Amz-Target`.
    pub async fn call(&self, key: &Key, target: &str, body: Value) -> (u16, Value) {
        let body = body.to_string();
        let response = self.client().execute(self.signed(key, target, &body)).await.unwrap();
        answered(response).await
    }

    /// Works as a host's agent until one event has failed or the last one has ended; `behave` gives each event's diagnostics.
    pub async fn agent(&self, key: &Key, name: &str, behave: impl Fn(&str) -> Value) {
        const COMMANDS: &str = "CodeDeployCommandService_v20141006";
        let begun = Instant::now();
        let poll = json!({"HostIdentifier": format!("arn:aws:iam::000000000000:user/{name}")});
        let diagnostics = |payload: &Value| json!({"Format": "JSON", "Payload": payload.to_string()});
        loop {
            assert!(begun.elapsed() < DEADLINE, "the agent waited in vain");
            let (_, output) = self.call(key, &format!("{COMMANDS}.PollHostCommand"), poll.clone()).await;
            let Some(command) = output.get("HostCommand") else { continue };
            let id = &command["HostCommandIdentifier"];
            let acknowledge =
                json!({"HostCommandIdentifier": id, "Diagnostics": diagnostics(&json!({"IsCommandNoop": false}))});
            self.call(key, &format!("{COMMANDS}.PutHostCommandAcknowledgement"), acknowledge).await;
            let event = command["CommandName"].as_str().unwrap();
            let told = behave(event);
            let status = if told["error_code"] == 0 { "Succeeded" } else { "Failed" };
            let complete =
                json!({"HostCommandIdentifier": id, "CommandStatus": status, "Diagnostics": diagnostics(&told)});
            let (code, answer) = self.call(key, &format!("{COMMANDS}.PutHostCommandComplete"), complete).await;
            assert_eq!(code, 200, "{answer}");
            if status == "Failed" || event == "ValidateService" {
                return;
            }
        }
    }

    /// A call of the public API that has to succeed.
    pub async fn ok(&self, key: &Key, operation: &str, input: Value) -> Value {
        let (status, output) = self.call(key, &format!("CodeDeploy_20141006.{operation}"), input).await;
        assert_eq!(status, 200, "{operation}: {output}");
        output
    }

    /// Makes the application `app` with the deployment group `all`: the hosts with the tag Stage=test.
    pub async fn group(&self, key: &Key) {
        self.ok(key, "CreateApplication", json!({"applicationName": "app"})).await;
        let group = json!({
            "applicationName": "app", "deploymentGroupName": "all",
            "serviceRoleArn": "arn:aws:iam::000000000000:role/r",
            "onPremisesInstanceTagFilters": [{"Key": "Stage", "Value": "test", "Type": "KEY_AND_VALUE"}],
        });
        self.ok(key, "CreateDeploymentGroup", group).await;
    }

    /// Deploys the newest `bundles/app.zip` to that group; gives the deployment's id.
    pub async fn deploy(&self, key: &Key) -> String {
        let location = json!({"bucket": "bundles", "key": "app.zip", "bundleType": "zip"});
        let deployment = json!({
            "applicationName": "app", "deploymentGroupName": "all",
            "revision": {"revisionType": "S3", "s3Location": location},
        });
        self.ok(key, "CreateDeployment", deployment).await["deploymentId"].as_str().unwrap().to_owned()
    }

    pub fn signed(&self, key: &Key, target: &str, body: &str) -> reqwest::Request {
        let service = match target.split('.').next().unwrap() {
            "CodeDeploy_20141006" => "codedeploy",
            "CodeDeployCommandService_v20141006" => "codedeploy-commands",
            _ => "codedeploy-commands-secure",
        };
        let mut request = http::Request::post(format!("{}/", self.url))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("x-amz-codedeploy-agent-version", "slipway-agent/9.9.9")
            .body(body.to_owned())
            .unwrap();
        let identity = Credentials::from_keys(&key.id, &key.secret, None).into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
            .time(std::time::SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new("POST", &uri, headers, SignableBody::Bytes(body.as_bytes())).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        request.try_into().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the service ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Kills the service without a warning and starts another on its directory.
    pub fn restart(mut self, arguments: &[&str]) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        std::fs::remove_file(directory.path().join("log")).unwrap();
        Self::start_in(directory, arguments)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An S3 request by its own path of signing, in a query: what `aws s3 presign` makes.
pub struct S3<'a> {
    running: &'a Running,
    key: &'a Key,
    path: String,
}

impl<'a> S3<'a> {
    pub fn new(running: &'a Running, key: &'a Key, path: &str) -> Self {
        Self { running, key, path: path.to_owned() }
    }

    pub async fn get(&self) -> (u16, String) {
        let response = self.running.client().get(self.presigned("GET", &self.running.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn put(&self, content: &str) -> u16 {
        let url = self.presigned("PUT", &self.running.url);
        let response = self.running.client().put(url).body(content.to_owned()).send().await.unwrap();
        response.status().as_u16()
    }

    /// Stores the object, and gives its version.
    pub async fn put_version(&self, content: &str) -> String {
        let url = self.presigned("PUT", &self.running.url);
        let response = self.running.client().put(url).body(content.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.headers()["x-amz-version-id"].to_str().unwrap().to_owned()
    }

    pub async fn get_version(&self, version: &str) -> (u16, String) {
        let of_version = Self::new(self.running, self.key, &format!("{}?versionId={version}", self.path));
        of_version.get().await
    }

    pub fn presigned(&self, method: &str, base: &str) -> String {
        use aws_sigv4::http_request as sigv4;
        let identity = aws_credential_types::Credentials::from_keys(&self.key.id, &self.key.secret, None).into();
        let mut settings = sigv4::SigningSettings::default();
        settings.signature_location = sigv4::SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
        settings.percent_encoding_mode = sigv4::PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = sigv4::UriPathNormalizationMode::Disabled;
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(std::time::SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("{base}/{}", self.path);
        let body = sigv4::SignableBody::UnsignedPayload;
        let signable = sigv4::SignableRequest::new(method, &url, std::iter::empty(), body).unwrap();
        let (instructions, _) = sigv4::sign(signable, &params).unwrap().into_parts();
        let mut request = http::Request::builder().method(method).uri(&url).body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request.uri().to_string()
    }
}

pub async fn answered(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn listening(log: &Path) -> usize {
    read(log).matches("listening").count()
}
