//! Other people's clients against the service: the unmodified AWS command line, with a real agent.
//!
//! `make test` puts the command line into a virtual environment under the target directory. Where it
//! could not, this says that it was skipped.
#![allow(clippy::disallowed_methods, reason = "these tests are the world around the programs")]

mod buildspec;
mod moto;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::api::Api;
use slipway_tests::binaries;
use slipway_tests::control::Control;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::{output, run};
use slipway_tests::revision::{HelloWeb, Hook, app};
use slipway_tests::sign::REGION;
use slipway_tests::until::until_true;
use slipway_tests::web;

/// The AWS command line with the environment that the README tells operators to set, and no other.
struct Aws<'a> {
    place: &'a Place,
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl<'a> Aws<'a> {
    /// The command line that `make test` has installed, if it could.
    fn find(place: &'a Place, control: &Control<'_>, api: &Api) -> Result<Option<Self>> {
        let profile = binaries::profile_directory()?;
        let program = profile.parent().context("the profile is in a target directory")?.join("interop/bin/aws");
        if !program.exists() {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!(
                    "skipped: the AWS command line is not in {}; `make test` installs it\n",
                    program.display()
                ),
            );
            return Ok(None);
        }
        let variables = vec![
            ("AWS_ACCESS_KEY_ID", api.key().access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", api.key().secret_access_key.clone()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_CA_BUNDLE", control.ca_file().display().to_string()),
            ("AWS_ENDPOINT_URL_CODEDEPLOY", control.endpoint().to_owned()),
            ("AWS_ENDPOINT_URL_S3", control.endpoint().to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_PAGER", String::new()),
            ("HOME", place.path().display().to_string()),
            ("PATH", std::env::var("PATH")?),
        ];
        Ok(Some(Self { place, program, variables }))
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(line.split_whitespace());
        command
    }

    /// Runs `aws` with the words of a line, and gives what it prints.
    fn text(&self, line: &str) -> Result<String> {
        run(self.place, &mut self.command(line))
    }

    /// [`Self::text`] as JSON.
    fn json(&self, line: &str) -> Result<Value> {
        let printed = self.text(line)?;
        serde_json::from_str(&printed).with_context(|| format!("`aws {line}` printed {printed}"))
    }

    /// What it says when it must not succeed.
    fn refused(&self, line: &str) -> Result<String> {
        let output = output(self.place, &mut self.command(line))?;
        ensure!(!output.status.success(), "`aws {line}` was to be refused");
        Ok(String::from_utf8(output.stderr)?)
    }
}

const APPLICATION: &str = "--application-name shop";
const GROUP: &str = "--application-name shop --deployment-group-name web";

#[test]
fn the_aws_command_line_deploys() -> Result<()> {
    scenario(|place| {
        let control = Control::start(place)?;
        let api = control.administrator("alice")?;
        let Some(aws) = Aws::find(place, &control, &api)? else { return Ok(()) };
        control.bucket("bundles")?;

        let created = aws.json(&format!("deploy create-application {APPLICATION}"))?;
        ensure!(created["applicationId"].as_str().is_some_and(|id| id.len() == 36), "{created}");
        let twice = aws.refused(&format!("deploy create-application {APPLICATION}"))?;
        ensure!(twice.contains("ApplicationAlreadyExistsException"), "{twice}");

        // The host is registered by AWS's command line; the service's own then gives it its key.
        let arn = "arn:aws:iam::000000000000:user/web-1";
        aws.text(&format!("deploy register-on-premises-instance --instance-name web-1 --iam-user-arn {arn}"))?;
        aws.text("deploy add-tags-to-on-premises-instances --instance-names web-1 --tags Key=tier,Value=web")?;
        let mut agent = Agent::register(place, &control, "web-1", &[])?;
        agent.start()?;
        let instance = aws.json("deploy get-on-premises-instance --instance-name web-1")?;
        ensure!(instance["instanceInfo"]["tags"][0]["Key"] == "tier", "{instance}");
        ensure!(instance["instanceInfo"]["iamUserArn"] == arn, "{instance}");

        aws.json(&format!(
            "deploy create-deployment-group {GROUP} --service-role-arn arn:aws:iam::000000000000:role/unused \
             --on-premises-instance-tag-filters Key=tier,Value=web,Type=KEY_AND_VALUE \
             --deployment-config-name CodeDeployDefault.OneAtATime"
        ))?;

        let (source, port) = (place.directory("source")?, web::free_port()?);
        HelloWeb { destination: &place.path().join("hello-web"), port }.version(1)?.write(&source)?;
        let said = aws.text(&format!(
            "deploy push {APPLICATION} --s3-location s3://bundles/hello.zip --source {}",
            source.display()
        ))?;
        ensure!(said.contains("create-deployment"), "push says how to go on: {said}");
        let revisions = aws.json(&format!("deploy list-application-revisions {APPLICATION}"))?;
        ensure!(revisions["revisions"][0]["s3Location"]["key"] == "hello.zip", "{revisions}");

        let begun = aws.json(&format!(
            "deploy create-deployment {GROUP} --s3-location bucket=bundles,key=hello.zip,bundleType=zip"
        ))?;
        let id = begun["deploymentId"].as_str().context("an id")?.to_owned();
        aws.text(&format!("deploy wait deployment-successful --deployment-id {id}"))?;
        let (status, page) = web::page(port)?;
        ensure!(status.contains("200") && page.contains("version 1"), "{status}: {page}");

        let got = aws.json(&format!("deploy get-deployment --deployment-id {id}"))?;
        let info = &got["deploymentInfo"];
        ensure!(info["status"] == "Succeeded" && info["deploymentOverview"]["Succeeded"] == 1, "{info}");
        ensure!(info["applicationName"] == "shop" && info["deploymentGroupName"] == "web", "{info}");
        let instances = aws.json(&format!("deploy list-deployment-instances --deployment-id {id}"))?;
        ensure!(instances["instancesList"].as_array().is_some_and(|list| list.len() == 1), "{instances}");
        let instance = instances["instancesList"][0].as_str().context("an instance")?;
        let got = aws.json(&format!("deploy get-deployment-instance --deployment-id {id} --instance-id {instance}"))?;
        ensure!(got["instanceSummary"]["status"] == "Succeeded", "{got}");
        let targets = aws.json(&format!("deploy list-deployment-targets --deployment-id {id}"))?;
        let target = targets["targetIds"][0].as_str().context("a target")?;
        let got = aws.json(&format!("deploy get-deployment-target --deployment-id {id} --target-id {target}"))?;
        ensure!(got["deploymentTarget"]["instanceTarget"]["status"] == "Succeeded", "{got}");

        stops(place, &aws)?;
        // The page still is the service's own business.
        aws.text("deploy remove-tags-from-on-premises-instances --instance-names web-1 --tags Key=tier,Value=web")?;
        aws.text("deploy deregister-on-premises-instance --instance-name web-1")?;
        aws.text(&format!("deploy delete-deployment-group {GROUP}"))?;
        aws.text(&format!("deploy delete-application {APPLICATION}"))?;
        agent.stop()
    })
}

/// Stops a deployment whose hook is in the middle: the hook ends by itself, and nothing more is run.
fn stops(place: &Place, aws: &Aws<'_>) -> Result<()> {
    let (began, go_on, later) = (place.path().join("began"), place.path().join("go-on"), place.path().join("later"));
    let wait = format!("touch {}\nuntil [ -e {} ]; do sleep 0.05; done", began.display(), go_on.display());
    let mark = format!("touch {}", later.display());
    let hooks = [Hook::new("BeforeInstall", &wait), Hook::new("AfterInstall", &mark)];
    let source = place.directory("source-that-waits")?;
    app(&place.path().join("waiting"), "page", &hooks).write(&source)?;
    aws.text(&format!("deploy push {APPLICATION} --s3-location s3://bundles/waits.zip --source {}", source.display()))?;
    let begun = aws
        .json(&format!("deploy create-deployment {GROUP} --s3-location bucket=bundles,key=waits.zip,bundleType=zip"))?;
    let id = begun["deploymentId"].as_str().context("an id")?;
    until_true("the hook to begin", PATIENCE, || Ok(began.exists()))?;
    let stopped = aws.json(&format!("deploy stop-deployment --deployment-id {id}"))?;
    ensure!(matches!(stopped["status"].as_str(), Some("Pending" | "Succeeded")), "{stopped}");
    std::fs::write(&go_on, "")?;
    until_true("the deployment to be stopped", PATIENCE, || {
        Ok(aws.json(&format!("deploy get-deployment --deployment-id {id}"))?["deploymentInfo"]["status"] == "Stopped")
    })?;
    ensure!(!later.exists(), "nothing more runs after the stop");
    Ok(())
}
