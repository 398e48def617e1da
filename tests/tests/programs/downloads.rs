//! Large bundles over a bad wire, bundles for local deploys, and commits from GitHub.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use slipway_tests::agent::Agent;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{APPLICATION, BUCKET, Fleet};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;
use slipway_tests::revision::{BundleKind, app};

use crate::expect::{contains, failed_in, page, succeeded};
use crate::wire::Wire;

/// Bytes of a large bundle.
const LARGE: u64 = 256 << 20;
/// For a bundle of that size on a busy machine.
const LONG: Duration = Duration::from_secs(300);

fn large_bundle(place: &Place, page: &str) -> Result<std::path::PathBuf> {
    let path = place.path().join("large.tar");
    app(&place.path().join("app"), page, &[]).pack_large(&path, LARGE, 11)?;
    Ok(path)
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        anyhow::Ok(BufReader::with_capacity(1 << 20, file))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut here)?;
        if count == 0 {
            return Ok(other.read(&mut there)? == 0);
        }
        if other.read_exact(&mut there[..count]).is_err() || here[..count] != there[..count] {
            return Ok(false);
        }
    }
}

#[test]
fn a_download_that_is_broken_ten_times_brings_each_byte_about_once() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let sent = large_bundle(place, "whole")?;
        let bundle = fleet.group.push_file("large", &sent, BundleKind::Tar)?;
        let mut random = fastrand::Rng::new();
        let cuts: Vec<u64> = (0..10).map(|_| random.u64(10_000..LARGE)).collect();
        println!("cut after {cuts:?}");
        let wire = Wire::to(fleet.control.endpoint(), cuts)?;
        let settings = format!("s3_endpoint_override: {}\nkeep_bundles: true\n", wire.endpoint());
        fleet.agent.configure("20-wire.yml", &settings)?;
        fleet.agent.start()?;
        let id = fleet.group.begin(&bundle)?;
        succeeded(&finish(&fleet.api, &id, LONG)?)?;
        ensure!(page(&place.path().join("app"))? == "whole");
        ensure!(wire.cuts_left() == 0, "{} cuts were not made", wire.cuts_left());
        ensure!(wire.connections() > 1, "nothing was broken");
        let status = fleet.agent.status()?;
        let group = status["groups"][0]["id"].as_str().context("status names the group")?;
        let kept = fleet.agent.root().join(group).join(&id).join("bundle.tar");
        ensure!(same(&sent, &kept)?, "what came is not what was sent");
        let most = LARGE + LARGE / 20;
        ensure!(wire.passed() <= most, "{} bytes came over the wire for an object of {LARGE}", wire.passed());
        println!("{} connections, {:.2} % more than the object", wire.connections(), more(wire.passed()));
        Ok(())
    })
}

#[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
fn more(passed: u64) -> f64 {
    (passed as f64 / LARGE as f64 - 1.0) * 100.0
}

#[test]
fn a_bundle_in_s3_is_deployed_and_planned_by_the_command_line() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "from S3", &[]), BundleKind::Tgz)?;
        // A host may read the bundles of its deployments alone.
        fleet.group.begin(&bundle)?;
        let location = format!("s3://{BUCKET}/{}", bundle.key());
        for (command, shown) in [("plan", "+ page"), ("deploy-local", "Deployed")] {
            let output = fleet.agent.output(&[command, "-l", &location, "-t", "tgz", "-g", "local"])?;
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            contains(&said, &[shown])?;
        }
        ensure!(page(&destination)? == "from S3");
        Ok(())
    })
}

const COMMIT: &str = "c0ffee0123456789c0ffee0123456789c0ffee01";
const NO_COMMIT: &str = "badbad0123456789badbad0123456789badbad01";

/// A GitHub of one commit, and what was asked of it.
struct FakeGitHub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    tokens: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl FakeGitHub {
    fn start(tarball: Vec<u8>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let state = (Arc::clone(&asked), Arc::clone(&tokens), Arc::new(tarball));
        let service = axum::Router::new().fallback(answer).with_state(state);
        runtime.spawn(async move { axum::serve(listener, service).await });
        Ok(Self { endpoint, asked, tokens, _runtime: runtime })
    }
}

type Archive = (Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<String>>>, Arc<Vec<u8>>);

async fn answer(State((asked, tokens, archive)): State<Archive>, uri: Uri, headers: HeaderMap) -> Response {
    if let Ok(mut asked) = asked.lock() {
        asked.push(uri.path().to_owned());
    }
    if let (Ok(mut tokens), Some(token)) = (tokens.lock(), headers.get("authorization")) {
        tokens.push(String::from_utf8_lossy(token.as_bytes()).into_owned());
    }
    if !headers.contains_key("user-agent") {
        return StatusCode::FORBIDDEN.into_response();
    }
    match uri.path() {
        path if path.strip_prefix("/repos/acme/shop/tarball/") == Some(COMMIT) => {
            (StatusCode::FOUND, [("location", "/codeload/tar")]).into_response()
        }
        "/codeload/tar" => archive.to_vec().into_response(),
        _ => (StatusCode::NOT_FOUND, "{\"message\": \"Not Found\"}").into_response(),
    }
}

#[test]
fn a_commit_is_deployed_from_github() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let destination = place.path().join("app");
        let revision = place.directory("inside/shop-c0ffee")?;
        app(&destination, "from a commit", &[]).write(&revision)?;
        let github = FakeGitHub::start(tarball(&revision)?)?;
        fleet.agent.configure("20-github.yml", &format!("github_endpoint_override: {}\n", github.endpoint))?;
        fleet.agent.start()?;
        let deploy = |commit: &str| {
            let location = json!({"repository": "acme/shop", "commitId": commit});
            let input = json!({
                "applicationName": APPLICATION,
                "deploymentGroupName": fleet.group.name(),
                "revision": {"revisionType": "GitHub", "gitHubLocation": location},
            });
            let answer = fleet.api.call("CreateDeployment", input)?;
            let id = answer["deploymentId"].as_str().context("CreateDeployment answers an id")?.to_owned();
            finish(&fleet.api, &id, LONG)
        };
        succeeded(&deploy(COMMIT)?)?;
        ensure!(page(&destination)? == "from a commit");
        let asked = github.asked.lock().map(|asked| asked.clone()).unwrap_or_default();
        ensure!(asked == [format!("/repos/acme/shop/tarball/{COMMIT}"), "/codeload/tar".to_owned()], "{asked:?}");
        let message = failed_in(&deploy(NO_COMMIT)?, "DownloadBundle")?;
        contains(&message, &["acme/shop at badbad", "on GitHub", "404", "Not Found", "private repository"])
    })
}

/// GitHub packs a commit anew for each request: there is no digest to compare with.
#[test]
fn require_sha256_refuses_a_commit_of_github() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let revision = place.directory("inside/shop-c0ffee")?;
        app(&place.path().join("app"), "from a commit", &[]).write(&revision)?;
        let github = FakeGitHub::start(tarball(&revision)?)?;
        let endpoint = format!("github_endpoint_override: {}\n", github.endpoint);
        agent.configure("20-github.yml", &format!("{endpoint}require_sha256: true\n"))?;
        let location = format!("https://github.com/acme/shop/commit/{COMMIT}");
        let deploy = || agent.output(&["deploy-local", "-l", &location, "-g", "local"]);
        let refused = deploy()?;
        ensure!(!refused.status.success());
        contains(&String::from_utf8_lossy(&refused.stderr), &["require_sha256"])?;
        ensure!(!place.path().join("app").exists());
        agent.configure("20-github.yml", &endpoint)?;
        ensure!(deploy()?.status.success());
        Ok(())
    })
}

#[test]
fn a_commit_on_github_is_deployed_and_planned_by_its_address() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let revision = place.directory("inside/shop-c0ffee")?;
        app(&destination, "from a commit", &[]).write(&revision)?;
        let github = FakeGitHub::start(tarball(&revision)?)?;
        agent.configure("20-github.yml", &format!("github_endpoint_override: {}\n", github.endpoint))?;
        let said = |arguments: &[&str], token: Option<&str>| -> Result<(Option<i32>, String)> {
            let mut command = agent.command(arguments)?;
            command.env_remove("GITHUB_TOKEN");
            if let Some(token) = token {
                command.env("GITHUB_TOKEN", token);
            }
            let output = program::output(place, &mut command)?;
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
            Ok((output.status.code(), said))
        };
        let page_of = format!("https://github.com/acme/shop/commit/{COMMIT}");
        let (code, text) = said(&["plan", "-l", &page_of, "-g", "local"], None)?;
        ensure!(code == Some(0), "{text}");
        contains(&text, &["+ page"])?;
        let archive = format!("https://github.com/acme/shop/archive/{COMMIT}.tar.gz");
        for location in [&page_of, &archive, &format!("https://api.github.com/repos/acme/shop/tarball/{COMMIT}")] {
            let (code, text) = said(&["deploy-local", "-l", location, "-g", "local"], Some("ghp_ofatest"))?;
            ensure!(code == Some(0) && !text.contains("ghp_ofatest"), "{text}");
            ensure!(page(&destination)? == "from a commit");
        }
        let tokens = github.tokens.lock().map(|tokens| tokens.clone()).unwrap_or_default();
        ensure!(tokens.len() >= 3 && tokens.iter().all(|token| token == "Bearer ghp_ofatest"), "{tokens:?}");
        // What is not a commit is said before anything is asked.
        let (code, text) = said(&["deploy-local", "-l", "https://github.com/acme/shop", "-g", "local"], None)?;
        ensure!(code == Some(2), "{text}");
        contains(&text, &["does not name a commit on GitHub", "https://github.com/ACCOUNT/REPOSITORY/"])
    })
}

#[test]
fn a_version_and_an_etag_of_an_object_are_held_to() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let destination = place.path().join("app");
        let push = |page: &str| fleet.group.push("v", &app(&destination, page, &[]), BundleKind::Tgz);
        let first = push("first")?;
        let begun = fleet.group.begin(&first)?;
        let deploy = |query: &str| -> Result<String> {
            let location = format!("s3://{BUCKET}/{}{query}", first.key());
            let output = fleet.agent.output(&["deploy-local", "-l", &location, "-t", "tgz", "-g", "local"])?;
            Ok([output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat())
        };
        let etag = first.revision()["s3Location"]["eTag"].as_str().context("its ETag")?.to_owned();
        contains(&deploy(&format!("?etag={etag}"))?, &["Deployed"])?;
        // A host is given a version that is deployed to it, and no other.
        let second = push("second")?;
        contains(&deploy("")?, &["FAILED", "this version is not the bundle of one of its deployments"])?;
        fleet.api.call("StopDeployment", json!({"deploymentId": begun}))?;
        fleet.group.begin(&second)?;
        let said = deploy(&format!("?etag=%22{etag}%22"))?;
        contains(&said, &["FAILED", &etag])?;
        ensure!(page(&destination)? == "first", "{said}");
        contains(&deploy("?versionId=no-such-version")?, &["FAILED", "no-such-version"])?;
        contains(&deploy("")?, &["Deployed"])?;
        ensure!(page(&destination)? == "second");
        Ok(())
    })
}

/// A gzipped tar of a directory, with its name as the one directory at the top: so GitHub packs commits.
fn tarball(directory: &Path) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    tar.append_dir_all(directory.file_name().context("the directory has a name")?, directory)?;
    let packed = tar.into_inner()?.finish()?;
    fs::remove_dir_all(directory)?;
    Ok(packed)
}
