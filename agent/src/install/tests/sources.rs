//! Sources that are symlinks of the revision.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::world::{World, conflicts, mapping};
use crate::install::{Additions, audit};
use crate::plan::{Change, Conflict};

const LINES: [&str; 5] = ["v2/file=1", "v2/dir/inner=1", "v2/link->dir", "app->v2", "conf->v2/file"];

#[test]
fn a_source_that_is_a_symlink_stands_for_the_directory_that_it_leads_to() {
    for source in ["app", "/app/", "./app"] {
        let world = World::new();
        let plain = World::new();
        let files = |world: &World, source: &str| {
            let mut appspec = world.appspec();
            appspec.files = vec![mapping(source, &world.destination)];
            appspec
        };
        let revision = world.revision("d-1", &LINES);
        let appspec = files(&world, source);
        world.run_spec("d-1", &revision, &appspec).unwrap();
        plain.run_spec("d-1", &plain.revision("d-1", &LINES), &files(&plain, "v2")).unwrap();
        assert_eq!(world.tree(), plain.tree());
        assert_eq!(world.read("app/file"), "1");
        assert!(world.path("app/link").is_symlink(), "links below a source stay links");
        let drift = audit(&world.layout, &world.group, Additions::Reported).unwrap().unwrap().drift;
        assert_eq!(drift, []);
        let again = world.plan_spec("d-2", &world.revision("d-2", &LINES), &appspec).unwrap();
        assert!(again.steps.iter().all(|step| step.change == Change::Keep), "{again}");
    }
}

#[test]
fn a_symlink_on_the_way_to_a_source_is_followed_and_one_to_a_file_is_installed() {
    let world = World::new();
    let mut appspec = world.appspec();
    appspec.files = vec![
        mapping("app/dir", &world.path("app/of-a-directory")),
        mapping("app/file", &world.destination),
        mapping("app/link", &world.path("app/of-a-link")),
        mapping("conf", &world.destination),
    ];
    world.run_spec("d-1", &world.revision("d-1", &LINES), &appspec).unwrap();
    assert_eq!(world.read("app/of-a-directory/inner"), "1");
    assert_eq!(world.read("app/of-a-link/inner"), "1");
    assert_eq!(world.read("app/file"), "1");
    assert_eq!(std::fs::read_link(world.path("app/conf")).unwrap(), Path::new("v2/file"));
}

#[test]
fn a_source_that_leads_out_of_the_revision_is_refused() {
    let world = World::new();
    world.put(&["secret/file=1"]);
    let before = world.tree();
    let revision = world.revision("d-1", &["up->../../..", "file=1"]);
    symlink(world.path("secret"), revision.root().join("host")).unwrap();
    let mut appspec = world.appspec();
    let sources = ["host", "host/file", "up", "missing/link"];
    appspec.files = sources.map(|source| mapping(source, &world.destination)).to_vec();
    let error = world.run_spec("d-1", &revision, &appspec).unwrap_err();
    let text = error.to_string();
    let found = conflicts(error);
    let outside = |one: &&Conflict| matches!(one, Conflict::SourceOutside { .. });
    assert_eq!(found.iter().filter(outside).count(), 3, "{found:?}");
    assert!(matches!(&found[3], Conflict::MissingSource { .. }), "{found:?}");
    assert!(text.contains("line 4: the source host/file leads out of the revision: host is a symlink to /"), "{text}");
    assert_eq!(world.tree(), before);
    // Below a source such links are installed as they are.
    world.run_spec("d-1", &revision, &world.appspec()).unwrap();
    assert_eq!(std::fs::read_link(world.path("app/host")).unwrap(), world.path("secret"));
}
