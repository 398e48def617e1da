//! The unmodified `aws` command, where there is one.

use std::path::Path;
use std::process::{Command, Output};

use super::support::{Key, PROGRAM, Running, read};

/// `None`, said aloud, if there is no `aws` to test with.
pub fn aws() -> Option<()> {
    let found = command().arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: there is no `aws` command on the PATH (PyPI: awscli); `make test` makes one\n"),
        );
    }
    found.then_some(())
}

/// The search path, with the `aws` that `make test` makes first.
pub fn path() -> String {
    let own = Path::new(PROGRAM).ancestors().nth(2).unwrap().join("interop/bin");
    format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default())
}

/// `aws`, found by that path: a command's own environment does not count for that.
fn command() -> Command {
    let mut command = Command::new("env");
    command.arg("aws").env("PATH", path());
    command
}

pub struct Aws<'a> {
    pub running: &'a Running,
    pub key: &'a Key,
}

impl Aws<'_> {
    pub fn run(&self, arguments: &[&str]) -> Output {
        command()
            .args(arguments)
            .current_dir(self.running.directory.path())
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .env("HOME", self.running.directory.path())
            .env("AWS_ACCESS_KEY_ID", &self.key.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.key.secret)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_CA_BUNDLE", self.running.ca())
            .env("AWS_ENDPOINT_URL_S3", &self.running.url)
            .env("AWS_ENDPOINT_URL_CODEDEPLOY", &self.running.url)
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .unwrap()
    }

    pub fn ok(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", self.running.log());
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

#[test]
fn objects_go_there_and_back() {
    let Some(()) = aws() else { return };
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    let aws = Aws { running: &running, key: &key };
    let path = |name: &str| running.directory.path().join(name);
    // Large enough that it goes in parts.
    let large: Vec<u8> = (0..20_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(path("large"), &large).unwrap();
    std::fs::write(path("small"), "first").unwrap();

    aws.ok(&["s3", "mb", "s3://bundles"]);
    aws.ok(&["s3", "cp", "--no-progress", "large", "s3://bundles/a/large"]);
    aws.ok(&["s3", "cp", "--no-progress", "s3://bundles/a/large", "back"]);
    assert!(std::fs::read(path("back")).unwrap() == large);

    let mut versions = Vec::new();
    for algorithm in ["CRC32", "SHA1", "SHA256"] {
        let put = aws.ok(&[
            "s3api",
            "put-object",
            "--bucket",
            "bundles",
            "--key",
            "k",
            "--body",
            "small",
            "--checksum-algorithm",
            algorithm,
        ]);
        assert_eq!(put["ETag"], "\"8b04d5e3775d298e78455efc5ca404d5\"");
        assert!(put[format!("Checksum{algorithm}")].is_string(), "{put}");
        versions.push(put["VersionId"].as_str().unwrap().to_owned());
    }
    std::fs::write(path("small"), "second").unwrap();
    aws.ok(&["s3", "cp", "--no-progress", "small", "s3://bundles/k"]);
    let get = ["s3api", "get-object", "--bucket", "bundles", "--key", "k"];
    aws.ok(&[&get[..], &["--version-id", &versions[0], "old"]].concat());
    assert_eq!(read(&path("old")), "first");
    aws.ok(&[&get[..], &["new"]].concat());
    assert_eq!(read(&path("new")), "second");
    aws.ok(&[&get[..], &["--range", "bytes=1-3", "part"]].concat());
    assert_eq!(read(&path("part")), "eco");
    let head =
        aws.ok(&["s3api", "head-object", "--bucket", "bundles", "--key", "a/large", "--checksum-mode", "ENABLED"]);
    assert_eq!(head["ContentLength"], large.len());
    assert!(head["ChecksumSHA256"].is_string(), "{head}");

    let listed = aws.ok(&["s3api", "list-objects-v2", "--bucket", "bundles", "--delimiter", "/"]);
    assert_eq!((&listed["Contents"][0]["Key"], &listed["CommonPrefixes"][0]["Prefix"]), (&"k".into(), &"a/".into()));
    aws.ok(&["s3", "mv", "--no-progress", "s3://bundles/k", "s3://bundles/moved"]);
    aws.ok(&["s3", "cp", "--no-progress", "s3://bundles/moved", "moved"]);
    assert_eq!(read(&path("moved")), "second");
    aws.ok(&["s3", "rm", "--recursive", "s3://bundles"]);
    assert!(aws.ok(&["s3api", "list-objects-v2", "--bucket", "bundles"]).get("Contents").is_none());
}

#[test]
fn pushed_bundles_are_registered() {
    let Some(()) = aws() else { return };
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    let aws = Aws { running: &running, key: &key };
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    let source = running.directory.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("appspec.yml"), "version: 0.0\nos: linux\n").unwrap();
    aws.ok(&["deploy", "create-application", "--application-name", "app"]);
    let pushed = aws.run(&[
        "deploy",
        "push",
        "--application-name",
        "app",
        "--s3-location",
        "s3://bundles/app.zip",
        "--source",
        "source",
    ]);
    assert!(pushed.status.success(), "{pushed:?}");
    let revisions = aws.ok(&["deploy", "list-application-revisions", "--application-name", "app"]);
    let location = &revisions["revisions"][0]["s3Location"];
    assert_eq!((&location["bucket"], &location["key"]), (&"bundles".into(), &"app.zip".into()));
    assert!(location["eTag"].is_string() && location["version"].is_string(), "{revisions}");
}

/// Over HTTP/1.1, where a client that is cut off while it sends never looks at the answer.
#[test]
fn a_body_that_is_too_large_is_answered_with_413() {
    let Some(()) = aws() else { return };
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    let aws = Aws { running: &running, key: &key };
    std::fs::write(running.directory.path().join("long"), "x".repeat(6_000_000)).unwrap();
    let said = aws.refused(&["deploy", "list-applications", "--next-token", "file://long"]);
    assert!(said.contains("RequestEntityTooLargeException") && said.contains("larger than"), "{said}");
}

#[test]
fn wrong_keys_are_refused_with_names_that_say_why() {
    let Some(()) = aws() else { return };
    let running = Running::start(&[]);
    let key = running.key(&["--administrator", "root"]);
    assert!(running.command(&["bucket", "create", "bundles"]).status.success());
    std::fs::write(running.directory.path().join("f"), "x").unwrap();
    let list = ["deploy", "list-applications"];
    let put = ["s3api", "put-object", "--bucket", "bundles", "--key", "k", "--body", "f"];

    let wrong = Key { id: key.id.clone(), secret: "x".repeat(40) };
    let wrong = Aws { running: &running, key: &wrong };
    assert!(wrong.refused(&list).contains("InvalidSignatureException"));
    assert!(wrong.refused(&put).contains("SignatureDoesNotMatch"));
    let unknown = Key { id: "AKIAAAAAAAAAAAAAAAAA".to_owned(), secret: key.secret.clone() };
    let unknown = Aws { running: &running, key: &unknown };
    assert!(unknown.refused(&list).contains("UnrecognizedClientException"));
    assert!(unknown.refused(&put).contains("InvalidAccessKeyId"));
    let host = running.key(&["--host", "web-1"]);
    let host = Aws { running: &running, key: &host };
    assert!(host.refused(&list).contains("AccessDeniedException"));
    assert!(host.refused(&put).contains("AccessDenied"));
    assert!(
        Path::new(&running.data())
            .join("objects")
            .read_dir()
            .unwrap()
            .all(|entry| { entry.unwrap().path().read_dir().unwrap().next().is_none() })
    );
}
