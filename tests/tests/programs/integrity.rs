//! Content that is not what the service says it is.

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};
use slipway_tests::fleet::Fleet;
use slipway_tests::place::scenario;
use slipway_tests::proxy::{Answer, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, app};

use crate::expect::{contains, failed_in, page, succeeded};

/// Changes one byte in the middle of every object that is fetched.
struct FlippedByte;

impl Rule for FlippedByte {
    fn answer(&self, request: &Passing, mut answer: Answer) -> Answer {
        if request.operation.starts_with("GET ") {
            answer.body = flipped(answer.body);
        }
        answer
    }
}

fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes
}

#[test]
fn a_bundle_with_a_changed_byte_is_refused_and_removed() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let proxy = Proxy::start(&fleet.control, FlippedByte)?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        let sent = app(&destination, "page", &[]).pack(BundleKind::Tar)?;
        let arrived = flipped(sent.clone());
        let bundle = fleet.group.push_packed("v1", sent.clone(), BundleKind::Tar)?;
        let finished = fleet.group.deploy(&bundle)?;
        let [expected, computed] = [sent, arrived].map(|bytes| hex::encode(Sha256::digest(bytes)));
        contains(&failed_in(&finished, "DownloadBundle")?, &["SHA-256", &expected, &computed])?;
        ensure!(!destination.exists());
        nothing_staged(&fleet)
    })
}

#[test]
fn an_object_that_is_not_the_one_that_was_meant_is_refused() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let meant = fleet.group.push("v1", &app(&destination, "meant", &[]), BundleKind::Zip)?;
        let other = fleet.group.push("v1", &app(&destination, "somebody else's", &[]), BundleKind::Zip)?;
        // The service's S3 keeps every version: the ETag still finds the one that was meant.
        succeeded(&fleet.group.deploy(&meant)?)?;
        ensure!(page(&destination)? == "meant");
        succeeded(&fleet.group.deploy(&other)?)?;
        ensure!(page(&destination)? == "somebody else's");
        let never = other.with_etag("0123456789abcdef0123456789abcdef");
        let refusal = fleet.group.begin(&never).err().map(|error| error.to_string()).unwrap_or_default();
        contains(&refusal, &["RevisionDoesNotExistException", "0123456789abcdef0123456789abcdef"])
    })
}

#[test]
fn nothing_of_an_archive_escapes() -> Result<()> {
    for kind in [BundleKind::Tar, BundleKind::Zip, BundleKind::Tgz] {
        scenario(|place| {
            let fleet = Fleet::start(place)?;
            let outside = place.directory("outside")?;
            let target = outside.join("file").display().to_string();
            let honest = app(&place.path().join("app"), "page", &[]);
            let absolute = honest.clone().file(&target, "in");
            let parents = honest.clone().file("../../outside/file", "in");
            let hostile = honest.symlink("door", &outside.display().to_string()).file("door/file", "out");
            let bundle = fleet.group.push("hostile", &hostile, kind)?;
            let message = failed_in(&fleet.group.deploy(&bundle)?, "DownloadBundle")?;
            contains(&message, &["door"])?;
            ensure!(std::fs::read_dir(&outside)?.next().is_none(), "{kind:?}: a link was written through");
            ensure!(!place.path().join("app").exists());
            nothing_staged(&fleet)?;
            // `..` is refused as by tar, and dropped as by unzip; a `/` in front is dropped by both.
            let finished = fleet.group.deploy(&fleet.group.push("parents", &parents, kind)?)?;
            match kind {
                BundleKind::Zip => succeeded(&finished)?,
                _ => contains(&failed_in(&finished, "DownloadBundle")?, &["../../outside/file"])?,
            }
            succeeded(&fleet.group.deploy(&fleet.group.push("absolute", &absolute, kind)?)?)?;
            ensure!(std::fs::read_dir(&outside)?.next().is_none(), "{kind:?}: something was written outside");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_archive_that_is_cut_off_is_refused() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        for kind in [BundleKind::Zip, BundleKind::Tgz, BundleKind::Tar, BundleKind::TarZstd] {
            let mut bytes = app(&destination, &"page ".repeat(10_000), &[]).pack(kind)?;
            // Inside of the page's content, whatever the packing.
            bytes.truncate(bytes.len() / 2);
            let finished = fleet.group.deploy(&fleet.group.push_packed("cut", bytes, kind)?)?;
            failed_in(&finished, "DownloadBundle")?;
            ensure!(!destination.exists(), "{kind:?}");
            nothing_staged(&fleet)?;
        }
        Ok(())
    })
}

#[test]
fn an_archive_of_another_type_is_named_by_what_it_is() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let revision = app(&place.path().join("app"), "page", &[]);
        for (real, said, name) in
            [(BundleKind::Zip, BundleKind::Tgz, "zip"), (BundleKind::Tgz, BundleKind::Zip, "gzip")]
        {
            let bundle = fleet.group.push_packed("mislabelled", revision.pack(real)?, said)?;
            let message = failed_in(&fleet.group.deploy(&bundle)?, "DownloadBundle")?;
            contains(&message.to_lowercase(), &[name])?;
        }
        Ok(())
    })
}

/// No deployment's directory holds a bundle or an unpacked archive.
fn nothing_staged(fleet: &Fleet<'_>) -> Result<()> {
    let mut folders = vec![fleet.agent.root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ensure!(!name.contains("deployment-archive") && !name.contains("bundle"), "{} is left", path.display());
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    Ok(())
}
