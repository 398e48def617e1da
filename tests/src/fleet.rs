//! An application, a deployment group and a bucket: what most scenarios deploy with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::api::Api;
use crate::control::Control;
use crate::deployment::{Finished, finish};
use crate::place::Place;
use crate::revision::{BundleKind, Revision};

/// Name of the application of every scenario.
pub const APPLICATION: &str = "hello-web";
/// Tag value of every host, which no group asks for.
pub const TAG_VALUE: &str = "yes";
/// Name of the bucket of every scenario.
pub const BUCKET: &str = "bundles";
/// Longest time for a deployment of the tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A deployment group to deploy to, by an administrator's hand.
pub struct Group {
    api: Arc<Api>,
    name: String,
}

/// A bundle in the service's S3.
#[derive(Clone, Debug)]
pub struct Bundle {
    key: String,
    kind: BundleKind,
    etag: String,
}

/// The service, one host and one group of it: where most scenarios begin.
pub struct Fleet<'a> {
    /// The service.
    pub control: Control<'a>,
    /// An administrator's client.
    pub api: Arc<Api>,
    /// The host; its agent does not run yet.
    pub agent: Agent<'a>,
    /// A group of that host, without automatic rollback.
    pub group: Group,
}

impl<'a> Fleet<'a> {
    /// Starts the service, and registers the host.
    pub fn gather(place: &'a Place) -> Result<Self> {
        let control = Control::start(place)?;
        let api = Arc::new(control.administrator("tests")?);
        let agent = Agent::register(place, &control, "web-1", &["blue"])?;
        let group = Group::create(&control, &api, "blue", OnFailure::Leave)?;
        Ok(Self { control, api, agent, group })
    }

    /// The same, with an agent that runs.
    pub fn start(place: &'a Place) -> Result<Self> {
        let mut fleet = Self::gather(place)?;
        fleet.agent.start()?;
        Ok(fleet)
    }
}

/// What to do when a deployment fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing.
    Leave,
    /// Deploy the last successful revision again.
    RollBack,
}

impl Group {
    /// Makes application and bucket if they are not there, and the group of all hosts that have a
    /// tag of the group's name.
    pub fn create(control: &Control<'_>, api: &Arc<Api>, name: &str, on_failure: OnFailure) -> Result<Self> {
        if let Err(refusal) = api.call("CreateApplication", json!({"applicationName": APPLICATION})) {
            let known = refusal.to_string().contains("ApplicationAlreadyExistsException");
            known.then_some(()).ok_or(refusal)?;
        } else {
            control.bucket(BUCKET)?;
        }
        api.call(
            "CreateDeploymentGroup",
            json!({
                "applicationName": APPLICATION,
                "deploymentGroupName": name,
                "deploymentConfigName": "CodeDeployDefault.AllAtOnce",
                "serviceRoleArn": "arn:aws:iam::000000000000:role/unused",
                "onPremisesInstanceTagFilters": [{"Key": name, "Type": "KEY_ONLY"}],
                "autoRollbackConfiguration": {
                    "enabled": on_failure == OnFailure::RollBack,
                    "events": ["DEPLOYMENT_FAILURE"],
                },
            }),
        )?;
        Ok(Self { api: Arc::clone(api), name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client that it is used with.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Packs a revision and puts it to S3.
    pub fn push(&self, name: &str, revision: &Revision, kind: BundleKind) -> Result<Bundle> {
        self.push_packed(name, revision.pack(kind)?, kind)
    }

    /// Puts bytes to S3 as a bundle of that kind, whatever they are.
    pub fn push_packed(&self, name: &str, bytes: Vec<u8>, kind: BundleKind) -> Result<Bundle> {
        let key = format!("{}/{name}", self.name);
        let etag = self.api.put(BUCKET, &key, bytes)?;
        Ok(Bundle { key, kind, etag })
    }

    /// Puts a packed file to S3 as a stream.
    pub fn push_file(&self, name: &str, file: &Path, kind: BundleKind) -> Result<Bundle> {
        let key = format!("{}/{name}", self.name);
        let etag = self.api.put_file(BUCKET, &key, file)?;
        Ok(Bundle { key, kind, etag })
    }

    /// Starts a deployment and gives its id.
    pub fn begin(&self, bundle: &Bundle) -> Result<String> {
        self.begin_with(bundle, json!({}))
    }

    /// Starts a deployment with further members of CreateDeployment, and gives its id.
    pub fn begin_with(&self, bundle: &Bundle, members: Value) -> Result<String> {
        let mut input = json!({
            "applicationName": APPLICATION,
            "deploymentGroupName": self.name,
            "revision": bundle.revision(),
        });
        for (name, member) in members.as_object().into_iter().flatten() {
            input[name] = member.clone();
        }
        let answer = self.api.call("CreateDeployment", input)?;
        Ok(answer["deploymentId"].as_str().context("CreateDeployment answers an id")?.to_owned())
    }

    /// Deploys, and waits for the end.
    pub fn deploy(&self, bundle: &Bundle) -> Result<Finished> {
        finish(&self.api, &self.begin(bundle)?, PATIENCE)
    }
}

impl Bundle {
    /// The API's revision location.
    pub fn revision(&self) -> Value {
        let location =
            json!({"bucket": BUCKET, "key": self.key, "bundleType": self.kind.type_name(), "eTag": self.etag});
        json!({"revisionType": "S3", "s3Location": location})
    }

    /// The same object, asked for with another ETag.
    #[must_use]
    pub fn with_etag(self, etag: &str) -> Self {
        Self { etag: etag.to_owned(), ..self }
    }

    /// Its key in the bucket.
    pub fn key(&self) -> &str {
        &self.key
    }
}
