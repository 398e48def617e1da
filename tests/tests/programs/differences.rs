//! The tables of `docs/migrating.md` about what differs from AWS's agent: each row is run, or names the test that runs it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::binaries::repository;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Revision, app};

use crate::expect::{contains, names, page, succeeded};

/// A revision that was deployed on a host without a service.
struct Tried {
    destination: PathBuf,
    /// The exit of `deploy-local`, and all that it said.
    code: Option<i32>,
    said: String,
}

impl Tried {
    fn installed(&self, file: &str) -> Result<String> {
        ensure!(self.code == Some(0), "it ended with {:?}:\n{}", self.code, self.said);
        let path = self.destination.join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    fn mode(&self) -> Result<u32> {
        self.installed("page")?;
        Ok(fs::metadata(self.destination.join("page"))?.mode() & 0o7777)
    }

    /// It failed with this, and left the destination alone.
    fn refused(&self, parts: &[&str]) -> Result<()> {
        ensure!(self.code == Some(1), "it ended with {:?}:\n{}", self.code, self.said);
        ensure!(!self.destination.exists(), "something was installed");
        contains(&self.said, parts)
    }
}

/// A row about revisions: how its first cell begins, and how it is tried.
struct Row {
    case: &'static str,
    /// The AppSpec below its `os`; `DEST` stands for the destination, `UID` for the user of these tests.
    appspec: &'static str,
    /// What else is in the revision.
    content: fn(Revision) -> Revision,
    /// What is on the host before.
    host: fn(&Path) -> Result<()>,
    /// What this agent makes of it.
    ours: fn(&Tried) -> Result<()>,
    /// What `validate --portable` says of it; nothing where the revision does not show it.
    told: Option<&'static str>,
}

const FILES: &str = "files:\n  - source: page\n    destination: DEST\n";

fn with_page(revision: Revision) -> Revision {
    revision.file("page", "new")
}

fn untouched(_: &Path) -> Result<()> {
    Ok(())
}

fn page_is_new(tried: &Tried) -> Result<()> {
    ensure!(tried.installed("page")? == "new");
    Ok(())
}

/// A row whose revision installs its page, whatever else is unusual about it.
const PLAIN: Row =
    Row { case: "", appspec: "FILES", content: with_page, host: untouched, ours: page_is_new, told: None };

const ROWS: &[Row] = &[
    Row {
        case: "a link to a directory, below a source",
        appspec: "files:\n  - source: tree\n    destination: DEST\n",
        content: |revision| {
            revision.file("tree/inner/x", "x").symlink("tree/link", "inner").symlink("tree/file-link", "inner/x")
        },
        ours: |tried| {
            ensure!(tried.installed("link/x")? == "x");
            for link in ["link", "file-link"] {
                ensure!(fs::symlink_metadata(tried.destination.join(link))?.is_symlink(), "{link}");
            }
            Ok(())
        },
        told: Some("this link to a directory"),
        ..PLAIN
    },
    Row {
        case: "OVERWRITE where a symlink",
        appspec: "file_exists_behavior: OVERWRITE\nFILES",
        host: |destination| {
            fs::create_dir(destination)?;
            fs::write(destination.join("theirs"), "theirs")?;
            Ok(symlink("theirs", destination.join("page"))?)
        },
        ours: |tried| {
            ensure!(tried.installed("page")? == "new" && tried.installed("theirs")? == "theirs");
            ensure!(fs::symlink_metadata(tried.destination.join("page"))?.is_file());
            Ok(())
        },
        ..PLAIN
    },
    Row {
        case: "`mode: 0644`",
        appspec: "FILESpermissions:\n  - object: DEST/page\n    mode: 0644\n",
        ours: |tried| {
            ensure!(tried.mode()? == 0o644);
            Ok(())
        },
        told: Some("sets the mode 0420"),
        ..PLAIN
    },
    Row {
        case: "`mode: 0755`",
        appspec: "FILESpermissions:\n  - object: DEST/page\n    mode: 0755\n",
        ours: |tried| {
            ensure!(tried.mode()? == 0o755);
            Ok(())
        },
        told: Some("refuses this mode"),
        ..PLAIN
    },
    Row {
        case: "`owner: 1000`",
        appspec: "FILESpermissions:\n  - object: DEST/page\n    owner: UID\n",
        ours: |tried| {
            tried.installed("page")?;
            let owner = fs::metadata(tried.destination.join("page"))?.uid();
            ensure!(owner == nix::unistd::geteuid().as_raw());
            Ok(())
        },
        told: Some("looks for a user by name alone"),
        ..PLAIN
    },
    Row {
        case: "`file_exists_behavior: overwrite`",
        appspec: "file_exists_behavior: overwrite\nFILES",
        host: |destination| {
            fs::create_dir(destination)?;
            Ok(fs::write(destination.join("page"), "old")?)
        },
        told: Some("in capitals alone"),
        ..PLAIN
    },
    Row { case: "`version: \"0.0\"`", told: Some("a version in quotes"), ..PLAIN },
    Row { case: "a byte order mark", told: Some("byte order mark"), ..PLAIN },
    Row {
        case: "an alias",
        appspec: "files:\n  - source: page\n    destination: &there DEST\n  - source: other\n    destination: *there\n",
        content: |revision| with_page(revision).file("other", "x"),
        told: Some("an alias"),
        ..PLAIN
    },
    Row {
        case: "a source that YAML reads as a number",
        appspec: "files:\n  - source: 1.10\n    destination: DEST\n",
        content: |revision| revision.file("1.10", "new"),
        ours: |tried| {
            ensure!(tried.installed("1.10")? == "new");
            Ok(())
        },
        told: Some("as a number"),
        ..PLAIN
    },
    Row {
        case: "`/` at the end of a source",
        appspec: "files:\n  - source: page/\n    destination: DEST\n",
        told: Some("remove the `/`"),
        ..PLAIN
    },
    Row {
        case: "a script without `location`",
        appspec: "FILEShooks:\n  Install:\n    - runas: root\n",
        told: Some("`Install` runs none"),
        ..PLAIN
    },
    Row {
        case: "an event without scripts",
        appspec: "FILEShooks:\n  ApplicationStart:\n",
        told: Some("`ApplicationStart` without scripts"),
        ..PLAIN
    },
    // What is read is held beside the reader; a test does not wait a minute for it.
    Row {
        case: "`timeout: 0100`",
        appspec: "FILEShooks:\n  AfterInstall:\n    - location: a.sh\n      timeout: 0100\n",
        content: |revision| with_page(revision).script("a.sh", "true"),
        told: Some("64 seconds"),
        ..PLAIN
    },
    Row {
        case: "a space in the path",
        appspec: "FILEShooks:\n  AfterInstall:\n    - location: my scripts/a b.sh\n",
        content: |revision| with_page(revision).script("my scripts/a b.sh", "echo ran > DEST/ran"),
        ours: |tried| {
            ensure!(tried.installed("ran")? == "ran\n");
            Ok(())
        },
        told: Some("divides the path of a script"),
        ..PLAIN
    },
    Row {
        case: "`environment`, `args`",
        appspec: "FILEShooks:\n  AfterInstall:\n    - location: a.sh\n      args: [one]\n      environment: {A: two}\n",
        content: |revision| with_page(revision).script("a.sh", "echo $1 $A > DEST/ran"),
        ours: |tried| {
            ensure!(tried.installed("ran")? == "one two\n");
            Ok(())
        },
        told: Some("does not know `environment`"),
        ..PLAIN
    },
    Row {
        case: "a script that is not there",
        appspec: "FILEShooks:\n  AfterInstall:\n    - location: gone.sh\n",
        ours: |tried| tried.refused(&["DownloadBundle       FAILED", "gone.sh", "the first script of this revision"]),
        ..PLAIN
    },
    Row {
        case: "a script that is a link out",
        appspec: "FILEShooks:\n  AfterInstall:\n    - location: a.sh\n",
        content: |revision| with_page(revision).symlink("a.sh", "/bin/true"),
        ours: |tried| tried.refused(&["a.sh is refused"]),
        ..PLAIN
    },
    Row {
        case: "a destination that is not absolute",
        appspec: "files:\n  - source: page\n    destination: app\n",
        ours: |tried| tried.refused(&["an absolute path"]),
        ..PLAIN
    },
];

/// Rows about the agent itself, and the test that runs each: its file and its name. The bundle's row is run here.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "an install that fails",
        "agent/src/install/tests/faults.rs",
        "an_error_at_any_mutation_is_undone_or_the_install_is_done",
    ),
    (
        "files that exist already",
        "tests/tests/programs/failures.rs",
        "a_file_that_is_there_already_is_not_overwritten_unasked",
    ),
    (
        "a tar with xz or bzip2",
        "tests/tests/programs/archives.rs",
        "archives_of_every_tool_are_deployed_and_what_is_not_as_they_have_it_is_told",
    ),
    (
        "a symlink above a destination",
        "tests/tests/programs/link_races.rs",
        "a_users_link_is_a_clash_in_plan_and_install_and_is_told_before",
    ),
    (
        "files below `deployment-archive`",
        "tests/tests/programs/custody.rs",
        "a_user_whom_the_archive_names_cannot_edit_a_hook_before_root_runs_it",
    ),
    (
        "entries of a bundle",
        "tests/tests/programs/bounds.rs",
        "an_archive_of_a_million_entries_is_refused_within_the_agents_memory",
    ),
    (
        "an entry of a bundle below a symlink",
        "agent/src/unpack/tests/hostile.rs",
        "nothing_is_written_through_a_symlink",
    ),
    (
        "`app/` beside `__MACOSX/`",
        "agent/src/unpack/tests/place.rs",
        "what_macos_adds_beside_the_single_directory_is_left_out",
    ),
    ("`s3_endpoint_override` by name", "agent/src/bundle/s3/address.rs", "buckets_are_addressed_by_host_or_by_path"),
    (
        "a `source` that is a symlink",
        "agent/src/install/tests/sources.rs",
        "a_source_that_is_a_symlink_stands_for_the_directory_that_it_leads_to",
    ),
    (
        "a link that a script put",
        "agent/src/install/tests/links.rs",
        "a_directory_takes_the_place_of_a_link_that_a_script_put_there",
    ),
    (
        "mistakes in an AppSpec",
        "tests/tests/programs/failures.rs",
        "every_mistake_of_an_appspec_is_told_with_its_place",
    ),
    ("`user` in the configuration", "agent/tests/hooks/run.rs", "a_default_user_counts_where_runas_does_not_say"),
    (
        "the agent is stopped",
        "tests/tests/programs/updates.rs",
        "apt_upgrades_the_agent_which_is_restarted_by_that_and_reports_it_all_the_same",
    ),
    (
        "what scripts get by `codedeploy-local`",
        "tests/tests/programs/birth.rs",
        "a_local_deployment_gives_scripts_nothing_of_a_careless_parent",
    ),
    (
        "a script with `runas`",
        "agent/src/hooks/invocation/tests.rs",
        "what_a_login_gives_comes_before_the_base_and_after_the_appspec",
    ),
    ("scripts without `runas`", "agent/src/hooks/invocation/tests.rs", "home_and_names_follow_the_user"),
    (
        "a script leaves something running",
        "agent/tests/hooks/output.rs",
        "output_left_open_names_the_holder_and_the_remedy_and_ends_it",
    ),
    (
        "`codedeploy-local`",
        "tests/tests/programs/deploying.rs",
        "a_failure_ends_with_what_to_do_next_and_a_rollback_names_what_it_brings_back",
    ),
    (
        "`codedeploy-local -t directory`",
        "tests/tests/programs/deploying.rs",
        "by_the_name_of_awss_tool_it_does_what_that_does",
    ),
    ("the bundle", "tests/tests/programs/differences.rs", "a_bundle_goes_once_it_is_unpacked"),
    ("the metadata service", "tests/tests/programs/identity.rs", "a_token_that_is_refused_is_explained"),
    ("`rollback` on the host", "tests/tests/programs/local.rs", "a_rollback_needs_no_network"),
];

/// First and last cell of each row of the table below a heading.
fn table(heading: &str) -> Result<Vec<(String, String)>> {
    let guide = fs::read_to_string(repository().join("docs/migrating.md"))?;
    let (_, section) = guide.split_once(&format!("\n{heading}\n")).with_context(|| format!("a section {heading}"))?;
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split(" |").map(|cell| cell.trim().to_owned()).collect() };
    let rows = lines.skip(2).map(cells).filter_map(|cells| Some((cells.first()?.clone(), cells.last()?.clone())));
    Ok(rows.collect())
}

fn try_row(place: &Place, row: &Row, n: usize) -> Result<(Tried, String)> {
    let host = Agent::alone(place, &format!("host-{n}"))?;
    let destination = place.path().join(format!("app-{n}"));
    (row.host)(&destination)?;
    let quote = if row.case.starts_with("`version") { "\"" } else { "" };
    let mark = if row.case.starts_with("a byte order mark") { "\u{feff}" } else { "" };
    let appspec = format!("{mark}version: {quote}0.0{quote}\nos: linux\n{}", row.appspec.replace("FILES", FILES));
    let revision = (row.content)(Revision::with_appspec(&appspec))
        .substitute("DEST", &destination.display().to_string())
        .substitute("UID", &nix::unistd::geteuid().to_string());
    let directory = place.directory(&format!("revision-{n}"))?;
    revision.write(&directory)?;
    let location = directory.display().to_string();
    let text = |output: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let deployed = host.output(&["deploy-local", "-l", &location, "-g", "g"])?;
    let validated = host.output(&["validate", "--portable", &location])?;
    Ok((Tried { destination, code: deployed.status.code(), said: text(&deployed) }, text(&validated)))
}

#[test]
fn each_row_about_revisions_is_true() -> Result<()> {
    let rows = table("### What a revision does differently")?;
    ensure!(rows.len() == ROWS.len(), "the guide has {} rows, this test {}", rows.len(), ROWS.len());
    scenario(|place| {
        for (n, (case, told)) in rows.iter().enumerate() {
            let row = ROWS.iter().find(|row| case.starts_with(row.case));
            let row = row.with_context(|| format!("nothing tries the row {case:?}"))?;
            let (tried, validated) = try_row(place, row, n)?;
            (row.ours)(&tried).with_context(|| format!("{case}:\n{}", tried.said))?;
            ensure!((told == "yes") == row.told.is_some(), "{case}: the guide says {told:?}");
            match row.told {
                Some(told) => ensure!(validated.contains(told), "{case}: {told:?} is missing in\n{validated}"),
                None => ensure!(!validated.contains("AWS's agent"), "{case}:\n{validated}"),
            }
        }
        Ok(())
    })
}

#[test]
fn each_row_about_the_agent_has_a_test() -> Result<()> {
    let rows = table("## What is different")?;
    for (begin, ..) in ELSEWHERE {
        ensure!(rows.iter().any(|(case, _)| case.starts_with(begin)), "the guide has no row {begin:?}");
    }
    for (case, _) in &rows {
        let named = ELSEWHERE.iter().find(|(begin, ..)| case.starts_with(begin));
        let (_, file, test) = named.with_context(|| format!("no test is named for the row {case:?}"))?;
        let text = fs::read_to_string(repository().join(file)).with_context(|| file.to_string())?;
        ensure!(text.contains(&format!("fn {test}(")), "{case}: {file} has no test {test}");
    }
    Ok(())
}

#[test]
fn a_bundle_goes_once_it_is_unpacked() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let finished =
            fleet.group.deploy(&fleet.group.push("v1", &app(&destination, "one", &[]), BundleKind::Tgz)?)?;
        succeeded(&finished)?;
        ensure!(page(&destination)? == "one");
        let status = fleet.agent.status()?;
        let group = status["groups"][0]["id"].as_str().context("the group has an id")?;
        let left = names(&fleet.agent.root().join(group).join(&finished.id));
        ensure!(left.iter().any(|name| name == "deployment-archive"), "{left:?}");
        ensure!(!left.iter().any(|name| name.starts_with("bundle")), "{left:?}");
        Ok(())
    })
}

/// A revision of files alone is the same to both agents, and `--portable` says nothing of it.
#[test]
fn what_does_not_differ_is_not_told() -> Result<()> {
    scenario(|place| {
        let (tried, validated) = try_row(place, &PLAIN, 0)?;
        page_is_new(&tried)?;
        ensure!(validated.contains("no mistakes found"), "{validated}");
        Ok(())
    })
}
