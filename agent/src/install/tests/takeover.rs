//! AWS's agent on the same root: what its files say that it has installed since this agent's last install.

use super::world::{World, id};
use crate::disk::fault;
use crate::install::{AwsInstall, LastInstall, installed_groups, last_install};
use crate::store::read_markers;

const EIO: i32 = 5;

/// A host with a revision, over which another one is installed.
fn host() -> World {
    let world = World::new();
    world.run("d-1", &["same=s", "goes=1", "deep/goes=1"]).unwrap();
    world
}

fn install_next(world: &World) -> Vec<&'static str> {
    let (result, seen) = fault::run(None, false, || world.run("d-2", &["same=s", "comes=2"]));
    result.unwrap();
    seen
}

/// As AWS's agent leaves its files after an install.
fn aws_installs(world: &World, deployment: &str, list: &str) {
    std::fs::write(world.layout.cleanup_file(&world.group), list).unwrap();
    let directory = world.layout.deployment(&world.group, &id(deployment));
    std::fs::write(world.layout.last_successful_file(&world.group), directory.display().to_string()).unwrap();
}

fn found(world: &World) -> LastInstall {
    last_install(&world.layout, &world.group).unwrap()
}

/// Its files are written one after the other: what was cut off between them is not taken for another agent's.
#[test]
fn an_install_that_was_cut_off_anywhere_is_this_agents_once_it_is_settled() {
    for at in 0..install_next(&host()).len() {
        let world = host();
        let (_, seen) = fault::run(Some((at, EIO)), true, || world.run("d-2", &["same=s", "comes=2"]));
        world.settle().unwrap();
        let is_new = world.path("app/comes").exists();
        let expected = id(if is_new { "d-2" } else { "d-1" });
        let LastInstall::Own(manifest) = found(&world) else {
            panic!("{at}: {:?} after {:?}", found(&world), seen.last())
        };
        assert_eq!(manifest.deployment, expected, "{at}");
        let markers = read_markers(&world.layout, &world.group).unwrap();
        assert_eq!(markers.last_successful.unwrap().deployment, expected, "{at}");
    }
}

/// Neither an undo nor a commit that was not published yet goes over what AWS's agent has installed since.
#[test]
fn what_awss_agent_installed_after_an_install_was_cut_off_counts() {
    for at in 0..install_next(&host()).len() {
        let world = host();
        let (_, seen) = fault::run(Some((at, EIO)), true, || world.run("d-2", &["same=s", "comes=2"]));
        let list = format!("{}\n", world.path("app/of-aws").display());
        aws_installs(&world, "d-AWS", &list);
        world.settle().unwrap();
        let LastInstall::Aws(AwsInstall { list, deployment, .. }) = found(&world) else {
            panic!("{at}: {:?} after {:?}", found(&world), seen.last())
        };
        assert_eq!(list.paths, [world.path("app/of-aws")], "{at}");
        assert_eq!(deployment.unwrap().deployment, id("d-AWS"), "{at}");
    }
}

#[test]
fn a_list_that_reads_the_same_is_told_by_the_deployment() {
    let world = host();
    let list = std::fs::read_to_string(world.layout.cleanup_file(&world.group)).unwrap();
    aws_installs(&world, "d-1", &list);
    assert!(matches!(found(&world), LastInstall::Own(_)));
    aws_installs(&world, "d-AWS", &list);
    assert!(matches!(found(&world), LastInstall::Aws(AwsInstall { own_serial: 1, .. })));
}

/// The files of one group are its own; another one's are not taken for nobody's.
#[test]
fn groups_of_awss_agent_are_known_to_other_groups() {
    let mut world = host();
    world.group("other");
    world.put(&["other/page=theirs"]);
    let [directory, page] = ["other", "other/page"].map(|path| world.path(path).display().to_string());
    aws_installs(&world, "d-AWS", &format!("{directory}\n{page}\n"));
    assert_eq!(installed_groups(&world.layout).unwrap().len(), 2);
    world.destination = world.path("other");
    let clash = |world: &World| world.plan("d-2", &["page=2"]).unwrap_err().to_string();
    world.group("group");
    assert!(clash(&world).contains("d-AWS"), "{}", clash(&world));
    world.group("other");
    world.run("d-3", &["page=3"]).unwrap();
    assert_eq!(world.read("other/page"), "3");
}
