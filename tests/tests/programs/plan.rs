//! `plan`: what it prints is what the deployment then does, and printing it does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::Program;
use slipway_tests::revision::{BundleKind, Revision, app};
use slipway_tests::until::until;

use crate::expect::{contains, names, page};

/// Random trees that are deployed over each other.
const SEEDS: u64 = 24;

#[test]
fn the_plan_is_what_the_deployment_then_does() -> Result<()> {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        scenario(|place| {
            seen.extend(one_random_pair(place, seed).with_context(|| format!("with the seed {seed}"))?);
            Ok(())
        })?;
    }
    // The trees are random, and between them hold everything that a plan can.
    for kind in ["clash", "create", "replace", "remove", "remove_directory", "attributes", "touch", "stays"] {
        ensure!(seen.contains(kind), "{kind} was in none of the plans: {seen:?}");
    }
    Ok(())
}

/// Deploys a random revision, lets somebody change things on the host, plans another revision, deploys
/// that, and holds the plan against a walk of the tree before and after. Answers what was in the plan.
fn one_random_pair(place: &Place, seed: u64) -> Result<BTreeSet<String>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let host = Agent::alone(place, "web-1")?;
    let target = place.directory("target")?;
    let destination = target.join("srv/app");
    let version = place.directory("v1")?;
    random_revision(&mut random, &version, &destination)?;
    let first = deploy(&host, &version)?;
    ensure!(first.status.success(), "{first:?}");
    change_the_host(&mut random, &destination)?;

    let version = place.directory("v2")?;
    random_revision(&mut random, &version, &destination)?;
    let (before, state) = (walk(&target)?, walk(&host.root())?);
    let planned = host.output(&["plan", "--json", "--diff", "-l", &version.display().to_string(), "-g", "g"])?;
    ensure!(walk(&target)? == before, "planning changed the target");
    ensure!(walk(&host.root())? == state, "planning changed the agent's state");
    let plan: Value = serde_json::from_slice(&planned.stdout).with_context(|| format!("{planned:?}"))?;
    let deployed = deploy(&host, &version)?;
    let after = walk(&target)?;
    if planned.status.code() == Some(3) {
        ensure!(!deployed.status.success(), "the plan clashes, and the deployment does not");
        ensure!(after == before, "a deployment that clashes changed something");
        let mut clashing = BTreeSet::new();
        for clash in plan["clashes"].as_array().context("clashes")? {
            let path = Path::new(clash["path"].as_str().context("a path")?);
            ensure!(before.contains_key(path), "{clash} is not there");
            clashing.insert(path.to_owned());
        }
        for changed in plan["changes"].as_array().context("changes")? {
            let path = Path::new(changed["path"].as_str().context("a path")?);
            ensure!(!clashing.contains(path), "{changed} clashes, and would be done");
            let was = before.get(path).map_or_else(|| json!({"is": "nothing"}), |(seen, _)| seen.clone());
            ensure!(without_digest(&changed["was"]) == was, "{changed}, but there is {was}");
        }
        return Ok(BTreeSet::from(["clash".to_owned()]));
    }
    ensure!(planned.status.success() && deployed.status.success(), "{planned:?}\n{deployed:?}");
    let mut expected = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for stays in plan["stays"].as_array().context("stays")? {
        let path = Path::new(stays["path"].as_str().context("a path")?);
        ensure!(before.contains_key(path) && after.get(path) == before.get(path), "{stays} changed");
        seen.insert("stays".to_owned());
    }
    for changed in plan["changes"].as_array().context("changes")? {
        let path = PathBuf::from(changed["path"].as_str().context("a path")?);
        let touched = changed["change"] == "touch";
        seen.extend(changed["change"].as_str().map(str::to_owned));
        let sides = (without_digest(&changed["was"]), without_digest(&changed["becomes"]), touched);
        ensure!(expected.insert(path, sides).is_none(), "{} is there twice", changed["path"]);
    }
    let happened = difference(&before, &after);
    for path in expected.keys().chain(happened.keys()) {
        let (planned, happened) = (expected.get(path), happened.get(path));
        ensure!(planned == happened, "{}: planned was {planned:?}, happened has {happened:?}", path.display());
    }
    let summary = &plan["summary"];
    let count = |name: &str| summary[name].as_u64().unwrap_or_default();
    ensure!(count("add") + count("change") + count("remove") == expected.len() as u64, "{summary}");
    Ok(seen)
}

fn deploy(host: &Agent<'_>, version: &Path) -> Result<Output> {
    let events = "BeforeInstall";
    host.output(&["deploy-local", "-l", &version.display().to_string(), "-g", "g", "-e", events])
}

/// A revision of files, directories and links with few names, so that two of them have much in common.
fn random_revision(random: &mut fastrand::Rng, directory: &Path, destination: &Path) -> Result<()> {
    let content = directory.join("content");
    fs::create_dir_all(&content)?;
    for _ in 0..random.usize(4..24) {
        let mut path = content.clone();
        for _ in 0..random.usize(1..4) {
            path.push(["a", "b", "c", "d.conf"][random.usize(..4)]);
        }
        let (Some(parent), false) = (path.parent(), path.symlink_metadata().is_ok()) else { continue };
        // Something else may be in the way.
        if fs::create_dir_all(parent).is_err() || !parent.canonicalize()?.starts_with(&content) {
            continue;
        }
        match random.u8(..10) {
            0 => fs::create_dir(&path)?,
            1 => symlink(["/nowhere", "a", "b"][random.usize(..3)], &path)?,
            _ => write(random, &path)?,
        }
    }
    let mode = ["0640", "0750"][random.usize(..2)];
    let object = destination.join(["a", "b", "c"][random.usize(..3)]);
    let permissions = format!("permissions:\n  - {{object: {}, mode: {mode}, pattern: '*'}}\n", object.display());
    let appspec = format!(
        "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {}}}\n{}",
        destination.display(),
        if object.strip_prefix(destination).is_ok_and(|name| content.join(name).is_dir()) { &permissions } else { "" }
    );
    fs::write(directory.join("appspec.yml"), appspec)?;
    Ok(())
}

fn write(random: &mut fastrand::Rng, path: &Path) -> Result<()> {
    fs::write(path, ["", "one\ntwo\n", "one\n2\n", "\0binary"][random.usize(..4)])?;
    fs::set_permissions(path, PermissionsExt::from_mode([0o644, 0o600, 0o755][random.usize(..3)]))?;
    if nix::unistd::geteuid().is_root() && random.u8(..4) == 0 {
        lchown(path, Some(1000 + random.u32(..2)), Some(1000))?;
    }
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + random.u64(..2));
    fs::File::open(path)?.set_modified(time)?;
    Ok(())
}

/// What somebody does to what is installed: another mode or content, something removed, something added.
fn change_the_host(random: &mut fastrand::Rng, destination: &Path) -> Result<()> {
    for path in walk(destination)?.into_keys().filter(|_| random.u8(..6) == 0).collect::<Vec<_>>() {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        match (metadata.is_dir(), random.u8(..3)) {
            (true, 0) => fs::set_permissions(&path, PermissionsExt::from_mode(0o700))?,
            (true, _) => fs::write(path.join("somebodys.log"), "x")?,
            (false, 0) => fs::remove_file(&path)?,
            (false, _) if metadata.is_symlink() => {}
            (false, 1) => fs::set_permissions(&path, PermissionsExt::from_mode(0o666))?,
            (false, _) => fs::write(&path, "changed by somebody")?,
        }
    }
    Ok(())
}

/// All that an install sets of a path, as the plan shows it; and what it does not show.
type Seen = (Value, String);

fn walk(root: &Path) -> Result<BTreeMap<PathBuf, Seen>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let mode = format!("{:04o}", metadata.mode() & 0o7777);
            let (uid, gid) = (metadata.uid(), metadata.gid());
            let seen = if metadata.is_symlink() {
                (json!({"is": "symlink", "uid": uid, "gid": gid, "target": fs::read_link(&path)?}), String::new())
            } else if metadata.is_dir() {
                ahead.push(path.clone());
                (json!({"is": "directory", "mode": mode, "uid": uid, "gid": gid}), String::new())
            } else {
                let shown = json!({"is": "file", "mode": mode, "uid": uid, "gid": gid, "size": metadata.len()});
                let time = format!("{}.{}", metadata.mtime(), metadata.mtime_nsec());
                (shown, format!("{time} {}", String::from_utf8_lossy(&fs::read(&path)?)))
            };
            found.insert(path, seen);
        }
    }
    Ok(found)
}

/// What changed between two walks, in the terms of a plan: before, after, and whether only a time differs.
fn difference(
    before: &BTreeMap<PathBuf, Seen>,
    after: &BTreeMap<PathBuf, Seen>,
) -> BTreeMap<PathBuf, (Value, Value, bool)> {
    let nothing = (json!({"is": "nothing"}), String::new());
    let mut changes = BTreeMap::new();
    for path in before.keys().chain(after.keys()) {
        let (was, is) = (before.get(path).unwrap_or(&nothing), after.get(path).unwrap_or(&nothing));
        if was != is {
            let content = |seen: &Seen| seen.1.split_once(' ').map(|(_, content)| content.to_owned());
            let touched = was.0 == is.0 && content(was) == content(is);
            changes.insert(path.clone(), (was.0.clone(), is.0.clone(), touched));
        }
    }
    changes
}

fn without_digest(state: &Value) -> Value {
    let mut state = state.clone();
    if let Some(members) = state.as_object_mut() {
        members.remove("sha256");
    }
    state
}

fn plan(host: &Agent<'_>, version: &Path, options: &[&str]) -> Result<(Option<i32>, String)> {
    let location = version.display().to_string();
    let output = host.output(&[&["plan", "-l", &location], options].concat())?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), said))
}

#[test]
fn a_host_without_any_deployment_is_left_as_it_is() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        fs::remove_dir(host.root())?;
        let destination = place.path().join("app");
        let version = place.directory("revision")?;
        app(&destination, "page", &[]).write(&version)?;
        let (code, said) = plan(&host, &version, &["--diff"])?;
        ensure!(code == Some(0), "{code:?}: {said}");
        contains(&said, &["nothing installed here", "+ page", "+++ ", "+page", "to add, 0 to change, 0 to remove"])?;
        ensure!(!host.root().exists() && !destination.exists(), "planning made something");
        Ok(())
    })
}

#[test]
fn a_bundle_is_planned_without_leaving_anything() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        for (kind, name) in [(BundleKind::Zip, "zip"), (BundleKind::Tgz, "tgz"), (BundleKind::Tar, "tar")] {
            let bundle = place.path().join(name);
            fs::write(&bundle, app(&destination, name, &[]).pack(kind)?)?;
            let location = bundle.display().to_string();
            let planned = host.output(&["plan", "-l", &location, "-t", name])?;
            ensure!(planned.status.success(), "{planned:?}");
            let deployed = host.output(&["deploy-local", "-l", &location, "-t", name])?;
            ensure!(deployed.status.success(), "{deployed:?}");
            ensure!(page(&destination)? == name);
            let own = names(&host.root().join(".slipway"));
            ensure!(!own.iter().any(|name| name.contains("scratch")), "{own:?}");
        }
        Ok(())
    })
}

#[test]
fn every_clash_is_told_at_once_with_its_owner_and_the_remedies() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let version = place.directory("revision")?;
        let revision = Revision::with_appspec(&format!(
            "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {}}}\n",
            destination.display()
        ));
        revision.file("content/ours", "x").file("content/theirs", "x").file("content/new", "x").write(&version)?;
        let theirs = place.directory("other")?;
        let appspec = fs::read_to_string(version.join("appspec.yml"))?;
        Revision::with_appspec(&appspec).file("content/theirs", "y").write(&theirs)?;
        let deployed = host.output(&["deploy-local", "-l", &theirs.display().to_string(), "-g", "neighbour"])?;
        ensure!(deployed.status.success(), "{deployed:?}");
        fs::write(destination.join("ours"), "somebody's")?;
        let (code, said) = plan(&host, &version, &[])?;
        ensure!(code == Some(3), "{code:?}: {said}");
        contains(&said, &["app/ours", "app/theirs", "neighbour", "remove it", "OVERWRITE", "RETAIN", "2 clashes"])?;
        contains(&said, &["+ new ", "! ours ", "! theirs ", "1 to add, 0 to change", "nothing would be installed"])?;
        ensure!(!destination.join("new").exists(), "planning installed something");
        let json = host.output(&["plan", "--json", "-l", &version.display().to_string()])?;
        let json: Value = serde_json::from_slice(&json.stdout)?;
        let clashes = &json["clashes"];
        ensure!(clashes[0]["path"] == json!(destination.join("ours")) && clashes[0]["owner"].is_null(), "{json}");
        ensure!(clashes[1]["owner"]["group"] == "neighbour", "{json}");
        ensure!(json["changes"][0]["path"] == json!(destination.join("new")), "{json}");
        ensure!(json["changes"][0]["change"] == "create" && json["summary"]["add"] == 1, "{json}");
        let (code, said) = plan(&host, &version, &["-b", "OVERWRITE"])?;
        ensure!(code == Some(0), "{code:?}: {said}");
        contains(&said, &["+ new", "~ ours", "~ theirs"])?;
        let (code, said) = plan(&host, &version, &["-b", "RETAIN"])?;
        ensure!(code == Some(0), "{code:?}: {said}");
        contains(&said, &["+ new", "= ours", "= theirs", "RETAIN leaves it"])?;
        Ok(())
    })
}

/// Whatever stands in the way, all that the deployment would do otherwise is shown, and nothing is done.
#[test]
fn a_plan_that_clashes_shows_every_kind_of_change_too() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let first = place.directory("first")?;
        let appspec = |permissions: &str| {
            let destination = destination.display();
            format!(
                "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {destination}}}\n\
                 permissions:\n  - {{object: {destination}/mode, mode: 0640{permissions}}}\n"
            )
        };
        let revision = Revision::with_appspec(&appspec(""));
        revision.file("content/mode", "m").file("content/gone", "g").file("content/text", "one\n").write(&first)?;
        let deployed = host.output(&["deploy-local", "-l", &first.display().to_string(), "-g", "g"])?;
        ensure!(deployed.status.success(), "{deployed:?}");
        fs::set_permissions(destination.join("mode"), PermissionsExt::from_mode(0o600))?;
        fs::write(destination.join("theirs"), "t")?;
        let second = place.directory("second")?;
        let revision = Revision::with_appspec(&appspec(", owner: no-such-user-anywhere"));
        let revision = revision.file("content/mode", "m").file("content/text", "two\n").file("content/new", "n");
        revision.file("content/theirs", "x").write(&second)?;
        let before = walk(&destination)?;
        let (code, said) = plan(&host, &second, &["-g", "g", "--diff"])?;
        ensure!(code == Some(3), "{code:?}: {said}");
        contains(&said, &["~ mode ", "mode 0600 → 0640", "- gone", "~ text ", "-one\n+two", "+ new ", "! theirs "])?;
        contains(&said, &["1 to add, 2 to change, 1 to remove", "2 clashes", "no user \"no-such-user-anywhere\""])?;
        let json = host.output(&["plan", "--json", "-l", &second.display().to_string(), "-g", "g"])?;
        ensure!(json.status.code() == Some(3), "{json:?}");
        let json: Value = serde_json::from_slice(&json.stdout)?;
        let changes: Vec<&str> =
            json["changes"].as_array().context("changes")?.iter().filter_map(|c| c["change"].as_str()).collect();
        ensure!(changes == ["remove", "replace", "create", "replace"], "{json}");
        ensure!(json["clashes"].as_array().is_some_and(|clashes| clashes.len() == 2), "{json}");
        let deployed = host.output(&["deploy-local", "-l", &second.display().to_string(), "-g", "g"])?;
        ensure!(deployed.status.code() == Some(1), "{deployed:?}");
        ensure!(walk(&destination)? == before, "a deployment that clashes changed something");
        Ok(())
    })
}

#[test]
fn mistakes_of_the_appspec_and_of_usage_have_other_ends_than_clashes() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let version = place.directory("revision")?;
        Revision::with_appspec("version: 0.0\nos: linux\nfiles: 7\n").write(&version)?;
        let (code, said) = plan(&host, &version, &[])?;
        ensure!(code == Some(1), "{code:?}: {said}");
        contains(&said, &["appspec.yml:3:8", "`files` as a list"])?;
        let (code, said) = plan(&host, &version, &["--no-such-option"])?;
        ensure!(code == Some(2), "{code:?}: {said}");
        // What is not there was named wrongly, and is told before anything is asked or read.
        let (code, said) = plan(&host, &place.path().join("nothing"), &[])?;
        ensure!(code == Some(2), "{code:?}: {said}");
        Ok(())
    })
}

#[test]
fn a_plan_that_is_interrupted_leaves_nothing() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let version = place.directory("revision")?;
        app(&place.path().join("app"), "page", &[]).write(&version)?;
        ensure!(deploy(&host, &version)?.status.success());
        // Somebody installs, so the plan waits with everything unpacked.
        let own = host.root().join(".slipway");
        let lock = fs::File::open(own.join("locks/paths"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        let location = version.display().to_string();
        let mut planning = Program::start(place, "plan", &mut host.command(&["plan", "-l", &location, "-g", "g"])?)?;
        let patience = Duration::from_secs(30);
        let unpacked = || names(&own).into_iter().find(|name| own.join(name).join("revision/appspec.yml").exists());
        until("the revision to be unpacked", patience, || Ok(unpacked()))?;
        // Not INT, which shells have ignored by what they run in the background, these tests for one.
        kill(Pid::from_raw(planning.id().cast_signed()), Signal::SIGTERM)?;
        let status = until("the plan to end", patience, || planning.ended())?;
        ensure!(status.signal() == Some(Signal::SIGTERM as i32), "it ended with {status}:\n{}", planning.log_text());
        ensure!(!names(&own).iter().any(|name| name.contains("scratch")), "{:?}", names(&own));
        Ok(())
    })
}
