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
    assert_eq!(permission.pattern, Pattern::parse("*.sh"));
    assert_eq!(permission.except, [NamePattern::parse("skip.sh")]);
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
            "appspec.yml:18:20: expected the scripts of `ValidateService` as a list, each beginning with `- location:`, found `check.sh`",
            "appspec.yml:19:23: expected `file_exists_behavior` as DISALLOW, OVERWRITE or RETAIN, found `REPLACE`",
            "appspec.yml:17:13: warning: `sudo` is taken for yes where it is `maybe`: write true or false",
        ]
    );
}

/// Unknown keys too, and what an entry names beside its mistakes.
#[test]
fn what_is_ignored_is_told_beside_the_mistakes() {
    let text = "version 0.0
os: linux
fils:
permissions:
  - object: /srv/app
    mode: rwx
hooks:
  AfterInstal:
    - location: a.sh
      runas:root
  BeforeInstall:
    - location: b.sh
      timeout: soon
      run_as: app
";
    assert_eq!(
        errors(text),
        [
            "appspec.yml:1:8: expected a colon after `version`, found none",
            "appspec.yml:6:11: expected `mode` as one to four octal digits, such as 0644, found `rwx`",
            "appspec.yml:10:13: expected a space after the colon of `runas`, found none",
            "appspec.yml:13:16: expected `timeout` as whole seconds from 1 to 2147483647, found `soon`",
            "appspec.yml:3:1: warning: the unknown key `fils` is ignored; did you mean `files`?",
            "appspec.yml:8:3: warning: `AfterInstal` is none of the events of a deployment, so its scripts do not run; did you mean `AfterInstall`?",
            "appspec.yml:14:7: warning: the unknown key `run_as` is ignored; did you mean `runas`?",
        ]
    );
    let examined = examine(text.as_bytes());
    let scripts: Vec<String> =
        examined.spec.unwrap().hooks.into_values().flatten().map(|script| script.location.to_string()).collect();
    assert_eq!(scripts, ["a.sh", "b.sh"], "a script is known whatever is wrong with its other keys");
    let examined = examine(b"version: 0.0\nos: linux\nfiles:\n  - {source: a, destination: b}\n  - {source: c}\n");
    let sources: Vec<String> = examined.lone_sources.iter().map(|(source, _)| source.to_string()).collect();
    assert_eq!(sources, ["a", "c"]);
}

/// What deploys with AWS's agent deploys here, with a warning.
#[test]
fn what_other_agents_take_is_taken() {
    for (section, part) in [
        ("hooks: {A: [{location: a, timeout: 5m}]}", "`timeout: 5m` is taken for 5 seconds"),
        ("hooks: {A: [{location: a, timeout: 1.5}]}", "`timeout: 1.5` is taken for 1 seconds"),
        ("hooks: {A: [{location: a, timeout: 99999999999999999999}]}", "is taken for 2147483647 seconds"),
        ("hooks: {A: [{location: a, sudo: maybe}]}", "`sudo` is taken for yes where it is `maybe`"),
        ("permissions: [{object: /a, mode: 644, type: []}]", "`type` is an empty list, so this entry means nothing"),
        (
            "permissions: [{object: /a, mode: 644, pattern: 'log?'}]",
            "the pattern `log?` is taken literally: `?` stands for itself",
        ),
        ("permissions: [{object: /a, mode: 644, pattern: '[ab]'}]", "`[` and `]` stand for themselves"),
        (
            "permissions: [{object: /a, mode: 644, except: ['a/b']}]",
            "the pattern `a/b` holds a `/`, so it means nothing",
        ),
        ("permissions: [{object: /a, mode: 644, except: ['**']}]", "is for direct children alone"),
        ("permissions: [{object: /a, mode: 644, pattern: ''}]", "is empty, so it means nothing"),
        ("files:\nfiles: []", "`files` is here again: this one counts, and the one in line 3 is ignored"),
        ("hooks: !Sub {}", "the tag `!Sub` is ignored"),
        ("hooks: {}\n---\nfiles: 1", "a second document begins here"),
    ] {
        let found = warnings(&format!("{section}\n"));
        assert_eq!(found.len(), 1, "{section}: {found:?}");
        assert!(found[0].contains(part), "{section}: {found:?}");
    }
    let twice = spec_of("hooks:\n  AfterInstall: [{location: a}]\n  AfterInstall: [{location: b}, {location: c}]\n");
    assert_eq!(twice.hooks.values().flatten().count(), 2, "the last one counts");
    assert_eq!(spec_of("permissions: [{object: /a, mode: 644, type: []}]").permissions, []);
}

/// A key in the wrong place is told where it belongs.
#[test]
fn keys_of_other_places_are_sent_there() {
    for (section, expected) in [
        (
            "files:\n  - {source: a, destination: /a, overwrite: true}\n",
            vec![
                "4:34: the unknown key `overwrite` is ignored: to replace files that exist already, write `file_exists_behavior: OVERWRITE` at the top level of the AppSpec",
            ],
        ),
        (
            "files:\n  - {source: a, destination: /a, mode: 644}\n",
            vec![
                "4:34: the unknown key `mode` is ignored: it belongs in an entry of `permissions`, below its `- object:`",
            ],
        ),
        (
            "hooks:\nAfterInstall:\n- location: a\nrunas: root\nAfterInstal:\nrunas: app\n",
            vec![
                "4:1: the unknown key `AfterInstall` is ignored: as an event it belongs below `hooks`, indented: its scripts never run here",
                "7:1: the unknown key `AfterInstal` is ignored; did you mean the event `AfterInstall`? It belongs below `hooks`, indented",
                "8:1: `runas` is here again: this one counts, and the one in line 6 is ignored; join them",
                "8:1: the unknown key `runas` is ignored: it belongs in a script of an event below `hooks`, in the column of its `location`",
            ],
        ),
        (
            "permissions:\n  - {object: /a, mode: 644, destination: /b}\n",
            vec![
                "4:29: the unknown key `destination` is ignored: it belongs in an entry of `files`, below its `- source:`",
            ],
        ),
        (
            "hooks:\n  A:\n    - {location: a, file_exists_behavior: RETAIN, runas:root}\n",
            vec![
                "5:21: the unknown key `file_exists_behavior` is ignored: it belongs at the top level of the AppSpec",
                "5:51: the unknown key `runas:root` is ignored: write a space after the colon, `runas: root`",
            ],
        ),
    ] {
        assert_eq!(warnings(section), expected, "{section}");
    }
    assert_eq!(
        errors_in("hooks:\n  permissions:\n    - object: /a\n  location: a\n"),
        [
            "appspec.yml:4:3: expected the name of an event, found `permissions`, which belongs at the top level: take its indentation away",
            "appspec.yml:6:3: expected the name of an event, found `location`, which belongs in a script of an event, in the column of its `location`, which begins with a dash",
        ]
    );
    assert_eq!(
        errors_in("hooks:\n  AfterInstall:\n    - location:a.sh\n"),
        [
            "appspec.yml:5:7: expected a script: a mapping with `location`, found `location:a.sh`: a space is missing after `location:`"
        ]
    );
}

#[test]
fn an_entry_with_a_wrong_value_is_not_said_to_set_nothing() {
    let found =
        errors_in("permissions:\n  - {object: /a, mode: rwx}\n  - {object: /b, context: {}}\n  - {object: /c}\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[2].starts_with("appspec.yml:6:5: warning: this entry sets nothing"), "{found:?}");
}

#[test]
fn an_appspec_for_lambda_is_called_so_whatever_else_is_in_it() {
    let text = "version 0.0\nResources:\n  - fn:\n      Type: AWS::Lambda::Function\n      Properties:\n        \
                Version: !GetAtt fn.Version\n        Version: 2\nextra: 1\n";
    assert_eq!(
        errors(text),
        [
            "appspec.yml:2:1: expected an AppSpec for EC2 or on-premises hosts, found `Resources`: this file is for AWS Lambda"
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
        let spec = spec_of(&format!("hooks: {{AfterInstall: [{{location: a, timeout: {text}}}]}}"));
        assert_eq!(spec.hooks.values().next().unwrap()[0].timeout, Duration::from_secs(seconds));
    }
    for text in ["0", "-1", "0.5", "m", "0x10", "[1]", "5_0", "5:0"] {
        assert_eq!(
            errors_in(&format!("hooks: {{AfterInstall: [{{location: a, timeout: {text}}}]}}")).len(),
            1,
            "{text}"
        );
    }
}

#[test]
fn locations_and_sources_stay_inside() {
    for text in ["../a", "a/../../b", "/..", "/", ".", "''", "\"a\\0b\"", "~", "[a]"] {
        assert_eq!(errors_in(&format!("hooks: {{AfterInstall: [{{location: {text}}}]}}")).len(), 1, "{text}");
    }
    assert_eq!(spec_of("files: [{source: ., destination: /a}]").files[0].source, RelativePath::default());
}

#[test]
fn mistakes_in_permissions() {
    for (entry, part) in [
        ("{mode: 644}", "found no `object`"),
        ("{object: /a, pattern: [a]}", "`pattern` as `**` or a pattern for names, found a list"),
        ("{object: /a, except: '*.log'}", "`except` as a list of patterns"),
        ("{object: /a, except: [{a: b}]}", "in `except` a pattern for names, found a mapping"),
        ("{object: /a, type: file}", "`type` as a list"),
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
        let found: Vec<String> = errors_in(&format!("permissions:\n  - {entry}\n"));
        let found: Vec<String> = found.into_iter().filter(|line| !line.contains(": warning: ")).collect();
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
    let broken = errors(&broken);
    let mistakes: Vec<&str> = broken.iter().filter_map(|error| Some(error.split_once(" expected ")?.1)).collect();
    assert_eq!(mistakes.len(), 2, "{broken:?}");
    for message in mistakes {
        assert!(guide.contains(message), "the guide lacks {message:?}");
    }
}

#[test]
fn a_timeout_is_decimal_with_leading_zeros_too() {
    let script = |timeout: &str| {
        parsed(&format!(
            "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - {{location: a, timeout: {timeout}}}\n"
        ))
    };
    for (text, seconds) in [("100", 100), ("0100", 100), ("\"0100\"", 100)] {
        let parsed = script(text);
        let timeout = parsed.spec.hooks.values().flatten().next().unwrap().timeout;
        assert_eq!(timeout.as_secs(), seconds, "{text}");
    }
}
