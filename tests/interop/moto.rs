//! The agent with an S3 that is not ours: moto's, filled by the AWS command line. Versions, checksums, uploads in
//! parts.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::binaries;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::{Program, output, run};
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::until::until;

const BUCKET: &str = "bundles";

/// The bucket, and a host that deploys from it.
struct Moto<'a> {
    place: &'a Place,
    tools: PathBuf,
    variables: [(&'static str, String); 7],
    host: Agent<'a>,
    _server: Program,
}

impl<'a> Moto<'a> {
    /// With the tools that `make test` has installed, if it could.
    fn start(place: &'a Place) -> Result<Option<Self>> {
        let profile = binaries::profile_directory()?;
        let tools = profile.parent().context("the profile is in a target directory")?.join("interop/bin");
        if !tools.join("moto_server").exists() {
            let _ = writeln!(std::io::stderr(), "skipped: moto is not in {}; `make test` installs it", tools.display());
            return Ok(None);
        }
        let file = place.path().join("moto-url");
        let script = binaries::repository().join("tests/interop/bucket.py");
        let mut command = Command::new(tools.join("python"));
        command.arg(script).arg(&file).env("HOME", place.path());
        let mut server = Program::start(place, "moto", &mut command)?;
        let url = until("moto to listen", PATIENCE, || {
            server.must_run()?;
            Ok(std::fs::read_to_string(&file).ok().map(|url| url.trim().to_owned()))
        })?;
        let host = Agent::alone(place, "web-1")?;
        host.configure("20-moto.yml", &format!("s3_endpoint_override: {url}\nkeep_bundles: true\n"))?;
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKIAMOTO".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", url),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("HOME", place.path().display().to_string()),
        ];
        let moto = Self { place, tools, variables, host, _server: server };
        moto.aws(&format!("s3api create-bucket --bucket {BUCKET}"))?;
        moto.aws(&format!("s3api put-bucket-versioning --bucket {BUCKET} --versioning-configuration Status=Enabled"))?;
        Ok(Some(moto))
    }

    /// Runs `aws` with the words of a line, and gives what it prints.
    fn aws(&self, line: &str) -> Result<Value> {
        let mut command = Command::new(self.tools.join("aws"));
        command.env_clear().envs(self.variables.clone()).args(line.split_whitespace());
        let printed = run(self.place, &mut command)?;
        Ok(serde_json::from_str(&printed).unwrap_or(Value::String(printed)))
    }

    /// Writes a bundle that installs one page, and noise that has to come with it.
    fn bundle(&self, page: &str, noise: usize) -> Result<PathBuf> {
        let mut bytes = app(&self.place.path().join("app"), page, &[]).pack(BundleKind::Tar)?;
        let end = bytes.len();
        bytes.resize(end + noise, 0);
        fastrand::Rng::with_seed(3).fill(&mut bytes[end..]);
        let path = self.place.path().join("bundle");
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Deploys, and gives the page that is there then, or what was said.
    fn deploy(&self, location: &str) -> Result<std::result::Result<String, String>> {
        let location = format!("s3://{BUCKET}/{location}");
        let mut command = self.host.command(&["deploy-local", "-l", &location, "-t", "tar", "-g", "moto"])?;
        command.envs(self.variables.clone()).env("RUST_LOG", "info");
        let output = output(self.place, &mut command)?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Ok(Err(said));
        }
        ensure!(!said.contains("not verified"), "{said}");
        Ok(Ok(std::fs::read_to_string(self.place.path().join("app/page"))?))
    }
}

#[test]
fn versions_are_told_apart() -> Result<()> {
    scenario(|place| {
        let Some(moto) = Moto::start(place)? else { return Ok(()) };
        let put = |page: &str| {
            let file = moto.bundle(page, 0)?;
            let put =
                moto.aws(&format!("s3api put-object --bucket {BUCKET} --key app.tar --body {}", file.display()))?;
            let text = |member: &str| Ok::<_, anyhow::Error>(put[member].as_str().context("a member")?.to_owned());
            anyhow::Ok((text("VersionId")?, text("ETag")?.trim_matches('"').to_owned()))
        };
        let (old, old_etag) = put("old")?;
        let (_, new_etag) = put("new")?;
        let deployed = |location: String| moto.deploy(&location);
        ensure!(deployed("app.tar".to_owned())? == Ok("new".to_owned()));
        ensure!(deployed(format!("app.tar?versionId={old}"))? == Ok("old".to_owned()));
        ensure!(deployed(format!("app.tar?versionId={old}&etag={old_etag}"))? == Ok("old".to_owned()));
        ensure!(deployed(format!("app.tar?etag={new_etag}"))? == Ok("new".to_owned()));
        let refused = deployed(format!("app.tar?etag={old_etag}"))?.err().context("another ETag was accepted")?;
        ensure!(refused.contains(&old_etag), "{refused}");
        for (location, part) in [("none.tar", "no such object"), ("app.tar?versionId=none", "version")] {
            let refused = deployed(location.to_owned())?.err().context("nothing was deployed")?;
            ensure!(refused.contains(part) && refused.contains("AKIAMOTO"), "{refused}");
        }
        Ok(())
    })
}

#[test]
fn checksums_of_the_command_line_hold() -> Result<()> {
    scenario(|place| {
        let Some(moto) = Moto::start(place)? else { return Ok(()) };
        for algorithm in ["CRC32", "SHA1", "SHA256"] {
            let file = moto.bundle(algorithm, 100_000)?;
            let put = format!("s3api put-object --bucket {BUCKET} --key {algorithm} --body {}", file.display());
            moto.aws(&format!("{put} --checksum-algorithm {algorithm}"))?;
            let deployed = moto.deploy(algorithm)?;
            ensure!(deployed == Ok(algorithm.to_owned()), "{deployed:?}");
        }
        Ok(())
    })
}

#[test]
fn uploads_in_parts_come_in_pieces() -> Result<()> {
    scenario(|place| {
        let Some(moto) = Moto::start(place)? else { return Ok(()) };
        for options in ["", "--checksum-algorithm SHA256", "--checksum-algorithm SHA1"] {
            let page = format!("in parts {options}");
            let file = moto.bundle(&page, 20_000_000)?;
            moto.aws(&format!("s3 cp --quiet {} s3://{BUCKET}/large {options}", file.display()))?;
            let head = moto.aws(&format!("s3api head-object --bucket {BUCKET} --key large"))?;
            ensure!(head["ETag"].as_str().is_some_and(|etag| etag.ends_with("-3\"")), "it has no parts: {head}");
            let deployed = moto.deploy("large")?;
            ensure!(deployed == Ok(page), "{deployed:?}");
        }
        Ok(())
    })
}
