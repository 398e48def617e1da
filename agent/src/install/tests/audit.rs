use std::os::unix::fs::PermissionsExt;

use super::world::{World, is_root};
use crate::deployment::FileExistsBehavior::Overwrite;
use crate::install::{Additions, audit};

/// Path and differences of all drift.
fn drift(world: &World, additions: Additions) -> Vec<(String, String)> {
    let audit = audit(&world.layout, &world.group, additions).unwrap().expect("something is installed");
    let shown = |drifted: crate::install::Drifted| {
        let path = drifted.path.strip_prefix(world.path("")).unwrap().display().to_string();
        (path, serde_json::to_string(&drifted.differences).unwrap())
    };
    audit.drift.into_iter().map(shown).collect()
}

fn expect(world: &World, additions: Additions, expected: &[(&str, &str)]) {
    let found = drift(world, additions);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, expected.iter().map(|(path, _)| *path).collect::<Vec<_>>(), "{found:?}");
    for ((path, differences), (_, part)) in found.iter().zip(expected) {
        assert!(differences.contains(part), "{path}: {part} in {differences}");
    }
}

#[test]
fn what_was_just_installed_has_not_drifted() {
    let world = World::new();
    assert!(audit(&world.layout, &world.group, Additions::Reported).unwrap().is_none());
    world.run("d-1", &["bin/run=go", "link->bin", "empty/", "zero="]).unwrap();
    expect(&world, Additions::Reported, &[]);
    world.run("d-2", &["bin/run=gone", "link->elsewhere"]).unwrap();
    expect(&world, Additions::Reported, &[]);
}

#[test]
fn every_kind_of_drift_is_told() {
    let world = World::new();
    world
        .run(
            "d-1",
            &[
                "content=abc",
                "longer=abc",
                "missing=x",
                "mode=x",
                "type=x",
                "link->a",
                "dir/in=x",
                "gone/in=x",
                "same=x",
            ],
        )
        .unwrap();
    let app = |name: &str| world.path("app").join(name);
    std::fs::write(app("content"), "abd").unwrap();
    std::fs::write(app("longer"), "abcd").unwrap();
    std::fs::remove_file(app("missing")).unwrap();
    std::fs::set_permissions(app("mode"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(app("dir"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::remove_file(app("type")).unwrap();
    std::fs::create_dir(app("type")).unwrap();
    std::fs::remove_file(app("link")).unwrap();
    std::os::unix::fs::symlink("b", app("link")).unwrap();
    std::fs::remove_dir_all(app("gone")).unwrap();
    std::os::unix::fs::symlink("nowhere", app("gone")).unwrap();
    std::fs::File::open(app("same")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    expect(
        &world,
        Additions::Passed,
        &[
            ("app/content", r#"[{"what":"content","was":3,"is":3}]"#),
            ("app/dir", r#"[{"what":"mode","was":"0755","is":"0700"}]"#),
            ("app/gone", r#"[{"what":"type","was":"directory","is":"symlink"}]"#),
            ("app/gone/in", r#"[{"what":"missing"}]"#),
            ("app/link", r#"[{"what":"target","was":"a","is":"b"}]"#),
            ("app/longer", r#"[{"what":"content","was":3,"is":4}]"#),
            ("app/missing", r#"[{"what":"missing"}]"#),
            ("app/mode", r#"{"what":"mode","was":"#),
            ("app/type", r#"[{"what":"type","was":"file","is":"directory"}]"#),
        ],
    );
}

#[test]
fn another_owner_is_drift() {
    if !is_root() {
        return;
    }
    let world = World::new();
    world.run("d-1", &["file=x", "link->x", "dir/"]).unwrap();
    for name in ["file", "link", "dir"] {
        std::os::unix::fs::lchown(world.path("app").join(name), Some(4711), Some(4712)).unwrap();
    }
    let differences = r#"[{"what":"owner","was":[0,0],"is":[4711,4712]}]"#;
    expect(
        &world,
        Additions::Passed,
        &[("app/dir", differences), ("app/file", differences), ("app/link", differences)],
    );
}

#[test]
fn additions_are_told_once_and_only_on_request() {
    let world = World::new();
    world.run("d-1", &["dir/file=x"]).unwrap();
    world.put(&["app/log=x", "app/dir/cache/deep/file=x", "beside=x"]);
    expect(&world, Additions::Passed, &[]);
    expect(
        &world,
        Additions::Reported,
        &[
            ("app/dir/cache", r#"[{"what":"added","is":"directory"}]"#),
            ("app/log", r#"[{"what":"added","is":"file"}]"#),
        ],
    );
}

#[test]
fn what_another_group_took_over_is_that_groups() {
    let mut world = World::new();
    world.run("d-1", &["ours=x", "shared=x"]).unwrap();
    world.behavior = Overwrite;
    world.group("other").run("d-2", &["shared=y", "theirs=y"]).unwrap();
    expect(&world, Additions::Reported, &[]);
    expect(world.group("group"), Additions::Reported, &[]);
    std::fs::write(world.path("app/shared"), "z").unwrap();
    expect(&world, Additions::Reported, &[]);
    expect(world.group("other"), Additions::Reported, &[("app/shared", "content")]);
}
