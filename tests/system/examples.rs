//! The examples of the repository, as they stand: each on a host of its own that has nothing of what it needs,
//! the first version, the second one, and back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use slipway_tests::binaries::repository;
use slipway_tests::revision::Revision;
use slipway_tests::until::until_true;

use crate::host::{Host, PATIENCE, succeeded};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are of the website.
pub const NGINX: u64 = 4;
/// How many checks there are of the service.
pub const SERVICE: u64 = 4;
/// How many checks there are of WordPress.
pub const WORDPRESS: u64 = 3;

/// Longest time for a deployment that installs a database, a web server and what is between them.
const INSTALLATION: Duration = Duration::from_secs(600);

/// nginx from the distribution.
pub fn nginx(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "website")?;
    host.check(report, "v1 is deployed where no nginx was, and served", |host| {
        deploy(host, "nginx-website", 1)?;
        website_is(1)?;
        ensure!(get("/only-in-v1.txt")?.status == 200);
        Ok(())
    });
    host.check(report, "v2 replaces it, and what only v1 had is gone", |host| {
        let visits = visiting(|| deploy(host, "nginx-website", 2))?;
        report_visits(&visits)?;
        website_is(2)?;
        ensure!(get("/static/style.css")?.head("expires").is_some(), "the new configuration is not used");
        ensure!(get("/only-in-v1.txt")?.status == 404, "a file of v1 is still served");
        Ok(())
    });
    host.check(report, "a rollback on the host brings v1 back, and drops no request either", |host| {
        report_visits(&visiting(|| host.roll_back())?)?;
        website_is(1)
    });
    host.machine.reboot()?;
    host.check(report, "and it is served after a reboot", |_| website_is(1));
    Ok(())
}

/// A script with its unit.
pub fn service(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "service")?;
    host.check(report, "v1 is deployed, enabled and runs", |host| {
        deploy(host, "systemd-service", 1)?;
        ticks(host, 1)?;
        ensure!(host.property("ticker.service", "UnitFileState")? == "enabled", "it is not enabled");
        Ok(())
    });
    host.check(report, "v2 replaces it with another unit", |host| {
        let before = host.property("ticker.service", "MainPID")?;
        deploy(host, "systemd-service", 2)?;
        ticks(host, 2)?;
        ensure!(host.property("ticker.service", "MainPID")? != before, "the old process still runs");
        ensure!(host.property("ticker.service", "EnvironmentFiles")?.contains("ticker.env"), "the old unit is used");
        Ok(())
    });
    host.check(report, "a rollback on the host brings v1 back", |host| {
        host.roll_back()?;
        ticks(host, 1)?;
        ensure!(host.read("/opt/ticker/ticker.env").is_empty(), "a file of v2 is still there");
        Ok(())
    });
    host.machine.reboot()?;
    host.check(report, "and it runs after a reboot", |host| ticks(host, 1));
    Ok(())
}

/// WordPress with all that it takes.
pub fn wordpress(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "wordpress")?;
    host.check(report, "v1 is deployed where nothing of it was, and shows its installer", |host| {
        deploy(host, "wordpress", 1)?;
        installer_is(1)
    });
    host.check(report, "v2 replaces it", |host| {
        deploy(host, "wordpress", 2)?;
        installer_is(2)
    });
    host.check(report, "a rollback on the host brings v1 back", |host| {
        host.roll_back()?;
        installer_is(1)?;
        ensure!(host.read("/srv/wordpress-site/mu-plugins/site/footer.php").is_empty(), "a file of v2 is there");
        Ok(())
    });
    Ok(())
}

fn deploy(host: &Host<'_>, example: &str, version: u8) -> Result<()> {
    let directory = repository().join("appspec-examples").join(example).join(format!("v{version}"));
    let bundle = host.push(&format!("{example}-{version}"), &Revision::read(&directory)?)?;
    succeeded(&host.finish_within(&host.begin(&bundle)?, INSTALLATION)?)
}

/// Waits for that: while nginx reloads, a process with the old configuration may still answer.
fn website_is(version: u8) -> Result<()> {
    let version = version.to_string();
    until_true(&format!("nginx to serve version {version}"), PATIENCE, || {
        let Ok(answer) = get("/") else { return Ok(false) };
        Ok(answer.head("x-website-version") == Some(&version)
            && answer.body.contains(&format!("This is version {version}.")))
    })
}

fn installer_is(version: u8) -> Result<()> {
    let answer = get("/wp-admin/install.php")?;
    ensure!(answer.status == 200 && answer.body.contains("<title>WordPress"), "{answer:?}");
    ensure!(answer.head("x-site-version") == Some(&version.to_string()), "{answer:?}");
    Ok(())
}

fn ticks(host: &Host<'_>, version: u8) -> Result<()> {
    until_true("the service to tick", PATIENCE, || {
        let state = host.machine.try_run(&["cat", "/run/ticker/state"])?;
        Ok(state.starts_with(&format!("version {version}, tick ")))
    })?;
    let state = host.property("ticker.service", "ActiveState")?;
    ensure!(state == "active", "the service is {state}");
    Ok(())
}

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// The value of a header.
    fn head(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (header, value) = line.split_once(": ")?;
            header.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Asks the host, which has the network of whoever tests it.
fn get(path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 80))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an HTTP status")?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// What visitors met while something was done.
#[derive(Debug, Default)]
struct Visits {
    answered: u64,
    dropped: Vec<String>,
    took: Duration,
}

/// Does something while the page is asked for without a pause.
fn visiting(act: impl FnOnce() -> Result<()>) -> Result<Visits> {
    let (ends, begun) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut visits = Visits::default();
            while !ends.load(Ordering::Relaxed) {
                match get("/") {
                    Ok(answer) if answer.status == 200 => visits.answered += 1,
                    Ok(answer) => visits.dropped.push(answer.head),
                    Err(error) => visits.dropped.push(format!("{error:#}")),
                }
            }
            visits.took = begun.elapsed();
            visits
        });
        let done = act();
        ends.store(true, Ordering::Relaxed);
        let Ok(visits) = visitor.join() else { bail!("the visitor ended badly") };
        done.map(|()| visits)
    })
}

fn report_visits(visits: &Visits) -> Result<()> {
    let Visits { answered, dropped, took } = visits;
    ensure!(*answered > 100, "only {answered} requests were answered in {took:.1?}");
    ensure!(dropped.is_empty(), "{} of {} requests were dropped: {:?}", dropped.len(), answered, dropped.first());
    eprintln!("    {answered} requests in {took:.1?}, none dropped");
    Ok(())
}
