//! Tests of whole deployments: a real service over a real database, called as the server calls it,
//! with agents that speak the commands protocol.

mod agent;
mod errors;
mod failures;
mod fleets;
mod isolation;
mod operations;
mod redelivery;
mod rollbacks;
mod time;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use self::agent::{Agent, Behaviour};
use crate::caller::Caller;
use crate::data_dir::DataDir;
use crate::envelope::SpecSigner;
use crate::error::ApiError;
use crate::ids;
use crate::instances::{self, Identity, Registration};
use crate::service::{Service, ServiceOptions};
use crate::tags::Tag;
use crate::{api, db, pki};

const ACCOUNT: &str = "123456789012";

/// One service for all tests signs with one key: making one takes the longest of all.
fn signer() -> Arc<SpecSigner> {
    static SIGNER: OnceLock<Arc<SpecSigner>> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(SpecSigner::new(pki::open(&DataDir::create(dir.path()).unwrap(), &[]).unwrap().signer))
    };
    Arc::clone(SIGNER.get_or_init(make))
}

/// A service with the application `app` and its group `fleet` of hosts with the tag `fleet=yes`.
struct World {
    service: Service,
    dir: TempDir,
}

/// The lease is short, since agents of these tests are ended in the middle of what they do.
fn options() -> ServiceOptions {
    ServiceOptions { lease: Duration::from_millis(300), ..patient() }
}

fn patient() -> ServiceOptions {
    ServiceOptions { region: "eu-west-1".into(), account: ACCOUNT.into(), ..ServiceOptions::default() }
}

async fn service_on(path: &Path, options: ServiceOptions) -> Service {
    Service::new(db::open(path).await.unwrap(), signer(), options)
}

impl World {
    async fn new() -> Self {
        Self::with(options(), json!({})).await
    }

    async fn with(options: ServiceOptions, group: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self { service: service_on(dir.path(), options).await, dir };
        world.ok("CreateApplication", json!({ "applicationName": "app" })).await;
        world.create_group("fleet", group).await;
        world
    }

    async fn create_group(&self, name: &str, more: Value) {
        let mut input = json!({
            "applicationName": "app",
            "deploymentGroupName": name,
            "serviceRoleArn": "arn:aws:iam::123456789012:role/any",
            "onPremisesInstanceTagFilters": [{ "Key": "fleet", "Value": "yes", "Type": "KEY_AND_VALUE" }],
        });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ok("CreateDeploymentGroup", input).await;
    }

    async fn api(&self, operation: &str, input: Value) -> Result<Value, ApiError> {
        api::handle(&self.service, &administrator(), operation, input.to_string().as_bytes()).await
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.api(operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    async fn refused(&self, operation: &str, input: Value) -> ApiError {
        match self.api(operation, input).await {
            Ok(answer) => panic!("{operation} was answered with {answer}"),
            Err(error) => error,
        }
    }

    /// Registers a host of the fleet and gives its agent.
    async fn host(&self, name: &str) -> Agent {
        let name = ids::instance_name(Some(name.to_owned())).unwrap();
        let identity = Identity::user(ACCOUNT, &name);
        let tags = vec![Tag { key: "fleet".into(), value: "yes".into() }];
        let registration = Registration { name: name.clone(), identity: identity.clone(), tags };
        instances::register(self.service.pool(), self.service.realm(), &registration).await.unwrap();
        Agent::new(self.service.clone(), name.as_str(), &identity.arn)
    }

    async fn hosts(&self, count: usize) -> Vec<Agent> {
        let mut agents = Vec::new();
        for number in 0..count {
            agents.push(self.host(&format!("web-{number}")).await);
        }
        agents
    }

    /// Creates a deployment of `revision(key)` to the fleet.
    async fn deploy(&self, key: &str, more: Value) -> String {
        let mut input = json!({
            "applicationName": "app", "deploymentGroupName": "fleet", "revision": revision(key),
        });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ok("CreateDeployment", input).await["deploymentId"].as_str().unwrap().to_owned()
    }

    async fn info(&self, id: &str) -> Value {
        self.ok("GetDeployment", json!({ "deploymentId": id })).await["deploymentInfo"].clone()
    }

    async fn status(&self, id: &str) -> String {
        self.info(id).await["status"].as_str().unwrap().to_owned()
    }

    /// Waits until a deployment has ended and gives it.
    async fn ended(&self, id: &str) -> Value {
        eventually(async || {
            let info = self.info(id).await;
            info.get("completeTime").is_some().then_some(info)
        })
        .await
    }

    /// Status of one host, and of its events in order.
    async fn target(&self, id: &str, host: &str) -> (String, Vec<(String, String)>) {
        let target = self.raw_target(id, host).await;
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let events = target["lifecycleEvents"].as_array().unwrap();
        (
            word(&target["status"]),
            events.iter().map(|event| (word(&event["lifecycleEventName"]), word(&event["status"]))).collect(),
        )
    }

    async fn raw_target(&self, id: &str, host: &str) -> Value {
        let answer = self.ok("GetDeploymentTarget", json!({ "deploymentId": id, "targetId": host })).await;
        answer["deploymentTarget"]["instanceTarget"].clone()
    }

    /// Runs a deployment to its end with these agents.
    async fn run(
        &self,
        id: &str,
        agents: &[Agent],
        behave: impl Fn(&str, &str) -> Behaviour + Send + Sync + 'static,
    ) -> Value {
        let behave: agent::Script = Arc::new(behave);
        let tasks: Vec<_> =
            agents.iter().map(|agent| tokio::spawn(agent.clone().work(id.to_owned(), Arc::clone(&behave)))).collect();
        let info = self.ended(id).await;
        for task in tasks {
            task.abort();
            // An agent that failed an assertion must fail the test.
            if let Err(error) = task.await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        info
    }
}

fn administrator() -> Caller {
    Caller::Administrator { access_key_id: "AKIATEST".into(), arn: format!("arn:aws:iam::{ACCOUNT}:user/admin") }
}

fn revision(key: &str) -> Value {
    json!({ "revisionType": "S3", "s3Location": { "bucket": "bundles", "key": key, "bundleType": "zip" } })
}

/// Looks until there is something, and fails the test after a long time.
async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.expect("it did not come to that within a minute")
}

fn succeed(_: &str, _: &str) -> Behaviour {
    Behaviour::Succeed
}
