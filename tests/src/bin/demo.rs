//! `make demo`: a control service, an agent and three deployments, for real, in under a minute.
//!
//! Version 1 and version 2 of the example service are deployed; version 3 fails its own validation
//! and is rolled back by the service. The page is looked at after each of them.
#![allow(clippy::disallowed_methods, reason = "the demo is the world around the programs")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use slipway_tests::agent::Agent;
use slipway_tests::api::Api;
use slipway_tests::binaries;
use slipway_tests::control::Control;
use slipway_tests::deployment::{Finished, finish_watching};
use slipway_tests::fleet::{APPLICATION, BUCKET, Group, OnFailure};
use slipway_tests::place::{self, Place};
use slipway_tests::revision::{BundleKind, HelloWeb};
use slipway_tests::sign::REGION;
use slipway_tests::timeline::{Ink, Timeline};
use slipway_tests::until::until;
use slipway_tests::web;

/// Longest time for one deployment of the demo.
const PATIENCE: Duration = Duration::from_secs(30);
/// The host's name, and the group's.
const HOST: &str = "web-1";
const GROUP: &str = "production";

/// Shows Slipway doing its main job.
#[derive(Parser)]
struct Arguments {
    /// Leave everything running at the end, and say how to go on
    #[arg(long)]
    keep: bool,
    /// End what an earlier demo left running in this directory, and remove it
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "keep")]
    end: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.end {
        return match ended(path) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let ink = Ink::of_stdout();
    match demo(&arguments, ink) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{} {error:#}", ink.red("The demo failed:"));
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &Arguments, ink: Ink) -> Result<()> {
    let began = Instant::now();
    let place = Place::new()?;
    clean_up_on_interrupt(place.path().to_owned())?;
    let stage = Stage::set(&place, ink).inspect_err(|_| eprintln!("{}", place.last_words()))?;
    let rows = stage.play().inspect_err(|_| eprintln!("{}", place.last_words()))?;
    summary(ink, &rows, began.elapsed());
    if arguments.keep {
        stage.keep()?;
        place.keep();
        return Ok(());
    }
    stage.strike()?;
    let (path, left) = (place.path().to_owned(), place.end());
    ensure!(left.is_empty(), "processes {left:?} are left behind");
    ensure!(!path.exists(), "{} is left behind", path.display());
    println!("\n{}", ink.dim("Everything was stopped and removed; `make demo KEEP=1` leaves it running to try."));
    Ok(())
}

/// Everything that is on the scene.
struct Stage<'a> {
    ink: Ink,
    place: &'a Place,
    control: Control<'a>,
    api: Arc<Api>,
    agent: Agent<'a>,
    port: u16,
}

/// What the summary says of one deployment.
struct Row {
    what: &'static str,
    id: String,
    status: String,
    took: Duration,
    page: String,
}

impl<'a> Stage<'a> {
    fn set(place: &'a Place, ink: Ink) -> Result<Self> {
        println!("{}", ink.bold("Slipway: one control service, one host, three deployments"));
        let control = Control::start(place)?;
        println!("  control service  {}", control.endpoint());
        let api = Arc::new(control.administrator("demo")?);
        let mut agent = Agent::register(place, &control, HOST, &[GROUP])?;
        agent.start()?;
        let port = web::free_port()?;
        println!("  agent on {HOST}   root {}", agent.root().display());
        println!("  the page         http://127.0.0.1:{port}/");
        Ok(Self { ink, place, control, api, agent, port })
    }

    fn play(&self) -> Result<Vec<Row>> {
        let group = Group::create(&self.control, &self.api, GROUP, OnFailure::RollBack)?;
        let first = self.deploy(&group, 1, "Version 1, to an empty host")?;
        let first = self.row("version 1", &first, Expected::Serves(1))?;
        let second = self.deploy(&group, 2, "Version 2, over version 1")?;
        let second = self.row("version 2", &second, Expected::Serves(2))?;
        let third = self.deploy(&group, 3, "Version 3, which does not pass its own validation")?;
        let third_row = self.row("version 3", &third, Expected::Fails)?;
        let id = self.rollback_of(&third.finished)?;
        println!("\n{}  {}", self.ink.bold("The service rolls back by itself"), self.ink.dim(&id));
        let back = self.row("rollback", &self.watch(&id)?, Expected::Serves(2))?;
        Ok(vec![first, second, third_row, back])
    }

    /// Pushes and deploys a version, showing the host's events.
    fn deploy(&self, group: &Group, version: u8, title: &str) -> Result<Watched> {
        let hello = HelloWeb { destination: &self.agent.home().join("hello-web"), port: self.port };
        let bundle = group.push(&format!("v{version}.zip"), &hello.version(version)?, BundleKind::Zip)?;
        let id = group.begin(&bundle)?;
        println!("\n{}  {}", self.ink.bold(title), self.ink.dim(&id));
        self.watch(&id)
    }

    fn watch(&self, id: &str) -> Result<Watched> {
        let mut timeline = Timeline::begin(self.ink);
        let finished = finish_watching(&self.api, id, PATIENCE, |_, events| {
            timeline.show(events);
            Ok(())
        })?;
        Ok(Watched { finished, took: timeline.elapsed() })
    }

    /// The deployment that the service began because that one failed.
    fn rollback_of(&self, failed: &Finished) -> Result<String> {
        until("the service to begin the rollback", PATIENCE, || {
            let info = slipway_tests::deployment::info(&self.api, &failed.id)?;
            Ok(info["rollbackInfo"]["rollbackDeploymentId"].as_str().map(str::to_owned))
        })
    }

    /// Holds a deployment's end to what was expected, and says so.
    fn row(&self, what: &'static str, watched: &Watched, expected: Expected) -> Result<Row> {
        let finished = &watched.finished;
        let (status, version) = match expected {
            Expected::Serves(version) => ("Succeeded", Some(version)),
            Expected::Fails => ("Failed", None),
        };
        let why = &finished.info["errorInformation"]["message"];
        ensure!(finished.status() == status, "{what} ended as {}, not as {status}: {why}", finished.status());
        let page = match version {
            Some(version) => self.look_at_page(version)?,
            None => String::new(),
        };
        if !page.is_empty() {
            println!("  {} “{page}”", self.ink.dim("the page says"));
        }
        Ok(Row { what, id: finished.id.clone(), status: finished.status().to_owned(), took: watched.took, page })
    }

    /// What the page says; an error unless it is of `version`.
    fn look_at_page(&self, version: u8) -> Result<String> {
        let (status, body) = web::page(self.port).context("look at the page")?;
        ensure!(status.contains("200"), "the page answered {status}");
        let says = web::paragraph(&body);
        ensure!(says.contains(&format!("version {version}")), "version {version} should be served, not: {body}");
        Ok(says)
    }

    /// Ends everything.
    fn strike(mut self) -> Result<()> {
        self.agent.stop()?;
        self.control.stop()
    }

    /// Leaves everything as it is and says how to go on.
    fn keep(self) -> Result<()> {
        let environment = self.place.path().join("environment");
        let key = self.api.key();
        let lines = format!(
            "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nexport AWS_DEFAULT_REGION={REGION}\n\
             export AWS_CA_BUNDLE={}\nexport AWS_ENDPOINT_URL_S3={endpoint}\nexport AWS_ENDPOINT_URL_CODEDEPLOY={endpoint}\n",
            key.access_key_id,
            key.secret_access_key,
            self.control.ca_file().display(),
            endpoint = self.control.endpoint(),
        );
        place::write_private(&environment, &lines)?;
        let (path, config) = (self.place.path().display(), self.agent.config_file());
        println!("\n{}", self.ink.bold("Everything is left running. To go on:"));
        println!("  . {}", environment.display());
        println!("  aws deploy list-deployments --application-name {APPLICATION} --deployment-group-name {GROUP}");
        println!(
            "  aws deploy create-deployment --application-name {APPLICATION} --deployment-group-name {GROUP} \\\n      \
             --s3-location bucket={BUCKET},key={GROUP}/v1.zip,bundleType=zip"
        );
        println!("  aws deploy list-deployment-targets --deployment-id d-…");
        println!("  curl http://127.0.0.1:{}/", self.port);
        let agent = binaries::profile_directory()?.join("slipway-agent");
        println!("  {} status --config {}", agent.display(), config.display());
        println!("To end it:\n  {} --end {path}", std::env::current_exe()?.display());
        self.agent.release();
        self.control.release();
        Ok(())
    }
}

/// A deployment that was watched to its end.
struct Watched {
    finished: Finished,
    took: Duration,
}

/// How a deployment should end.
#[derive(Clone, Copy)]
enum Expected {
    /// Well, and the page is of this version.
    Serves(u8),
    /// Badly.
    Fails,
}

fn summary(ink: Ink, rows: &[Row], took: Duration) {
    println!("\n{}", ink.bold("Summary"));
    for row in rows {
        let status = if row.status == "Succeeded" { ink.green(&row.status) } else { ink.red(&row.status) };
        // Colour codes have no width on a terminal but count in a format width.
        let gap = " ".repeat(10_usize.saturating_sub(row.status.len()));
        let seconds = row.took.as_secs_f64();
        println!("  {:<10} {}  {status}{gap} {seconds:>5.2} s  {}", row.what, row.id, row.page);
    }
    println!("  {}", ink.dim(&format!("{:.1} s from start to end", took.as_secs_f64())));
}

/// Ends a kept demo, and nothing that is not one.
fn ended(path: &Path) -> Result<()> {
    let path = path.canonicalize().with_context(|| format!("there is no demo in {}", path.display()))?;
    if !path.join("environment").exists() || !path.join("control").exists() {
        bail!("{} is not the directory of a demo that was kept", path.display());
    }
    end(&path);
    Ok(())
}

/// An interrupted demo leaves nothing behind either.
fn clean_up_on_interrupt(path: PathBuf) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        end(&path);
        leave();
    });
    Ok(())
}

/// Ends what belongs to a place and removes it.
fn end(path: &Path) {
    place::sweep(path);
    let _ = std::fs::remove_dir_all(path);
}

#[expect(clippy::exit, reason = "the main thread is in the middle of something and cannot be asked to return")]
fn leave() -> ! {
    std::process::exit(130)
}
