//! What a hostile bundle, server or service can make the agent spend: memory, space and time.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Bundle, Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in};

/// Most memory that a program may have had, in KiB: the agent's 64 MB.
const MOST: u64 = 64_000_000 / 1024;
const APPSPEC: &[u8] = b"version: 0.0\nos: linux\n";

/// How a program ended, what it said, and its peak of memory in KiB, as the kernel counted it.
fn measured(place: &Place, host: &Agent<'_>, arguments: &[&str]) -> Result<(bool, String, u64)> {
    let mut command = host.command(arguments)?;
    command.env(slipway_tests::place::PLACE_VARIABLE, place.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (mut out, mut err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
    let errors = thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).map(|_| text)
    });
    let watching = thread::spawn(move || watch(&mut child));
    let mut said = String::new();
    out.read_to_string(&mut said)?;
    said.push_str(&errors.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??);
    let (done, peak) = watching.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
    Ok((done, said, peak))
}

/// Waits for the end, and reads the peak of memory until then. It is reached long before the program has removed what it
/// had unpacked.
fn watch(child: &mut std::process::Child) -> Result<(bool, u64)> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        if let Some(ended) = child.try_wait()? {
            return Ok((ended.success(), peak));
        }
        thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn deployed(place: &Place, host: &Agent<'_>, bundle: &Path, kind: &str) -> Result<(bool, String, u64)> {
    let location = bundle.display().to_string();
    measured(place, host, &["deploy-local", "-l", &location, "-t", kind, "-g", "g1"])
}

/// A header of a tar: 512 bytes.
fn header(kind: u8, name: &str, size: usize) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000664\0");
    block[108..116].copy_from_slice(b"0001750\0");
    block[116..124].copy_from_slice(b"0001750\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"14000000000\0");
    block[148..156].fill(b' ');
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn tar(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut spec = APPSPEC.to_vec();
    spec.resize(512, 0);
    file.write_all(&header(b'0', "appspec.yml", APPSPEC.len()))?;
    file.write_all(&spec)?;
    fill(&mut file)?;
    file.write_all(&[0; 1024])?;
    Ok(file.flush()?)
}

#[test]
fn an_archive_of_a_million_entries_is_refused_within_the_agents_memory() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let bundle = place.path().join("many.tar");
        tar(&bundle, |out| {
            (0..1_000_000)
                .try_for_each(|n| out.write_all(&header(b'0', &format!("directory-{:04}/file-{n:07}", n / 1000), 0)))
        })?;
        let (done, said, peak) = deployed(place, &host, &bundle, "tar")?;
        println!("a million entries: {peak} KiB");
        ensure!(!done);
        contains(&said, &["more than 125000 entries", "archive_max_entries"])?;
        ensure!(peak < MOST, "it took {peak} KiB");
        Ok(())
    })
}

#[test]
fn an_archive_of_endless_headers_is_refused_within_the_agents_memory() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let bundle = place.path().join("headers.tar");
        tar(&bundle, |out| (0..1_000_000).try_for_each(|_| out.write_all(&header(b'g', "pax_global_header", 0))))?;
        let (done, said, peak) = deployed(place, &host, &bundle, "tar")?;
        println!("a million headers: {peak} KiB");
        ensure!(!done);
        contains(&said, &["more than 125000 entries", "headers that describe others count too"])?;
        ensure!(peak < MOST, "it took {peak} KiB");
        Ok(())
    })
}

#[test]
fn a_zip_of_300000_entries_is_refused_within_the_agents_memory() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let bundle = place.path().join("many.zip");
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&bundle)?);
        let (mut directory, mut at, count) = (Vec::new(), 0u32, 300_000u32);
        for n in 0..count {
            let (name, content): (String, &[u8]) =
                if n == 0 { ("appspec.yml".to_owned(), APPSPEC) } else { (format!("d{:04}/f{n:07}", n / 1000), b"") };
            let (sum, size) = (crc32(content), u32::try_from(content.len())?);
            let mut common = Vec::new();
            common.extend([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x50]);
            for number in [sum, size, size, u32::try_from(name.len())?] {
                common.extend(number.to_le_bytes());
            }
            file.write_all(b"PK\x03\x04")?;
            file.write_all(&common)?;
            file.write_all(name.as_bytes())?;
            file.write_all(content)?;
            directory.extend(b"PK\x01\x02\x14\x03");
            directory.extend(&common);
            directory.extend([0; 6]);
            directory.extend((0o100_644u32 << 16).to_le_bytes());
            directory.extend(at.to_le_bytes());
            directory.extend(name.as_bytes());
            at += 30 + u32::try_from(name.len() + content.len())?;
        }
        file.write_all(&directory)?;
        let (start, length) = (u64::from(at), directory.len() as u64);
        file.write_all(b"PK\x06\x06")?;
        file.write_all(&44u64.to_le_bytes())?;
        file.write_all(&[45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        for number in [u64::from(count), u64::from(count), length, start] {
            file.write_all(&number.to_le_bytes())?;
        }
        file.write_all(b"PK\x06\x07\0\0\0\0")?;
        file.write_all(&(start + length).to_le_bytes())?;
        file.write_all(&[1, 0, 0, 0])?;
        file.write_all(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff")?;
        file.write_all(&u32::try_from(length)?.to_le_bytes())?;
        file.write_all(&at.to_le_bytes())?;
        file.write_all(&[0, 0])?;
        file.flush()?;
        drop(file);
        let (done, said, peak) = deployed(place, &host, &bundle, "zip")?;
        println!("a zip of 300,000 entries: {peak} KiB");
        ensure!(!done, "{said}");
        contains(&said, &["more than 125000 entries", "archive_max_entries"])?;
        ensure!(peak < MOST, "it took {peak} KiB");
        Ok(())
    })
}

fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

/// A bundle with as many entries as there may be, installed.
#[test]
fn as_many_entries_as_there_may_be_are_deployed() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        host.configure("20-few.yml", "archive_max_entries: 5\n")?;
        let bundle = place.path().join("some.tar");
        let with = |count: usize| {
            tar(&bundle, |out| (1..count).try_for_each(|n| out.write_all(&header(b'0', &format!("file-{n}"), 0))))
        };
        with(6)?;
        let (done, said, _) = deployed(place, &host, &bundle, "tar")?;
        ensure!(!done);
        contains(&said, &["more than 5 entries"])?;
        with(5)?;
        let (done, said, _) = deployed(place, &host, &bundle, "tar")?;
        ensure!(done, "{said}");
        Ok(())
    })
}

/// Answers every request with a body that gives no length and does not end by itself.
struct Endless {
    endpoint: String,
}

/// What comes after the first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    More,
    Silence,
}

impl Endless {
    fn start(bundle: &Bundle, then: Then) -> Result<Self> {
        let etag = bundle.revision()["s3Location"]["eTag"].as_str().context("the ETag")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let etag = etag.clone();
                thread::spawn(move || Self::answer(stream, &etag, then));
            }
        });
        Ok(Self { endpoint })
    }

    fn answer(mut stream: TcpStream, etag: &str, then: Then) -> std::io::Result<()> {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        let head = format!("HTTP/1.1 200 OK\r\nETag: \"{}\"\r\nConnection: close\r\n\r\n", etag.trim_matches('"'));
        stream.write_all(head.as_bytes())?;
        let piece = vec![b'x'; 1 << 16];
        stream.write_all(&piece)?;
        if then == Then::Silence {
            // Silent, until the other side has gone.
            let _ = stream.read(&mut request)?;
            return Ok(());
        }
        loop {
            stream.write_all(&piece)?;
        }
    }
}

#[test]
fn a_body_without_an_end_stops_at_the_cap() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let revision = app(&place.path().join("app"), "page", &[]);
        let bundle = fleet.group.push("endless", &revision, BundleKind::Tar)?;
        let endless = Endless::start(&bundle, Then::More)?;
        let mut agent = fleet.agent;
        let settings = format!("s3_endpoint_override: {}\narchive_max_extraction_size: 8M\n", endless.endpoint);
        agent.configure("20-endless.yml", &settings)?;
        agent.stop()?;
        agent.start()?;
        let id = fleet.group.begin_with(&bundle, serde_json::json!({}))?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        contains(&failed_in(&finished, "DownloadBundle")?, &["longer than the 8388608 bytes"])?;
        Ok(())
    })
}

#[test]
fn cancel_ends_a_download_that_waits_for_its_server() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let revision = app(&place.path().join("app"), "page", &[]);
        let bundle = fleet.group.push("silent", &revision, BundleKind::Tar)?;
        let silent = Endless::start(&bundle, Then::Silence)?;
        let mut agent = fleet.agent;
        agent.configure("20-silent.yml", &format!("s3_endpoint_override: {}\n", silent.endpoint))?;
        agent.stop()?;
        agent.start()?;
        let id = fleet.group.begin_with(&bundle, serde_json::json!({}))?;
        let group = agent.root();
        until_true("the download to begin", PATIENCE, || Ok(find(&group, "bundle.tar")))?;
        let output = agent.output(&["cancel", &id, "--reason", "the wrong build"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        contains(&String::from_utf8_lossy(&output.stdout), &["download"])?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        contains(
            &failed_in(&finished, "DownloadBundle")?,
            &["the download was ended", "cancelled on this host", "the wrong build"],
        )?;
        ensure!(!find(&group, "bundle.tar"), "what had come was left");
        Ok(())
    })
}

/// Eight gigabytes of zeros are being written when the cancel comes.
#[test]
fn cancel_ends_unpacking() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let bundle = place.path().join("zeros.tar");
        // Sparse on the disk, and long to unpack.
        tar(&bundle, |out| {
            let mut long = header(b'0', "zeros", 0);
            long[124..136].copy_from_slice(b"77777777777\0");
            long[148..156].fill(b' ');
            let sum: u32 = long.iter().map(|byte| u32::from(*byte)).sum();
            long[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            out.write_all(&long)
        })?;
        File::options().write(true).open(&bundle)?.set_len((8 << 30) + 4096)?;
        let mut command =
            host.command(&["deploy-local", "-l", &bundle.display().to_string(), "-t", "tar", "-g", "g1"])?;
        command.env(slipway_tests::place::PLACE_VARIABLE, place.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let group = host.root().join("g1");
        until_true("the file to be unpacked", PATIENCE, || Ok(find(&group, "zeros")))?;
        let deployment = std::fs::read_dir(&group)?.next().context("a deployment")??.file_name();
        let deployment = deployment.to_string_lossy().into_owned();
        let output = host.output(&["cancel", &deployment, "--reason", "too long"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ended = child.wait_with_output()?;
        let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        ensure!(!ended.status.success());
        contains(&said, &["the download was ended", "too long"])?;
        ensure!(!find(&group, "zeros"), "what was unpacked was left");
        Ok(())
    })
}

fn find(below: &Path, name: &str) -> bool {
    let found = Command::new("find").arg(below).args(["-name", name]).output();
    found.is_ok_and(|output| !output.stdout.is_empty())
}
