mod retention;

use super::*;
use crate::ids::{DeploymentId, EventName, GroupId};

#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Count {
    count: u64,
}

impl Stored for Count {
    const WHAT: &'static str = "the count";
    const FORMAT: u32 = 2;
    const MAX_BYTES: u64 = 100;
}

fn host() -> (tempfile::TempDir, Layout, GroupId) {
    let temp = tempfile::tempdir().unwrap();
    let layout = Layout::new(temp.path().join("root"));
    prepare(&layout).unwrap();
    (temp, layout, GroupId::parse("group").unwrap())
}

fn id(text: &str) -> DeploymentId {
    DeploymentId::parse(text).unwrap()
}

#[test]
fn what_was_written_is_read_back_with_its_format() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("deep/er/count.json");
    assert!(read::<Count>(&path).unwrap().is_none());
    write(&path, &Count { count: 7 }).unwrap();
    assert_eq!(read::<Count>(&path).unwrap(), Some(Count { count: 7 }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"format\":2,\"crc32c\":\"6ee08aba\",\"count\":7}\n");
}

/// Longer than what is kept in memory at once.
#[test]
fn a_long_state_is_written_as_a_short_one_is() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Long {
        words: Vec<String>,
    }
    impl Stored for Long {
        const WHAT: &'static str = "many words";
        const FORMAT: u32 = 3;
        const MAX_BYTES: u64 = 64 << 20;
    }
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("long.json");
    let state = Long { words: (0..100_000).map(|number| format!("word {number}")).collect() };
    write(&path, &state).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), to_json(&path, &state).unwrap());
    assert_eq!(read::<Long>(&path).unwrap().as_ref(), Some(&state));
    let (failed, seen) = crate::disk::fault::run(None, false, || write(&path, &state));
    failed.unwrap();
    for (at, name) in seen.iter().enumerate() {
        let (failed, _) = crate::disk::fault::run(Some((at, nix::libc::ENOSPC)), false, || write(&path, &state));
        let said = failed.unwrap_err().to_string();
        assert!(said.contains("long.json") || said.contains(temp.path().to_str().unwrap()), "{said}");
        assert_eq!(read::<Long>(&path).unwrap().as_ref(), Some(&state), "{name} failed");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "{name} failed");
    }
    assert!(seen.iter().filter(|name| **name == "write").count() > 3, "{seen:?}");
}

#[test]
fn each_bit_flipped_it_is_refused_or_the_same() {
    let (_temp, layout, group) = host();
    let path = layout.manifest(&group);
    let file = crate::plan::PathState::File {
        attrs: crate::plan::Attrs::new(0, 0, 0o644),
        modified: crate::plan::Time(1, 2),
        size: 3,
        sha256: Some(crate::plan::Sha256([7; 32])),
    };
    let manifest = crate::plan::Manifest {
        group: group.clone(),
        deployment: id("d-1"),
        serial: 7,
        at: jiff::Timestamp::UNIX_EPOCH,
        links: Some(crate::plan::Links::default()),
        entries: vec![crate::plan::Owned { path: "/srv/app/file".into(), state: file }],
    };
    write(&path, &manifest).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut same) = (0, 0);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            match read_manifest(&layout, &group) {
                Err(error) => {
                    assert!(error.to_string().contains("group.json"), "{error}");
                    refused += 1;
                }
                // The words before the checksum are none of the content.
                Ok(found) => {
                    assert_eq!(found.as_ref(), Some(&manifest), "bit {bit} of byte {at}");
                    same += 1;
                }
            }
        }
    }
    println!("{refused} refused, {same} the same");
    assert!(refused > 8 * 200 && same < 8 * 12, "{refused} {same}");
    for length in 0..whole.len() - 1 {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(read_manifest(&layout, &group).is_err(), "{length}");
    }
}

#[test]
fn a_newer_format_is_refused_whatever_else_is_in_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("count.json");
    std::fs::write(&path, "{\"format\":3,\"counts\":[1]}").unwrap();
    let error = read::<Count>(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 3, known: 2, .. }));
    assert!(error.to_string().contains("the count"), "{error}");
    std::fs::write(&path, "{\"format\":1,\"count\":5}").unwrap();
    assert_eq!(read::<Count>(&path).unwrap(), Some(Count { count: 5 }));
}

#[test]
fn damage_and_excess_are_errors_that_name_the_file() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("count.json");
    for bad in ["", "{", "{\"count\":1}", "{\"format\":1}", &format!("{{\"format\":1,{}\"count\":1}}", " ".repeat(100))]
    {
        std::fs::write(&path, bad).unwrap();
        assert!(read::<Count>(&path).unwrap_err().to_string().contains("count.json"), "{bad:?}");
    }
}

#[test]
fn updates_from_many_threads_are_all_counted() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("count.json");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    update(&path, |state: &mut Count| state.count += 1).unwrap();
                }
            });
        }
    });
    assert_eq!(read::<Count>(&path).unwrap(), Some(Count { count: 20 }));
}

#[test]
fn markers_remember_good_deployments_newest_first() {
    let (_temp, layout, group) = host();
    let who = Who { application: "shop".into(), group: "web".into() };
    mark_most_recent(&layout, &group, &id("d-1"), &who).unwrap();
    mark_last_successful(&layout, &group, &id("d-1")).unwrap();
    for good in ["d-1", "d-2", "d-1"] {
        put_on_trial(&layout, &group, &id(good), &EventName::validate_service()).unwrap();
        mark_last_good(&layout, &group, &id(good), Proof::WholeDeployment).unwrap();
    }
    let markers = read_markers(&layout, &group).unwrap();
    assert_eq!(markers.last_good(), Some(&id("d-1")));
    assert_eq!(markers.good.len(), 2);
    assert_eq!(markers.last_good_before(&id("d-1")), Some(&id("d-2")));
    assert_eq!(markers.who, Some(who));
    let aws = std::fs::read_to_string(layout.last_successful_file(&group)).unwrap();
    assert_eq!(aws, layout.deployment(&group, &id("d-1")).to_str().unwrap());
    assert!(layout.most_recent_file(&group).exists());
}

#[test]
fn only_a_deployment_that_ended_well_is_good() {
    let (_temp, layout, group) = host();
    let (last, start) = (EventName::validate_service(), EventName::parse("ApplicationStart").unwrap());
    let good = || read_markers(&layout, &group).unwrap().last_good().map(ToString::to_string);
    let prove =
        |deployment: &str, event| mark_last_good(&layout, &group, &id(deployment), Proof::Event(event)).unwrap();
    put_on_trial(&layout, &group, &id("d-1"), &last).unwrap();
    prove("d-1", &start);
    assert_eq!(good(), None);
    prove("d-1", &last);
    assert_eq!(good().as_deref(), Some("d-1"));
    // The next one is on trial: the one before stays good, whatever becomes of it.
    put_on_trial(&layout, &group, &id("d-2"), &last).unwrap();
    assert_eq!(good().as_deref(), Some("d-1"));
    withdraw_good(&layout, &group, &id("d-2")).unwrap();
    prove("d-2", &last);
    assert_eq!(good().as_deref(), Some("d-1"));
    // An event of one whose place another has taken proves nothing.
    put_on_trial(&layout, &group, &id("d-3"), &last).unwrap();
    put_on_trial(&layout, &group, &id("d-4"), &last).unwrap();
    prove("d-3", &last);
    assert_eq!(good().as_deref(), Some("d-1"));
    // One that ended well and fails later, behind its load balancer, is good no more.
    prove("d-4", &last);
    assert_eq!(good().as_deref(), Some("d-4"));
    withdraw_good(&layout, &group, &id("d-4")).unwrap();
    assert_eq!(good().as_deref(), Some("d-1"));
}

#[test]
fn markers_of_versions_that_knew_no_trial_are_read() {
    let (_temp, layout, group) = host();
    let text = r#"{"format":1,"who":null,"last_successful":null,"good":[{"deployment":"d-1","at":"2026-01-01T00:00:00Z"}],"most_recent":null}"#;
    std::fs::create_dir_all(layout.markers(&group).parent().unwrap()).unwrap();
    std::fs::write(layout.markers(&group), text).unwrap();
    let markers = read_markers(&layout, &group).unwrap();
    assert_eq!((markers.last_good(), &markers.on_trial), (Some(&id("d-1")), &None));
}

#[test]
fn what_a_killed_writer_left_is_swept_and_nothing_else() {
    let (_temp, layout, group) = host();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let directory = layout.manifests();
    let left = directory.join(format!(".{group}.json.{dead}.tmp"));
    let own = directory.join(format!(".{group}.json.{}.tmp", std::process::id()));
    for file in [&left, &own, &directory.join(".other.tmp")] {
        std::fs::write(file, "half").unwrap();
    }
    prepare(&layout).unwrap();
    assert!(!left.exists());
    assert!(own.exists() && directory.join(".other.tmp").exists());
}
