use std::path::Path;
use std::time::Duration;

use super::hooks::Sudo;
use super::*;
use crate::deployment::RelativePath;

fn parsed(text: &str) -> Parsed {
    parse(text.as_bytes(), "appspec.yml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> Vec<String> {
    let errors = parse(text.as_bytes(), "appspec.yml").expect_err("mistakes").to_string();
    errors.lines().map(str::to_owned).collect()
}

/// Mistakes of a section in an AppSpec that is fine otherwise. The section begins in line 3.
fn errors_in(section: &str) -> Vec<String> {
    errors(&format!("version: 0.0\nos: linux\n{section}"))
}

fn spec_of(section: &str) -> AppSpec {
    parsed(&format!("version: 0.0\nos: linux\n{section}")).spec
}

fn warnings(section: &str) -> Vec<String> {
    let parsed = parsed(&format!("version: 0.0\nos: linux\n{section}"));
    parsed.warnings.iter().map(|warning| warning.to_string()).collect()
}

#[test]
fn a_whole_file() {
    let parsed = parsed(
        r#"
version: 0.0
os: linux
files:
  - source: /
    destination: /srv/app
  - source: conf/app.conf
    destination: /etc//app/
file_exists_behavior: OVERWRITE
permissions:
  - object: /srv/app
    pattern: "*.sh"
    except: [skip.sh]
    owner: app
    group: 1000
    mode: 755
    acls: ["u:web:rx"]
    context: {name: system_u, type: httpd_sys_content_t, range: "s0-s1:c0.c3"}
    type: [file]
hooks:
  ApplicationStop:
  BeforeInstall:
    - location: scripts/stop.sh
      timeout: 300
      runas: app
      sudo: yes
    - location: /scripts/clean.sh
  Migrate:
    - location: migrate
"#,
    );
    assert_eq!(parsed.warnings, []);
    let spec = parsed.spec;
    let files: Vec<_> = spec.files.iter().map(|f| (f.source.to_string(), f.destination.as_path(), f.at.line)).collect();
    assert_eq!(
        files,
        [("/".to_owned(), Path::new("/srv/app"), 5), ("conf/app.conf".to_owned(), Path::new("/etc/app"), 7)]
    );
    assert_eq!(spec.file_exists_behavior, Some(FileExistsBehavior::Overwrite));
    let [permission] = spec.permissions.as_slice() else { panic!("one entry") };
    assert_eq!(permission.pattern, Pattern::parse("*.sh").unwrap());
    assert_eq!(permission.except, [Pattern::parse("skip.sh").unwrap()]);
    assert_eq!((permission.owner.as_deref(), permission.group.as_deref()), (Some("app"), Some("1000")));
    assert_eq!(permission.mode.unwrap().bits(), 0o755);
    assert_eq!(permission.acls.as_ref().unwrap()[0].to_string(), "user:web:r-x");
    assert_eq!(permission.target, PermissionTarget::Files);
    assert_eq!(permission.at, Position { line: 11, column: 5 });
    let context = permission.context.as_ref().unwrap();
    assert_eq!((context.kind.as_str(), context.range.as_deref()), ("httpd_sys_content_t", Some("s0-s1:c0.c3")));

    let events: Vec<_> = spec.hooks.keys().map(EventName::as_str).collect();
    assert_eq!(events, ["BeforeInstall", "Migrate"], "an event without scripts is not there");
    let [stop, clean] = spec.hooks[&EventName::parse("BeforeInstall").unwrap()].as_slice() else {
        panic!("two scripts")
    };
    assert_eq!((stop.location.as_path(), stop.written.as_str()), (Path::new("scripts/stop.sh"), "scripts/stop.sh"));
    assert_eq!((stop.timeout, stop.runas.as_deref(), stop.sudo), (Duration::from_secs(300), Some("app"), Sudo::Yes));
    assert_eq!(
        (clean.location.as_path(), clean.written.as_str()),
        (Path::new("scripts/clean.sh"), "/scripts/clean.sh")
    );
    assert_eq!((clean.timeout, clean.runas.as_deref(), clean.sudo), (hooks::DEFAULT_TIMEOUT, None, Sudo::No));
}

#[test]
fn all_mistakes_come_at_once_with_their_places() {
    assert_eq!(
        errors(
            "version: 1.0
os: windows
files:
  - source: ../secret
    destination: srv/app
  - destination: /srv/../etc
  - /srv
permissions:
  - object: app
    mode: 9999
    type: [dir]
hooks:
  AfterInstall:
    - location:
      timeout: 0
    - location: run.sh
      sudo: maybe
  ValidateService: check.sh
file_exists_behavior: REPLACE
"
        ),
        [
            "appspec.yml:1:10: expected `version` as 0.0, the only one there is, found `1.0`",
            "appspec.yml:2:5: expected `os` as linux, since this agent deploys to Linux hosts alone, found `windows`",
            "appspec.yml:4:13: expected `source` as a path that stays inside the revision, found `../secret`",
            "appspec.yml:5:18: expected `destination` as an absolute path, found `srv/app`",
            "appspec.yml:6:5: expected `source`, a file or directory of the revision, found no `source`",
            "appspec.yml:6:18: expected `destination` as a path without `..`, found `/srv/../etc`",
            "appspec.yml:7:5: expected an entry of `files`: a mapping with `source` and `destination`, found `/srv`",
            "appspec.yml:9:13: expected `object` as an absolute path, found `app`",
            "appspec.yml:10:11: expected `mode` as one to four octal digits, such as 0644, found `9999`",
            "appspec.yml:11:12: expected `file` or `directory` in `type`, found `dir`",
            "appspec.yml:14:7: expected `location`, the script's path in the revision, found `location` without a value",
            "appspec.yml:15:16: expected `timeout` as whole seconds from 1 to 2147483647, found `0`",
            "appspec.yml:17:13: expected `sudo` as true or false, found `maybe`",
            "appspec.yml:18:20: expected the scripts of `ValidateService` as a list, each beginning with `- location:`, found `check.sh`",
            "appspec.yml:19:23: expected `file_exists_behavior` as DISALLOW, OVERWRITE or RETAIN, found `REPLACE`",
        ]
    );
}

#[test]
fn the_version_is_the_number_zero_however_it_is_written() {
    for version in ["0.0", "\"0.0\"", "'0.0'", "0", "0.00", ".0"] {
        parsed(&format!("version: {version}\nos: linux\n"));
    }
    for version in ["0.1", "1", "", "'.'", "''", "0.0.0", "v0", "-0.0", "[0.0]", "{a: 0.0}"] {
        assert_eq!(errors(&format!("version: {version}\nos: linux\n")).len(), 1, "{version}");
    }
}

#[test]
fn what_is_no_appspec_for_hosts_says_what_it_is() {
    assert_eq!(
        errors(""),
        ["appspec.yml:1:1: expected an AppSpec: a mapping with `version`, `os`, `files` and `hooks`, found nothing"]
    );
    assert!(errors("- a\n")[0].ends_with("found a list"));
    assert_eq!(
        errors("files: []\n"),
        [
            "appspec.yml:1:1: expected `version: 0.0`, found no `version`",
            "appspec.yml:1:1: expected `os: linux`, found no `os`"
        ]
    );
    let ecs =
        "version: 0.0\nResources:\n  - TargetService:\n      Type: AWS::ECS::Service\nHooks:\n  - BeforeInstall: x\n";
    assert_eq!(
        errors(ecs),
        [
            "appspec.yml:2:1: expected an AppSpec for EC2 or on-premises hosts, found `Resources`: this file is for Amazon ECS"
        ]
    );
    let lambda = "version: 0.0\nresources:\n  - f:\n      type: AWS::Lambda::Function\n";
    assert!(errors(lambda)[0].ends_with("`resources`: this file is for AWS Lambda"));
    assert!(errors("Resources:\n")[0].ends_with("this file is for AWS Lambda or Amazon ECS"));
}

#[test]
fn modes_mean_what_the_author_meant() {
    for (text, bits) in [
        ("644", 0o644),
        ("0644", 0o644),
        ("\"0644\"", 0o644),
        ("'644'", 0o644),
        ("0o644", 0o644),
        ("4750", 0o4750),
        ("0", 0),
        ("!!str 755", 0o755),
        ("!!int 755", 0o755),
    ] {
        let spec = spec_of(&format!("permissions: [{{object: /a, mode: {text}}}]"));
        assert_eq!(spec.permissions[0].mode.map(Mode::bits), Some(bits), "{text}");
    }
    for text in ["888", "07777", "u+x", "rw-r--r--", "0x1ff", "00644", "6.44", "-644", "1e2", "[644]", "yes"] {
        assert_eq!(errors_in(&format!("permissions: [{{object: /a, mode: {text}}}]")).len(), 1, "{text}");
    }
}

#[test]
fn booleans_in_every_spelling() {
    for (text, expected) in [
        ("yes", Sudo::Yes),
        ("Yes", Sudo::Yes),
        ("true", Sudo::Yes),
        ("on", Sudo::Yes),
        ("\"true\"", Sudo::Yes),
        ("no", Sudo::No),
        ("OFF", Sudo::No),
        ("false", Sudo::No),
        ("~", Sudo::No),
    ] {
        let spec = spec_of(&format!("hooks: {{X: [{{location: a, sudo: {text}}}]}}"));
        assert_eq!(spec.hooks.values().next().unwrap()[0].sudo, expected, "{text}");
    }
}

#[test]
fn empty_sections_are_empty() {
    let spec =
        spec_of("files:\npermissions: ~\nhooks:\n  BeforeInstall: []\n  AfterInstall: null\nfile_exists_behavior:\n");
    assert_eq!(
        spec,
        AppSpec { files: vec![], file_exists_behavior: None, permissions: vec![], hooks: BTreeMap::new() }
    );
    assert_eq!(spec_of("hooks:\n"), spec);
}

#[test]
fn timeouts_are_whole_seconds() {
    for (text, seconds) in [("1", 1), ("'300'", 300), ("3600", 3600)] {
        let spec = spec_of(&format!("hooks: {{X: [{{location: a, timeout: {text}}}]}}"));
        assert_eq!(spec.hooks.values().next().unwrap()[0].timeout, Duration::from_secs(seconds));
    }
    for text in ["0", "-1", "1.5", "5m", "99999999999999999999", "2147483648", "[1]"] {
        assert_eq!(errors_in(&format!("hooks: {{X: [{{location: a, timeout: {text}}}]}}")).len(), 1, "{text}");
    }
}

#[test]
fn locations_and_sources_stay_inside() {
    for text in ["../a", "a/../../b", "/..", "/", ".", "''", "\"a\\0b\"", "~", "[a]"] {
        assert_eq!(errors_in(&format!("hooks: {{X: [{{location: {text}}}]}}")).len(), 1, "{text}");
    }
    assert_eq!(spec_of("files: [{source: ., destination: /a}]").files[0].source, RelativePath::default());
}

#[test]
fn mistakes_in_permissions() {
    for (entry, part) in [
        ("{mode: 644}", "found no `object`"),
        ("{object: /a, pattern: a/b}", "without `/`"),
        ("{object: /a, pattern: '**/x'}", "without `/`"),
        ("{object: /a, except: '*.log'}", "`except` as a list of patterns"),
        ("{object: /a, except: ['a/b']}", "in `except` a pattern without `/`"),
        ("{object: /a, type: file}", "`type` as a list"),
        ("{object: /a, type: []}", "found an empty list"),
        ("{object: /a, owner: [x]}", "`owner` as a user's name or number, found a list"),
        ("{object: /a, acls: u:bob:rwx}", "`acls` as a list of entries"),
        ("{object: /a, acls: ['u::rwx']}", "which `mode` sets, found `u::rwx`"),
        ("{object: /a, acls: ['bob: rwx', {bob: rwx}]}", "found a mapping"),
        ("{object: /a, acls: ['u:bob:rwx', 'bob:r']}", "each user, group and mask once in `acls`, found `bob:r`"),
        ("{object: /a, type: [file], acls: ['d:u:bob:rwx']}", "without default entries"),
        ("{object: /a, context: {name: system_u}}", "found no `type`"),
        ("{object: /a, context: {type: t, role: r}}", "without `role`"),
        ("{object: /a, context: {type: 'a:b'}}", "`type` as an SELinux type"),
        ("{object: /a, context: {type: t, range: 's1-s0'}}", "not above"),
        ("{object: /a, context: t}", "`context` as a mapping"),
    ] {
        let found = errors_in(&format!("permissions:\n  - {entry}\n"));
        assert_eq!(found.len(), 1, "{entry}: {found:?}");
        assert!(found[0].contains(part) && found[0].starts_with("appspec.yml:4:"), "{entry}: {found:?}");
    }
}

#[test]
fn what_is_ignored_is_said() {
    assert_eq!(
        warnings(
            "file: []
files:
  - {source: a, destination: /a, destnation: /b}
permissions:
  - {object: /a, onwer: x}
hooks:
  AfterInstal: [{location: a}]
  Install: [{location: a}]
  DownloadBundle: [{location: a}]
  After-Install: [{location: a}]
  Custom: [{location: a, environment: {A: b}, args: [x], run_as: y}]
x: 1
"
        ),
        [
            "3:1: the unknown key `file` is ignored; did you mean `files`?",
            "5:34: the unknown key `destnation` is ignored; did you mean `destination`?",
            "7:5: this entry sets nothing: give it `owner`, `group`, `mode`, `acls` or `context`",
            "7:18: the unknown key `onwer` is ignored; did you mean `owner`?",
            "9:3: `AfterInstal` is taken for an event of your own; did you mean `AfterInstall`?",
            "10:3: `Install` takes no scripts, these never run: use `BeforeInstall` or `AfterInstall`",
            "11:3: `DownloadBundle` takes no scripts, these never run: use `BeforeInstall`",
            "12:3: `After-Install` cannot be the name of an event (1 to 64 letters and digits), its scripts never run; did you mean `AfterInstall`?",
            "13:58: the unknown key `run_as` is ignored; did you mean `runas`?",
            "14:1: the unknown key `x` is ignored",
        ]
    );
}

#[test]
fn errors_name_the_file_that_was_read() {
    let errors = parse(b"os: [", "conf/deploy.yaml").unwrap_err();
    assert!(errors.to_string().starts_with("conf/deploy.yaml:"), "{errors}");
    assert_eq!(errors.findings.iter().count(), 1);
}

#[test]
fn the_guides_examples_are_true() {
    let guide = include_str!("../../../docs/appspec.md");
    let example = guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let parsed = parsed(example);
    assert_eq!((parsed.spec.files.len(), parsed.spec.permissions.len(), parsed.spec.hooks.len()), (1, 2, 3));
    assert_eq!(parsed.warnings, []);
    let broken = example.replace("timeout: 60", "timeout: 0").replace("location: scripts/check.sh", "script: check.sh");
    for error in errors(&broken) {
        let message = error.split_once(" expected ").unwrap().1;
        assert!(guide.contains(message), "the guide lacks {message:?}");
    }
}
