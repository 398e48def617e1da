use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::plan::Refusals;
use crate::plan::grounds::{Labels, Modes};
use crate::unpack::Symlinks;

/// A revision in a temporary directory.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(appspec: &str) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.file("appspec.yml", &format!("version: 0.0\nos: linux\n{appspec}"))
    }

    fn file(self, path: &str, text: &str) -> Self {
        let file = self.0.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }

    fn script(self, path: &str, text: &str) -> Self {
        let tree = self.file(path, text);
        std::fs::set_permissions(tree.0.path().join(path), PermissionsExt::from_mode(0o755)).unwrap();
        tree
    }

    fn validated(&self) -> Validation {
        self.validated_for(&HostRules::default())
    }

    fn validated_for(&self, rules: &HostRules) -> Validation {
        let wanted = RelativePath::parse("appspec.yml").unwrap();
        revision(&Revision::at(self.0.path()), Path::new("rev"), &wanted, rules).unwrap()
    }

    /// Place and message of each finding.
    fn findings(&self) -> Vec<String> {
        self.findings_for(&HostRules::default())
    }

    fn findings_for(&self, rules: &HostRules) -> Vec<String> {
        let validation = self.validated_for(rules);
        validation.findings().iter().map(|finding| finding.to_string().lines().next().unwrap().to_owned()).collect()
    }
}

/// Holds findings to how they begin and to a part of what they say.
#[track_caller]
fn assert_found(findings: &[String], expected: &[(&str, &str)]) {
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, (start, part)) in findings.iter().zip(expected) {
        assert!(finding.starts_with(start) && finding.contains(part), "{start:?}, {part:?} in {finding:?}");
    }
}

#[test]
fn sources_that_symlinks_lead_elsewhere_are_told() {
    let entry = |source: &str| format!("- {{source: {source}, destination: /srv/{}}}\n", source.replace('/', "-"));
    let appspec = format!("files:\n{}{}{}{}", entry("app"), entry("app/file"), entry("out/x"), entry("conf"));
    let tree = Tree::new(&appspec).file("v2/file", "");
    for (link, target) in [("app", "v2"), ("out", "/etc"), ("conf", "v2/file")] {
        std::os::unix::fs::symlink(target, tree.0.path().join(link)).unwrap();
    }
    let expected = [
        ("rev/appspec.yml:4:12: warning: ", "leads from `app` to `v2`"),
        ("rev/appspec.yml:5:12: warning: ", "leads from `app/file` to `v2/file`"),
        ("rev/appspec.yml:6:12: error: ", "`out/x` leads out of the revision: `out` is a symlink to /etc"),
    ];
    assert_found(&tree.findings(), &expected);
}

#[test]
fn a_sound_revision_has_no_findings() {
    let tree = Tree::new(
        "files:\n  - {source: app, destination: /srv/app}\npermissions:\n  - {object: /srv/app, mode: 644, type: [file]}\n\
         hooks:\n  AfterInstall:\n    - location: run.sh\n    - location: program\n",
    )
    .file("app/page", "x")
    .script("run.sh", "#!/bin/sh -e\ntrue\n")
    .script("program", "\x7fELF\x02\x01\x01");
    assert_eq!(tree.findings(), [""; 0]);
}

#[test]
fn a_finding_shows_its_line_and_marks_the_place() {
    let tree = Tree::new("hooks:\n  AfterInstall:\n    - location: run.sh # soon\n      timeout: \"0\"\n")
        .script("run.sh", "#!/bin/sh\n");
    let shown: Vec<String> = tree.validated().findings().iter().map(Finding::to_string).collect();
    assert_eq!(
        shown,
        ["rev/appspec.yml:6:16: error: expected `timeout` as whole seconds from 1 to 2147483647, found `0`
    6 |       timeout: \"0\"
      |                ^^^"]
    );
}

#[test]
fn sources_are_looked_for() {
    let tree = Tree::new(
        "files:\n  - source: confg/app.conf\n    destination: /etc/app\n  - {source: conf/ap.conf, destination: /etc/app}\n  \
         - {source: lib, destination: /srv/lib}\n",
    )
    .file("conf/app.conf", "x");
    assert_found(
        &tree.findings(),
        &[
            ("rev/appspec.yml:4:13: error", "no `confg/app.conf`: correct it, or add it"),
            ("rev/appspec.yml:6:14: error", "no `conf/ap.conf`; did you mean `conf/app.conf`?"),
            ("rev/appspec.yml:7:14: error", "no `lib`"),
        ],
    );
}

#[test]
fn two_sources_of_one_path_are_one_finding_with_both_places() {
    let tree = Tree::new("files:\n  - {source: /, destination: /srv}\n  - {source: ., destination: /srv/}\n")
        .file("a", "")
        .file("b/c", "");
    assert_found(
        &tree.findings(),
        &[("rev/appspec.yml:5:14: error", "the one in line 4 both install /srv/a and 2 more paths")],
    );
    let tree = Tree::new("files:\n  - {source: x/a, destination: /srv}\n  - {source: y, destination: /srv}\n")
        .file("x/a", "")
        .file("y/a/b", "");
    assert_found(&tree.findings(), &[("rev/appspec.yml:5:14: error", "line 4 both install /srv/a: remove")]);
}

#[test]
fn permission_entries_must_mean_something_and_not_too_much() {
    let tree = Tree::new(
        "files:
  - {source: app, destination: /srv/app}
permissions:
  - {object: /srv/ap, mode: 644}
  - {object: /srv/app/bin, pattern: '*.py', mode: 755}
  - {object: /srv/app/empty, mode: 755}
  - {object: /srv/app, mode: 644, type: [file]}
  - {object: /srv/app/bin/run, mode: 755}
  - {object: /srv/app/page, pattern: '*', owner: root}
",
    )
    .file("app/bin/run", "")
    .file("app/page", "");
    std::fs::create_dir(tree.0.path().join("app/empty")).unwrap();
    assert_found(
        &tree.findings(),
        &[
            ("rev/appspec.yml:6:14: warning", "nothing is installed at or below /srv/ap,"),
            ("rev/appspec.yml:7:14: warning", "nothing that is installed below /srv/app/bin is meant"),
            ("rev/appspec.yml:8:14: warning", "for what is installed below /srv/app/empty, and nothing is"),
            ("rev/appspec.yml:10:14: error", "line 9 both mean /srv/app/bin/run:"),
            ("rev/appspec.yml:11:14: error", "/srv/app/page: `object` is a file, so `pattern`"),
            ("rev/appspec.yml:11:14: error", "line 9 both mean /srv/app/page:"),
        ],
    );
}

#[test]
fn default_access_entries_are_for_directories() {
    let entries = "permissions:\n  - {object: /srv, acls: ['d:u:0:rx']}\n";
    let tree = Tree::new(&format!("files:\n  - {{source: app, destination: /srv/app}}\n{entries}"))
        .file("app/a", "")
        .file("app/b", "");
    assert_found(
        &tree.findings(),
        &[("rev/appspec.yml:6:14: error", "means the file /srv/app/a and one more path: give these")],
    );
}

#[test]
fn an_entry_is_not_said_to_mean_nothing_where_a_source_is_in_doubt() {
    let tree = Tree::new(
        "files:\n  - {source: app, destination: srv}\npermissions:\n  - {object: /srv/app, mode: 644, owner: root}\n",
    );
    assert_found(
        &tree.findings(),
        &[
            ("rev/appspec.yml:4:14: error", "the revision has no `app`"),
            ("rev/appspec.yml:4:32: error", "an absolute path"),
        ],
    );
}

#[test]
fn scripts_are_looked_for() {
    let tree = Tree::new(
        "hooks:
  AfterInstall:
    - location: scripts/Run.sh
    - location: scripts
    - location: no/run.sh
    - location: out
  ApplicationStart:
    - {location: /scripts/run.sh}
    - location: scripts/stop.sh
    - location: plain/x
",
    )
    .script("scripts/run.sh", "#!/bin/sh\n")
    .file("plain/x", "#!/bin/sh\n");
    std::os::unix::fs::symlink("/bin/sh", tree.0.path().join("out")).unwrap();
    assert_found(
        &tree.findings(),
        &[
            ("rev/appspec.yml:5:17: error", "no script `scripts/Run.sh`; did you mean `scripts/run.sh`?"),
            ("rev/appspec.yml:6:17: error", "`scripts` is a directory"),
            ("rev/appspec.yml:7:17: error", "no script `no/run.sh`, nor a directory `no`"),
            ("rev/appspec.yml:8:17: error", "`out` is refused: it is a link to"),
            ("rev/appspec.yml:11:17: error", "no script `scripts/stop.sh`; its directory holds run.sh"),
            ("rev/appspec.yml:12:17: warning", "`plain/x` is not executable (mode 0644)"),
        ],
    );
}

#[test]
fn first_lines_are_read_as_the_kernel_reads_them() {
    for (text, expected) in [
        ("#!/bin/sh\r\necho\r\n", Some((":1:10: error", "ends in a carriage return, so the interpreter"))),
        ("#!/bin/sh\necho\necho hi\r\n", Some((":3:8: warning", "ends in a carriage return, which the shell"))),
        ("#!/usr/bin/env bash\nfi\r\n", Some((":2:3: warning", "carriage return, which the shell"))),
        ("#!/bin/cat\nplain text\r\n", None),
        ("echo\n", Some((":1:1: warning", "no interpreter line"))),
        ("", Some((":1:1: warning", "empty"))),
        ("\u{FEFF}#!/bin/sh\n", Some((":1:1: warning", "byte order mark"))),
        ("#!bin/bash\n", Some((":1:3: warning", "by its absolute path, `#!/bin/bash`"))),
        ("#!\n", Some((":1:3: error", "names no interpreter"))),
        ("#!bash\n", Some((":1:3: error", "absolute path: `#!/usr/bin/env bash`"))),
        ("#!/opt/none/ruby -w\n", Some((":1:3: warning", "/opt/none/ruby is not on this machine"))),
        ("#!/usr/bin/env bash -e\n", Some((":1:3: error", "`#!/usr/bin/env -S bash -e`"))),
        ("#!/usr/bin/env -S bash -e\n", None),
        ("#!/usr/bin/env bash\n", None),
    ] {
        let tree = Tree::new(
            "hooks:\n  AfterInstall: [{location: bin/x}, {location: bin/x}]\n  ApplicationStop: [{location: /bin/x}]\n",
        )
        .script("bin/x", text);
        let findings = tree.findings();
        let expected = expected.map(|(place, part)| (format!("rev/bin/x{place}"), part));
        let expected: Vec<(&str, &str)> = expected.iter().map(|(start, part)| (start.as_str(), *part)).collect();
        assert_found(&findings, &expected);
    }
}

/// The advice of a warning is followed, and the script runs.
#[test]
fn a_byte_order_mark_goes_by_the_advice() {
    let tree = Tree::new("hooks:\n  AfterInstall: [{location: x}]\n").script("x", "\u{FEFF}#!/bin/sh\necho ran\n");
    let found = tree.findings();
    let advice = found[0].rsplit('`').nth(1).unwrap();
    let script = tree.0.path().join("x");
    let shell = |command: &str| std::process::Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(shell(&format!("{advice} -i {}", script.display())).status.success(), "{advice}");
    assert_eq!(std::fs::read(&script).unwrap(), b"#!/bin/sh\necho ran\n");
    assert_eq!(tree.findings(), [""; 0]);
}

/// What `location` and `source` are taken for most.
#[test]
fn what_was_meant_is_told_where_there_is_no_such_script_or_source() {
    let tree = Tree::new(
        "files:
  - {source: /, destination: /srv/app}
  - {source: target/*.jar, destination: /srv/jar}
  - {source: '*.txt', destination: /srv/txt}
hooks:
  AfterInstall:
    - location: scripts/a.sh production
    - location: /srv/app/scripts/a.sh
    - location: bash scripts/a.sh
",
    )
    .script("scripts/a.sh", "#!/bin/sh\n")
    .file("target/app.jar", "");
    assert_found(
        &tree.findings(),
        &[
            (
                "rev/appspec.yml:5:14: error",
                "`source` takes no patterns; name the file, `target/app.jar`, or its directory, `target`",
            ),
            ("rev/appspec.yml:6:14: error", "name each file in an entry of its own, or their directory, `/`"),
            ("rev/appspec.yml:9:17: error", "write `location: scripts/a.sh` and `args: [production]`"),
            ("rev/appspec.yml:10:17: error", "and not on the host: write `location: scripts/a.sh`"),
            ("rev/appspec.yml:11:17: error", "a path and not a command: write `location: scripts/a.sh`"),
        ],
    );
}

/// All that an entry names is looked for, whatever else is wrong with it.
#[test]
fn a_mistake_of_an_entry_hides_nothing_else_of_it() {
    let tree = Tree::new(
        "files:
  - {source: gone, destination: srv}
hooks:
  AfterInstall:
    - {location: gone.sh, timeout: soon}
    - {location: crlf.sh, runas: 'a:b', sudo: [x]}
",
    )
    .script("crlf.sh", "#!/bin/sh\r\n");
    assert_found(
        &tree.findings(),
        &[
            ("rev/appspec.yml:4:14: error", "the revision has no `gone`"),
            ("rev/appspec.yml:4:33: error", "an absolute path"),
            ("rev/appspec.yml:7:18: error", "no script `gone.sh`"),
            ("rev/appspec.yml:7:36: error", "`timeout`"),
            ("rev/appspec.yml:8:34: error", "`runas`"),
            ("rev/appspec.yml:8:47: error", "`sudo`"),
            ("rev/crlf.sh:1:10: error", "carriage return"),
        ],
    );
}

/// Whether they are an error is up to the host, which may have the directory.
#[test]
fn two_entries_on_a_directory_above_a_destination_are_a_warning() {
    let tree = Tree::new(
        "files:
  - {source: /, destination: /srv/x/y/app}
permissions:
  - {object: /srv, owner: root}
  - {object: /srv/x, pattern: y, mode: 700, type: [directory]}
",
    );
    assert_found(
        &tree.findings(),
        &[(
            "rev/appspec.yml:7:14: warning",
            "the one in line 6 both mean the directory /srv/x/y: a host that does not have it",
        )],
    );
}

#[test]
fn patterns_and_types_that_mean_no_file_are_no_errors_on_one() {
    let tree = Tree::new(
        "files:
  - {source: a, destination: /srv}
permissions:
  - {object: /srv/a, pattern: '*', except: [b], mode: 755, type: [directory]}
",
    )
    .file("a", "");
    assert_found(&tree.findings(), &[("rev/appspec.yml:6:14: warning", "this entry means nothing")]);
}

/// A syntax error hides nothing of the revision.
#[test]
fn a_mistake_in_the_syntax_hides_nothing() {
    let tree = Tree::new(
        "files:
  - source: gone
  destination: /srv
hooks:
  AfterInstall:
    - location: a.sh
      runas:root
  AfterInstall:
    - location: b.sh
",
    );
    assert_found(
        &tree.findings(),
        &[
            ("rev/appspec.yml:4:13: error", "the revision has no `gone`"),
            ("rev/appspec.yml:5:3: error", "expected `destination` in column 5, below `source` in line 4"),
            ("rev/appspec.yml:9:13: error", "expected a space after the colon of `runas`"),
            (
                "rev/appspec.yml:10:3: warning",
                "`AfterInstall` is here again: this one counts, and the one in line 7 is ignored",
            ),
            ("rev/appspec.yml:11:17: error", "no script `b.sh`"),
        ],
    );
}

#[test]
fn events_of_nobody_are_told_and_slips_are_told_once() {
    let tree = Tree::new(
        "hooks:\n  AfterInstal: [{location: x}]\n  Migrate: [{location: x}]\n  AllowTraffic: [{location: x}]\n  Empty:\n",
    )
    .script("x", "#!/bin/sh\n");
    assert_found(
        &tree.findings(),
        &[
            ("rev/appspec.yml:4:3: warning", "did you mean `AfterInstall`?"),
            ("rev/appspec.yml:5:3: warning", "`Migrate` is none of the events"),
            ("rev/appspec.yml:6:3: warning", "`AllowTraffic` takes no scripts"),
        ],
    );
}

#[test]
fn a_revision_without_an_appspec_and_one_with_a_device_are_refused() {
    let tree = Tree::new("");
    std::fs::rename(tree.0.path().join("appspec.yml"), tree.0.path().join("AppSpec.yml")).unwrap();
    assert_found(&tree.findings(), &[("rev: error", "Rename `AppSpec.yml`")]);
    let tree = Tree::new("");
    let _socket = std::os::unix::net::UnixListener::bind(tree.0.path().join("socket")).unwrap();
    assert_found(&tree.findings(), &[("rev/socket: error", "cannot be deployed")]);
}

#[test]
fn an_appspec_by_itself_is_held_to_its_grammar_alone() {
    let found = appspec_alone(
        b"version: 0.0\nos: linux\nhooks:\n  AfterInstall: [{location: gone.sh, tiemout: 3}]\n",
        "a.yml",
        &HostRules::default(),
    );
    assert_eq!((found.count(Severity::Error), found.count(Severity::Warning)), (0, 1));
    assert!(found.findings()[0].message.contains("did you mean `timeout`?"));
    let found = appspec_alone(b"a: [", "a.yml", &HostRules::default());
    assert_eq!(found.count(Severity::Error), 1);
}

#[test]
fn findings_beyond_what_is_kept_are_counted() {
    let hooks: String = (0..700).map(|n| format!("    - location: s{n}\n")).collect();
    let validation = Tree::new(&format!("hooks:\n  AfterInstall:\n{hooks}")).validated();
    assert_eq!((validation.count(Severity::Error), validation.findings().len(), validation.omitted()), (700, 500, 200));
}

#[test]
fn what_the_hosts_configuration_refuses_is_an_error_for_these_hosts_alone() {
    let tree = Tree::new(
        "files:\n  - {source: app, destination: /srv/app}\npermissions:\n\
         \x20 - {object: /srv/app/a, mode: '4755'}\n\
         \x20 - {object: /srv/app/b, mode: '0755', context: {type: unconfined_t}}\n",
    )
    .file("app/a", "x")
    .file("app/b", "x");
    let opened = tree.0.path().join("app/b");
    std::fs::set_permissions(&opened, PermissionsExt::from_mode(0o666)).unwrap();
    std::os::unix::fs::symlink("a", tree.0.path().join("app/link")).unwrap();
    assert_eq!(tree.findings(), [""; 0]);
    let strict = HostRules {
        refusals: Refusals { modes: Modes::UnsafeRefused, labels: Labels::UnconfinedRefused, ..Refusals::default() },
        symlinks: Symlinks::Refused,
        ..HostRules::default()
    };
    assert_found(
        &tree.findings_for(&strict),
        &[
            ("rev/app/b: error: ", "the mode 0666 lets everybody write"),
            ("rev/app/link: error: ", "a symlink to a"),
            ("rev/appspec.yml:6:32: error: ", "the mode 4755 has set-id bits"),
            ("rev/appspec.yml:7:49: error: ", "reject_unconfined_selinux_in_bundle"),
        ],
    );
    let text = std::fs::read(tree.0.path().join("appspec.yml")).unwrap();
    assert_eq!(appspec_alone(&text, "appspec.yml", &strict).count(Severity::Error), 2);
    assert_eq!(appspec_alone(&text, "appspec.yml", &HostRules::default()).count(Severity::Error), 0);
}

#[test]
fn what_other_agents_take_differently_is_told_where_it_is_asked_for() {
    let appspec = "\
file_exists_behavior: overwrite
files:
  - source: 1.10
    destination: /srv
  - source: conf/a.txt/
    destination: /srv
  - source: tree
    destination: /srv/tree
permissions:
  - object: /srv
    mode: 0644
    owner: 1000
    group: \"1000\"
  - object: /srv/tree
    mode: \"0755\"
    type: &both [file]
    owner: root
  - object: /srv/tree/none
    mode: 0755
    type: *both
hooks:
  Install:
    - runas: root
  AfterInstall:
    - location: my scripts/a.sh
      timeout: 0100
      environment: {A: b}
  ApplicationStart:
";
    let tree = Tree::new(appspec)
        .file("1.10", "x")
        .file("conf/a.txt", "x")
        .file("tree/inner/x", "x")
        .script("my scripts/a.sh", "#!/bin/sh\ntrue\n");
    std::os::unix::fs::symlink("inner", tree.0.path().join("tree/link")).unwrap();
    std::os::unix::fs::symlink("inner/x", tree.0.path().join("tree/file-link")).unwrap();
    let own = tree.findings();
    assert!(!own.iter().any(|finding| finding.contains("AWS's agent")), "{own:#?}");
    let both = tree.findings_for(&HostRules { audience: Audience::BothAgents, ..HostRules::default() });
    let told: Vec<String> = both.into_iter().filter(|finding| finding.contains("AWS's agent")).collect();
    assert_found(
        &told,
        &[
            ("rev/appspec.yml:3:23: warning", "`OVERWRITE` in capitals alone"),
            ("rev/appspec.yml:5:13: warning", "as a number"),
            ("rev/appspec.yml:7:13: warning", "remove the `/`"),
            ("rev/appspec.yml:13:11: warning", "sets the mode 0420: write `mode: \"0644\"`"),
            ("rev/appspec.yml:14:12: warning", "looks for a user by name alone"),
            ("rev/appspec.yml:15:12: warning", "looks for a group by name alone"),
            ("rev/appspec.yml:18:18: warning", "an alias"),
            ("rev/appspec.yml:21:11: warning", "refuses this mode"),
            ("rev/appspec.yml:25:7: warning", "without `location`, though `Install` runs none"),
            ("rev/appspec.yml:27:17: warning", "divides the path of a script at spaces"),
            ("rev/appspec.yml:28:16: warning", "64 seconds"),
            ("rev/appspec.yml:29:7: warning", "does not know `environment`"),
            ("rev/appspec.yml:30:3: warning", "`ApplicationStart` without scripts"),
            ("rev/tree/link: warning", "here it stays a link"),
        ],
    );
}

#[test]
fn an_appspec_that_other_agents_cannot_read_is_told_by_its_first_line() {
    let rules = HostRules { audience: Audience::BothAgents, ..HostRules::default() };
    let validation = appspec_alone(b"\xEF\xBB\xBFversion: \"0.0\"\nos: linux\n", "appspec.yml", &rules);
    let found: Vec<String> = validation.findings().iter().map(ToString::to_string).collect();
    assert_eq!(validation.count(Severity::Error), 0, "{found:#?}");
    assert_found(
        &found,
        &[("appspec.yml:1:1: warning", "byte order mark"), ("appspec.yml:1:", "write `version: 0.0`")],
    );
}

#[test]
fn a_destination_of_the_kernels_own_is_refused() {
    for (destination, directory) in [("/proc/x", "/proc"), ("/sys", "/sys"), ("/dev/pts/1", "/dev/pts")] {
        let tree = Tree::new(&format!("files:\n  - source: a\n    destination: {destination}\n")).file("a", "1");
        assert_found(&tree.findings(), &[("rev/appspec.yml:5:18", directory)]);
    }
    for destination in ["/process/x", "/dev/shm/x", "/srv/proc"] {
        let tree = Tree::new(&format!("files:\n  - source: a\n    destination: {destination}\n")).file("a", "1");
        assert_eq!(tree.findings(), [""; 0], "{destination}");
    }
}
