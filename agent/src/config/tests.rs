use std::path::Path;
use std::time::Duration;

use super::*;
use crate::deployment::FileExistsBehavior;

fn layers(texts: &[&str]) -> Vec<Layer> {
    let layer =
        |(n, text): (usize, &&str)| Layer { file: format!("f{}", n + 1).into(), text: text.as_bytes().to_vec() };
    texts.iter().enumerate().map(layer).collect()
}

fn merged(texts: &[&str]) -> Loaded {
    merge(&layers(texts), &Environment::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn settings(text: &str) -> Settings {
    merged(&[text]).settings
}

fn warnings(text: &str) -> Vec<String> {
    merged(&[text]).warnings.iter().map(ToString::to_string).collect()
}

fn mistakes(texts: &[&str]) -> Vec<String> {
    let errors = merge(&layers(texts), &Environment::default()).expect_err("mistakes");
    errors.to_string().lines().map(str::to_owned).collect()
}

/// The file that AWS's packages install.
const PACKAGED: &str = "---
:log_aws_wire: false
:log_dir: '/var/log/aws/codedeploy-agent/'
:pid_dir: '/opt/codedeploy-agent/state/.pid/'
:program_name: codedeploy-agent
:root_dir: '/opt/codedeploy-agent/deployment-root'
:verbose: false
:wait_between_runs: 1
:proxy_uri:
:max_revisions: 5
";

#[test]
fn the_file_of_awss_packages_is_understood() {
    let loaded = merged(&[PACKAGED]);
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, [""; 0]);
    let settings = loaded.settings;
    assert_eq!(settings.pid_dir.as_deref(), Some(Path::new("/opt/codedeploy-agent/state/.pid")));
    assert_eq!(*merged(&["pid_dir: state/pids\n"]).settings.pid_dir, None, "it was never a reason not to start");
    assert_eq!(settings.log_dir.as_path(), Path::new("/var/log/aws/codedeploy-agent"));
    assert!(settings.log_dir.is_explicit(), "so files are written");
    assert_eq!(*settings.wait_between_runs, Some(Duration::from_secs(1)));
    assert_eq!(*settings.proxy_uri, None);
    assert_eq!(settings.proxy_uri.origin(), &Origin::Default, "a key without a value sets nothing");
    assert_eq!(settings.max_revisions.origin().to_string(), "f1:10");
}

#[test]
fn nothing_set_is_the_defaults() {
    for texts in [&[] as &[&str], &[""], &["# nothing\n"], &["---\n"]] {
        let loaded = merged(texts);
        assert_eq!(loaded.settings, Settings::defaults(Profile::Compatible));
        assert_eq!(loaded.warnings, []);
    }
    let settings = Settings::defaults(Profile::Compatible);
    assert_eq!(settings.http_read_timeout.as_secs(), 80);
    assert_eq!(settings.kill_agent_max_wait_time_seconds.as_secs(), 7200);
    assert_eq!((settings.max_revisions.get(), settings.max_parallel_groups.get()), (5, 4));
    assert!(!settings.log_dir.is_explicit());
}

#[test]
fn every_key_is_read_into_its_type() {
    let text = "
profile: compatible
root_dir: /srv//slipway/
log_dir: /srv/log
pid_dir: /srv/pids
program_name: agent
verbose: yes
log_format: json
log_aws_wire: on
enable_deployments_log: no
wait_between_runs: 0.25
wait_after_error: 5
http_read_timeout: '120'
kill_agent_max_wait_time_seconds: 86400
max_revisions: 3
retain_bytes: 20G
keep_bundles: true
metrics_file: /srv/slipway.prom
max_parallel_groups: 2
on_premises_config_file: /srv/o.yml
proxy_uri: http://user:hidden@proxy:3128
control_proxy_uri: https://control-proxy
s3_proxy_uri: http://10.0.0.1:8080/
no_proxy: [localhost, .internal]
ca_bundle: /srv/ca.pem
deploy_control_endpoint: https://localhost:8443
s3_endpoint_override: http://localhost:9000
github_endpoint_override: https://git.example.com/api/v3
use_fips_mode: true
enable_auth_policy: true
agent_version_header: OFFICIAL_1.8.1-1_deb
progress_updates: off
update_agent: packages
deployment_spec_ca_file: /srv/spec-ca.pem
allow_sha1_envelope: true
require_sha256: true
trusted_bundle_keys: /srv/key.pem
file_exists_behavior: overwrite
ownership: root
user: deploy
on_failure: restore
output_grace_seconds: 2
hook_directory: /srv
hook_profile: none
hook_pam: off
reject_symlinks_in_bundle: true
reject_path_traversal_in_bundle: true
reject_unsafe_permissions_in_bundle: true
reject_unconfined_selinux_in_bundle: true
follow_links: root
reject_symlink_permission_targets: true
restrict_agent_dir_permissions: true
restrict_log_dir_permissions: true
restrict_hook_env_to_allowlist: true
strip_loader_env_in_hooks: true
script_record: required
script_record_size: 1 MiB
archive_max_extraction_size: 512 MiB
archive_max_entries: 300000
disable_core_dumps: true
enable_archive_reuse: true
";
    let settings = settings(text);
    let from_file = |described: &&Described| matches!(described.origin, Origin::File { .. });
    let described = settings.describe();
    let set: Vec<_> = described.iter().filter(from_file).map(|d| d.key).collect();
    assert_eq!(set, KEYS, "every key of the table is in this test");
    assert_eq!(settings.root_dir.as_path(), Path::new("/srv/slipway"));
    assert_eq!(*settings.wait_between_runs, Some(Duration::from_millis(250)));
    assert_eq!(settings.http_read_timeout.as_secs(), 120);
    assert_eq!(*settings.retain_bytes, Some(20 << 30));
    assert_eq!(*settings.archive_max_extraction_size, Some(512 << 20));
    assert_eq!(settings.archive_max_entries.map(|entries| entries.get()), Some(300_000));
    assert_eq!(*settings.no_proxy, ["localhost", ".internal"]);
    assert_eq!(settings.proxy_uri.as_ref().unwrap().expose().password(), Some("hidden"));
    assert_eq!(settings.deploy_control_endpoint.as_ref().unwrap().as_str(), "https://localhost:8443/");
    assert_eq!(*settings.file_exists_behavior, Some(FileExistsBehavior::Overwrite));
    assert_eq!(*settings.trusted_bundle_keys, [Path::new("/srv/key.pem")]);
    assert_eq!(*settings.hook_profile, HookProfile::None);
    assert_eq!((*settings.ownership, *settings.on_failure), (Ownership::Root, OnFailure::Restore));
    assert_eq!((*settings.update_agent, *settings.progress_updates), (UpdateAgent::Packages, ProgressUpdates::Off));
    assert_eq!(settings.user.as_deref(), Some("deploy"));
}

#[test]
fn a_proxys_password_is_shown_nowhere() {
    let settings = settings("proxy_uri: http://user:hidden@proxy:3128\n");
    let proxy = settings.describe().into_iter().find(|d| d.key == "proxy_uri").unwrap();
    assert_eq!(proxy.value, "http://(credentials)@proxy:3128");
    assert!(!format!("{settings:?}").contains("hidden"));
    let messages = mistakes(&["proxy_uri: socks5://user:hidden@proxy\ns3_proxy_uri: [a]\n"]);
    assert_eq!(
        messages,
        [
            "f1:1:12: expected `proxy_uri` as an address such as http://proxy.example.com:3128, found a value that holds `@` (not shown)",
            "f1:2:15: expected `s3_proxy_uri` as an address such as http://proxy.example.com:3128, found a list",
        ]
    );
}

#[test]
fn bad_values_are_named_all_at_once() {
    assert_eq!(
        mistakes(&[
            "max_revisions: 0\nlog_dir: logs\nverbose: loud\n:wait_after_error: -1\n",
            "kill_agent_max_wait_time_seconds: 86401\nprofile: paranoid\nretain_bytes: 0\nroot_dir: /\n",
            "deploy_control_endpoint: localhost:8443\nfile_exists_behavior: KEEP\nhook_profile: profile\nno_proxy: {a: b}\n",
            "- a\n",
            "a: [\n",
        ]),
        [
            "f1:1:16: expected `max_revisions` as a whole number from 1 to 10000, found `0`",
            "f1:2:10: expected `log_dir` as an absolute path without `..`, of a directory that is the agent's own, found `logs`",
            "f1:3:10: expected `verbose` as true or false, found `loud`",
            "f1:4:20: expected `wait_after_error` as seconds from 0 to 86400, found `-1`",
            "f2:1:35: expected `kill_agent_max_wait_time_seconds` as seconds from 0 to 86400, found `86401`",
            "f2:2:10: expected `profile` as `compatible` or `strict`, found `paranoid`",
            "f2:3:15: expected `retain_bytes` as a number of bytes, at least 1, such as 5000000 or 20G, found `0`",
            "f2:4:11: expected `root_dir` as an absolute path without `..`, of a directory that is the agent's own, found `/`",
            "f3:1:26: expected `deploy_control_endpoint` as an address such as https://service.example.com:8443, without credentials, found `localhost:8443`",
            "f3:2:23: expected `file_exists_behavior` as `DISALLOW`, `OVERWRITE` or `RETAIN`, found `KEEP`",
            "f3:3:15: expected `hook_profile` as `none`, or the absolute path of a shell profile, found `profile`",
            "f3:4:11: expected `no_proxy` as names of hosts, separated by commas or as a list, found a mapping",
            "f4:1:1: expected a mapping of settings to values, found a list",
            "f5:1:4: expected a `]` for this `[`, found none",
        ]
    );
}

/// A mistake in one line hides neither those of others nor what has no effect.
#[test]
fn all_that_is_wrong_with_a_file_is_told_at_once() {
    assert_eq!(
        mistakes(&[
            ":root_dir:/srv/slipway\nmax_revisions: 0\nmax_revision: 3\nverbose: true\nverbose: false\n",
            "log_dir /srv/log\nchildren: 1\nprofile: paranoid\n",
        ]),
        [
            "f1:1:11: expected a space after the colon of `:root_dir`, found none",
            "f1:2:16: expected `max_revisions` as a whole number from 1 to 10000, found `0`",
            "f1:5:1: expected each name once, found `verbose` again, first in line 4",
            "f2:1:8: expected a colon after `log_dir`, found none",
            "f2:3:10: expected `profile` as `compatible` or `strict`, found `paranoid`",
            "f1:3:1: warning: the unknown setting `max_revision` is ignored; did you mean `max_revisions`?",
            "f2:2:1: warning: `children` has no effect: this agent is one process; remove it",
        ]
    );
}

#[test]
fn numbers_that_are_none_are_refused() {
    for bad in ["1e3", "inf", "nan", "+5", "5s", "''", "0x10", "99999999999999999999999", ".", "1.2.3"] {
        assert_eq!(mistakes(&[&format!("wait_after_error: {bad}\n")]).len(), 1, "{bad}");
    }
    for bad in ["5.0", "-1", "10001", "five", "18446744073709551617"] {
        assert_eq!(mistakes(&[&format!("max_revisions: {bad}\n")]).len(), 1, "{bad}");
    }
    for bad in ["K", "1X", "1 Gx", "-1G", "99999999999T", "1.5G", "1KK"] {
        assert_eq!(mistakes(&[&format!("retain_bytes: {bad}\n")]).len(), 1, "{bad}");
    }
    for (good, bytes) in [("1", 1), ("5000000", 5_000_000), ("1k", 1 << 10), ("2MB", 2 << 20), ("3GiB", 3 << 30)] {
        assert_eq!(*settings(&format!("retain_bytes: {good}\n")).retain_bytes, Some(bytes), "{good}");
    }
}

#[test]
fn unknown_keys_are_warned_of_with_the_nearest_known_one() {
    assert_eq!(
        warnings("max_revision: 3\n:proxy_url: x\nhttp_read_timeot: 5\nsomething: 1\n"),
        [
            "f1:1:1: the unknown setting `max_revision` is ignored; did you mean `max_revisions`?",
            "f1:2:1: the unknown setting `proxy_url` is ignored; did you mean `proxy_uri`?",
            "f1:3:1: the unknown setting `http_read_timeot` is ignored; did you mean `http_read_timeout`?",
            "f1:4:1: the unknown setting `something` is ignored",
        ]
    );
}

#[test]
fn a_setting_is_there_once_in_a_file() {
    assert_eq!(
        mistakes(&["verbose: true\n:verbose: false\n"]),
        [
            "f1:2:1: expected each setting once, with or without its leading colon, found `:verbose` again, first in line 1"
        ]
    );
}

#[test]
fn strict_turns_every_hardening_on_and_single_keys_override_it() {
    let hardenings = |settings: &Settings| {
        let on = |d: &Described| d.origin == Origin::StrictProfile;
        settings.describe().into_iter().filter(on).map(|d| (d.key, d.value)).collect::<Vec<_>>()
    };
    let strict = settings("profile: strict\n");
    let all = hardenings(&strict);
    assert_eq!(all.len(), 15);
    for (key, value) in &all {
        let expected = match *key {
            "ownership" | "follow_links" => "root",
            "script_record" => "required",
            "archive_max_extraction_size" => "10737418240",
            _ => "true",
        };
        assert_eq!(value, expected, "{key}");
    }
    assert_eq!(hardenings(&settings("profile: compatible\n")), []);

    let text = "reject_symlinks_in_bundle: false\nprofile: strict\nignore_ownership_in_bundle: false\n";
    let some = settings(text);
    assert!(!*some.reject_symlinks_in_bundle);
    assert_eq!(*some.ownership, Ownership::Preserve);
    assert_eq!(hardenings(&some).len(), 13);

    let layered = merged(&["profile: strict\n", "profile: compatible\n"]).settings;
    assert_eq!(hardenings(&layered), [], "the last profile counts");
}

#[test]
fn ownership_has_two_names() {
    assert_eq!(*settings("ignore_ownership_in_bundle: true\n").ownership, Ownership::Root);
    assert_eq!(settings("ignore_ownership_in_bundle: true\n").ownership.origin().to_string(), "f1:1");
    assert_eq!(*settings("ownership: root\nignore_ownership_in_bundle: true\n").ownership, Ownership::Root);
    assert_eq!(
        mistakes(&["ownership: preserve\nignore_ownership_in_bundle: true\n"]),
        [
            "f1:2:1: expected `ignore_ownership_in_bundle`, another name of `ownership`, to say the same, found `ownership: preserve` in line 1"
        ]
    );
    let layered = merged(&["ownership: root\n", "ignore_ownership_in_bundle: false\n"]).settings;
    assert_eq!(*layered.ownership, Ownership::Preserve);
    assert_eq!(mistakes(&["ignore_ownership_in_bundle: maybe\n"]).len(), 1);
}

#[test]
fn what_has_no_effect_is_said() {
    assert_eq!(
        warnings("children: 1\ndisable_imds_v1: false\nretain_bytes: 1G\nupdate_agent: packages\nlog_aws_wire: true\n"),
        [
            "f1:1:1: `children` has no effect: this agent is one process; remove it",
            "f1:2:1: `disable_imds_v1` is always on: only IMDSv2 is used",
        ],
    );
    for none in ["disable_imds_v1: true\n", "verbose: true\nprofile: strict\n"] {
        assert_eq!(warnings(none), [""; 0], "{none}");
    }
}

#[test]
fn the_environment_gives_what_no_file_sets() {
    let environment = Environment::capture(|name| match name {
        "https_proxy" => Some("http://u:hidden@env-proxy:1".to_owned()),
        "NO_PROXY" => Some("a, .b,".to_owned()),
        "SSL_CERT_FILE" => Some("/etc/roots.pem".to_owned()),
        "HTTPS_PROXY" => Some(" ".to_owned()),
        _ => None,
    });
    assert!(!format!("{environment:?}").contains("hidden"));
    let settings = merge(&[], &environment).unwrap().settings;
    assert_eq!(settings.proxy_uri.as_ref().unwrap().to_string(), "http://(credentials)@env-proxy:1");
    assert_eq!(settings.proxy_uri.origin(), &Origin::Environment("https_proxy"));
    assert_eq!(*settings.no_proxy, ["a", ".b"]);
    assert_eq!(settings.ssl_cert_file.as_deref(), Some(Path::new("/etc/roots.pem")));
    let shown = settings.describe().into_iter().find(|d| d.key == "SSL_CERT_FILE").unwrap();
    assert_eq!(shown.origin.to_string(), "environment SSL_CERT_FILE");

    let file = layers(&["proxy_uri: http://file-proxy\nno_proxy: []\n"]);
    let settings = merge(&file, &environment).unwrap().settings;
    assert_eq!(settings.proxy_uri.as_ref().unwrap().to_string(), "http://file-proxy");
    assert!(settings.no_proxy.is_empty());

    let bad = Environment::capture(|name| (name == "SSL_CERT_FILE").then(|| "roots.pem".to_owned()));
    assert_eq!(
        merge(&[], &bad).unwrap_err().to_string(),
        "environment variable SSL_CERT_FILE: expected the absolute path of a PEM file; change or unset it"
    );
}

#[test]
fn the_guide_names_every_key() {
    let guide = include_str!("../../../docs/configuration.md");
    for key in KEYS.iter().chain(&["ignore_ownership_in_bundle", "disable_imds_v1", "SSL_CERT_FILE"]) {
        assert!(guide.contains(&format!("`{key}`")), "docs/configuration.md lacks `{key}`");
    }
    for described in Settings::defaults(Profile::Compatible).describe() {
        let row = guide.lines().any(|line| line.starts_with(&format!("| `{}` |", described.key)));
        assert!(row, "{} has no row", described.key);
    }
}

#[test]
fn strict_refuses_plain_http_and_specifications_by_any_signer() {
    let found = mistakes(&[
        "deploy_control_endpoint: http://deploy.example.com\ns3_endpoint_override: http://10.0.0.1:9000\n",
        "# hardened\nprofile: strict\n",
    ]);
    let expected = [
        "f1:1: deploy_control_endpoint is http://deploy.example.com/: with plain HTTP",
        "f1:1: deployment_spec_ca_file is not set, and deploy_control_endpoint is http://deploy.example.com/",
        "f1:2: s3_endpoint_override is http://10.0.0.1:9000/: with plain HTTP",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (line, expected) in found.iter().zip(expected) {
        assert!(line.starts_with(expected) && line.contains("profile: strict (f2:2) refuses"), "{line}");
    }
    for fine in [
        "profile: strict\n",
        "profile: strict\ndeploy_control_endpoint: https://codedeploy-commands.eu-west-1.amazonaws.com\n",
        "profile: strict\ndeploy_control_endpoint: https://own.example.com\ndeployment_spec_ca_file: /ca.pem\n",
        "profile: strict\ns3_endpoint_override: http://127.0.0.1:9000\nproxy_uri: http://proxy.example.com:3128\n",
    ] {
        assert_eq!(merged(&[fine]).exposures, [], "{fine}");
    }
    assert_eq!(merged(&["github_endpoint_override: http://git.example.com\n"]).exposures.len(), 1, "it is said");
}
