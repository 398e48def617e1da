use super::*;

fn spec(revision: &str) -> DeploymentSpec {
    let text = format!(
        r#"{{"DeploymentId":"d-1","DeploymentGroupId":"g-1","DeploymentGroupName":"group","ApplicationName":"app",
            "Revision":{revision}}}"#
    );
    DeploymentSpec::from_json(text.as_bytes()).unwrap()
}

const S3: &str =
    r#"{"RevisionType":"S3","S3Revision":{"Bucket":"b","Key":"k/v.zip","BundleType":"zip","ETag":"\"e\""}}"#;
const GITHUB: &str =
    r#"{"RevisionType":"GitHub","GitHubRevision":{"Account":"a","Repository":"r","CommitId":"c0ffee"}}"#;

fn script() -> Script {
    Script {
        location: crate::deployment::RelativePath::parse("scripts/x.sh").unwrap(),
        written: "scripts/x.sh".to_owned(),
        timeout: std::time::Duration::from_secs(1),
        runas: None,
        sudo: crate::appspec::hooks::Sudo::No,
        extensions: crate::appspec::extensions::Extensions::default(),
        at: crate::appspec::Position { line: 1, column: 1 },
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment(variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

fn program_for(spec: &DeploymentSpec, user: Become, base: Environment) -> Program {
    let event = EventName::parse("AfterInstall").unwrap();
    let (script, revision) = (script(), Revision::at("/root/g/d/deployment-archive"));
    program(Subject { spec, event: &event, script: &script, revision: &revision }, user, base, Path::new("/h/0"))
}

#[test]
fn a_script_is_told_its_deployment() {
    let program = program_for(&spec(S3), Become::Nobody, Environment::default());
    let expected = environment(&[
        ("LIFECYCLE_EVENT", "AfterInstall"),
        ("DEPLOYMENT_ID", "d-1"),
        ("APPLICATION_NAME", "app"),
        ("DEPLOYMENT_GROUP_NAME", "group"),
        ("DEPLOYMENT_GROUP_ID", "g-1"),
        ("BUNDLE_BUCKET", "b"),
        ("BUNDLE_KEY", "k/v.zip"),
        ("BUNDLE_ETAG", "e"),
        ("PATH", DEFAULT_PATH),
        (MARK, "/h/0"),
    ]);
    assert_eq!(program.environment.0, expected.0);
    assert_eq!(program.path, Path::new("/root/g/d/deployment-archive/scripts/x.sh"));
    let github = program_for(&spec(GITHUB), Become::Nobody, Environment::default());
    assert_eq!(github.environment.0["BUNDLE_COMMIT"], "c0ffee");
    assert!(!github.environment.0.contains_key("BUNDLE_BUCKET"));
}

#[test]
fn credentials_and_other_deployments_never_shine_through() {
    let own = environment(&[
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_SESSION_TOKEN", "x"),
        ("AWS_ACCESS_KEY", "x"),
        ("AWS_SECRET_KEY", "x"),
        ("AWS_HOST_IDENTIFIER", "keep"),
        ("NOTIFY_SOCKET", "x"),
        ("BUNDLE_COMMIT", "x"),
        ("SLIPWAY_HOOK", "x"),
        ("LD_PRELOAD", "keep"),
        ("AWS_REGION", "keep"),
        ("LC_ALL", "keep"),
        ("PATH", "keep"),
    ]);
    let names = |inherit| inherited(&own, inherit).0.into_keys().collect::<Vec<_>>();
    assert_eq!(names(Inherit::All), ["AWS_HOST_IDENTIFIER", "AWS_REGION", "LC_ALL", "LD_PRELOAD", "PATH"]);
    assert_eq!(names(Inherit::AllButLoader), ["AWS_HOST_IDENTIFIER", "AWS_REGION", "LC_ALL", "PATH"]);
    assert_eq!(names(Inherit::AllowList), ["LC_ALL", "PATH"]);
}

#[test]
fn home_and_names_follow_the_user() {
    let account = Account {
        name: "deploy".into(),
        uid: 1,
        gid: 2,
        groups: vec![2, 3],
        home: "/home/deploy".into(),
        shell: "/usr/sbin/nologin".into(),
    };
    let base = environment(&[("HOME", "/root"), ("USER", "root"), ("KEPT", "yes")]);
    let program = program_for(&spec(S3), Become::Account(account.clone(), Box::default()), base);
    let value = |name: &str| program.environment.0[name].as_str();
    assert_eq!([value("HOME"), value("USER"), value("LOGNAME")], ["/home/deploy", "deploy", "deploy"]);
    assert_eq!([value("SHELL"), value("KEPT")], ["/usr/sbin/nologin", "yes"]);
    assert_eq!(program.account, Some(account));
}

#[test]
fn sudo_never_asks_for_a_password() {
    let script = "/root/g/d/deployment-archive/scripts/x.sh";
    let program = program_for(&spec(S3), Become::Sudo(Some("deploy".into())), Environment::default());
    assert_eq!(program.path, Path::new("sudo"));
    assert_eq!(program.args, ["-n", "-u", "deploy", "--", script]);
}

#[test]
fn values_of_the_environment_are_not_printed() {
    let program = program_for(&spec(S3), Become::Nobody, environment(&[("DB_PASSWORD", "hunter2")]));
    let printed = format!("{program:?}");
    assert!(printed.contains("DB_PASSWORD") && !printed.contains("hunter2"));
}

#[test]
fn what_a_login_gives_comes_before_the_base_and_after_the_appspec() {
    let account = Account::own().unwrap().unwrap();
    let limits = vec![crate::process::ResourceLimit {
        resource: crate::process::Resource::Nofile,
        soft: Some(crate::process::Bound::At(9)),
        hard: None,
    }];
    let given = environment(&[("PATH", "/login"), ("OWN", "login"), ("ADDED", "login"), ("DEPLOYMENT_ID", "login")]);
    let login = Login { environment: given, limits: limits.clone(), priority: Some(1), umask: Some(0o77) };
    let mut script = script();
    script.extensions.environment.insert("OWN".to_owned(), "appspec".to_owned());
    let (spec, event) = (spec(S3), EventName::parse("AfterInstall").unwrap());
    let revision = Revision::at("/r");
    let subject = Subject { spec: &spec, event: &event, script: &script, revision: &revision };
    let base = environment(&[("PATH", "/base")]);
    let program = program(subject, Become::Account(account, Box::new(login)), base, Path::new("/h/0"));
    let value = |name: &str| program.environment.0[name].as_str();
    assert_eq!(
        [value("PATH"), value("OWN"), value("ADDED"), value("DEPLOYMENT_ID")],
        ["/login", "appspec", "login", "d-1"]
    );
    assert_eq!((program.limits, program.priority, program.umask), (limits, Some(1), Some(0o77)));
}

#[test]
fn the_agents_own_user_is_named_where_nothing_else_names_one() {
    let own = Account::own().unwrap().unwrap();
    let mut named = environment(&[("HOME", "/elsewhere")]);
    name_own_user(&mut named);
    assert_eq!((named.0["HOME"].as_str(), named.0["USER"].as_str()), ("/elsewhere", own.name.as_str()));
    assert_eq!(
        (named.0["SHELL"].as_str(), named.0["LOGNAME"].as_str()),
        (own.shell.to_str().unwrap(), own.name.as_str())
    );
}
