//! What becomes of paths that exist: every mix of what is there, what is wanted, and the behaviour.

use super::world::{World, conflicts};
use crate::deployment::FileExistsBehavior::{self, Disallow, Overwrite, Retain};
use crate::plan::Conflict;
use crate::store::read_manifest;

/// What can be in the place of `app/x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    File,
    EmptyDirectory,
    FullDirectory,
    Symlink,
    SymlinkToDirectory,
    Pipe,
}

/// What can come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// An error before anything is installed.
    Clash,
    /// What was there is gone.
    Replaced,
    /// What was there is as it was, and the deployment does not own it.
    Stays,
    /// As `Stays`; what would be below it is not installed, and a warning says so.
    StaysAlone,
    /// The deployment's files are put into the directory.
    Merged,
}

use Outcome::{Clash, Merged, Replaced, Stays, StaysAlone};

/// Reads like the table in `docs/appspec.md`, and is that table: DISALLOW, OVERWRITE and RETAIN.
const ROWS: [(There, &str, [Outcome; 3]); 12] = [
    (There::File, "a file or symlink", [Clash, Replaced, Stays]),
    (There::File, "a directory", [Clash, Replaced, StaysAlone]),
    (There::Symlink, "a file or symlink", [Clash, Replaced, Stays]),
    (There::Symlink, "a directory", [Clash, Replaced, StaysAlone]),
    (There::SymlinkToDirectory, "a file or symlink", [Clash, Replaced, Stays]),
    (There::SymlinkToDirectory, "a directory", [Clash, Clash, Clash]),
    (There::EmptyDirectory, "a file or symlink", [Clash, Replaced, Stays]),
    (There::EmptyDirectory, "a directory", [Merged, Merged, Merged]),
    (There::FullDirectory, "a file or symlink", [Clash, Clash, Stays]),
    (There::FullDirectory, "a directory", [Merged, Merged, Merged]),
    (There::Pipe, "a file or symlink", [Clash, Replaced, Stays]),
    (There::Pipe, "a directory", [Clash, Replaced, StaysAlone]),
];

impl There {
    fn words(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::EmptyDirectory => "an empty directory",
            Self::FullDirectory => "a directory that holds something",
            Self::Symlink => "a symlink to a file or to nothing",
            Self::SymlinkToDirectory => "a symlink to a directory",
            Self::Pipe => "a device, socket or pipe",
        }
    }

    fn spellings(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::File => &[&["app/x=old"]],
            Self::EmptyDirectory => &[&["app/x/"]],
            Self::FullDirectory => &[&["app/x/theirs=old"], &["app/x/theirs/"], &["app/x/theirs->nowhere"]],
            Self::Symlink => &[&["file=1", "app/x->../file"], &["app/x->nowhere"]],
            Self::SymlinkToDirectory => &[&["dir/", "app/x->../dir"]],
            Self::Pipe => &[&["app/"]],
        }
    }
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Clash => "clash",
            Replaced => "replaced",
            Stays => "stays",
            StaysAlone => "stays, and nothing is installed below it",
            Merged => "merged",
        }
    }
}

#[test]
fn every_mix_is_as_the_guide_says() {
    let mut written = String::new();
    for (there, wanted, outcomes) in ROWS {
        let wanted_lines: &[&str] =
            if wanted == "a directory" { &["x/inner=new", "x/"] } else { &["x=new", "x->new", "x->."] };
        written += &format!("| {} | {wanted}", there.words());
        for (behavior, outcome) in [Disallow, Overwrite, Retain].into_iter().zip(outcomes) {
            written += &format!(" | {}", outcome.words());
            for spelling in there.spellings() {
                for line in wanted_lines {
                    mix((there, spelling), line, behavior, outcome);
                }
            }
        }
        written += " |\n";
    }
    let guide = include_str!("../../../../docs/appspec.md");
    assert!(guide.contains(&written), "the guide lacks:\n{written}");
}

fn mix((there, spelling): (There, &[&str]), line: &str, behavior: FileExistsBehavior, outcome: Outcome) {
    let context = format!("{spelling:?}, {line}, {behavior:?}");
    let mut world = World::new();
    world.behavior = behavior;
    world.put(spelling);
    if there == There::SymlinkToDirectory && matches!(outcome, Clash) {
        // Where others could redirect it; a link that nobody gains by is followed.
        std::fs::set_permissions(world.path("app"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let pipe = world.path("app/x");
    if there == There::Pipe {
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    }
    let is_pipe = || std::os::unix::fs::FileTypeExt::is_fifo(&pipe.symlink_metadata().unwrap().file_type());
    // Reading a pipe would wait for a writer.
    let look = |world: &World| if there == There::Pipe { Default::default() } else { world.tree() };
    let before = look(&world);
    let result = world.run("d-1", &[line, "y=y"]);
    let is_inner = line.contains("inner");
    let owns = |path: &str| {
        let manifest = read_manifest(&world.layout, &world.group).unwrap().unwrap();
        manifest.entries.iter().any(|owned| owned.path == world.path(path))
    };
    match outcome {
        Clash => {
            let found = conflicts(result.unwrap_err());
            let is_clash = |one: &Conflict| {
                matches!(
                    one,
                    Conflict::Exists { .. } | Conflict::ForeignEntries { .. } | Conflict::SymlinkInTheWay { .. }
                )
            };
            assert!(found.len() == 1 && is_clash(&found[0]), "{context}: {found:?}");
            assert_eq!(look(&world), before, "{context}");
            assert!(there != There::Pipe || is_pipe(), "{context}");
        }
        Replaced => {
            result.unwrap();
            let clean = World::new();
            clean.put(spelling.iter().filter(|line| !line.contains("app/")).copied().collect::<Vec<_>>().as_slice());
            clean.run("d-1", &[line, "y=y"]).unwrap();
            assert_eq!(world.tree(), clean.tree(), "{context}");
            assert!(owns("app/x"), "{context}");
        }
        Stays | StaysAlone => {
            let warnings = result.unwrap().warnings;
            let warned = warnings.iter().any(|warning| warning.contains("1 paths below it are not installed"));
            assert_eq!(warned, outcome == StaysAlone && is_inner, "{context}: {warnings:?}");
            assert!(!owns("app/x") && !owns("app/x/inner") && owns("app/y"), "{context}");
            std::fs::remove_file(world.path("app/y")).unwrap();
            assert_eq!(look(&world), before, "{context}");
            assert!(there != There::Pipe || is_pipe(), "{context}");
        }
        Merged => {
            result.unwrap();
            let mut after = world.tree();
            assert!(after.remove(std::path::Path::new("app/y")).is_some());
            assert_eq!(after.remove(std::path::Path::new("app/x/inner")).is_some(), is_inner, "{context}");
            assert_eq!(after, before, "{context}");
            assert!(!owns("app/x"), "{context}");
        }
    }
    world.assert_no_transactions();
}
