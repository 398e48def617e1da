#![allow(clippy::disallowed_methods, reason = "the tests make the files that are read")]

use std::fs;

use super::*;

fn given(directory: &tempfile::TempDir) -> Source {
    Source::Given(directory.path().join("agent.yml"))
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn fragments_lie_over_the_main_file_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "agent.yml", "max_revisions: 1\nverbose: true\nroot_dir: /a\n");
    write(&directory, "conf.d/20-b.yml", "max_revisions: 3\n");
    write(&directory, "conf.d/10-a.yml", "max_revisions: 2\nroot_dir: /b\n");
    write(&directory, "conf.d/30-c.yml.bak", "max_revisions: [\n");
    write(&directory, "conf.d/.40-d.yml", "max_revisions: [\n");
    write(&directory, "conf.d/50-e.yaml", "max_revisions: 50\n");
    write(&directory, "conf.d/sub.yml/x", "");
    let loaded = load(&given(&directory), &Environment::default()).unwrap();
    assert_eq!(loaded.settings.max_revisions.get(), 3);
    assert_eq!(loaded.settings.root_dir.as_path(), Path::new("/b"));
    assert!(*loaded.settings.verbose);
    let fragment = directory.path().join("conf.d/20-b.yml");
    assert_eq!(loaded.settings.max_revisions.origin().to_string(), format!("{}:1", fragment.display()));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.to_string().contains("50-e.yaml:1:1: this file is not read"), "{warning}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(&given(&directory), &Environment::default()).unwrap_err();
    assert!(matches!(&error, LoadError::Missing(path) if path.ends_with("agent.yml")), "{error}");
    assert!(error.to_string().contains("agent.yml") && error.to_string().contains("--config"));
    let error = load(&Source::Given(directory.path().to_owned()), &Environment::default()).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable(_)), "{error}");
    assert_eq!(Source::from(None), Source::Default);
}

#[test]
fn mistakes_of_all_files_come_at_once() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "agent.yml", "max_revisions: 0\n");
    write(&directory, "conf.d/a.yml", "root_dir: relative\n");
    let message = load(&given(&directory), &Environment::default()).unwrap_err().to_string();
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), 2, "{message}");
    assert!(lines[0].contains("agent.yml:1:16: expected `max_revisions` as a whole number from 1"), "{message}");
    assert!(lines[1].contains("conf.d/a.yml:1:11: expected `root_dir` as an absolute path"), "{message}");
}

#[test]
fn a_file_that_is_too_long_is_refused_before_it_is_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "agent.yml", &"#".repeat((1 << 20) + 100));
    assert!(matches!(load(&given(&directory), &Environment::default()), Err(LoadError::Unreadable(_))));
}

#[test]
fn the_on_premises_file_need_not_be_there_but_must_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("onpremises.yml");
    assert!(on_premises(&path).unwrap().is_none());
    write(&directory, "onpremises.yml", "region: eu-west-1\n");
    let error = on_premises(&path).unwrap_err().to_string();
    assert!(error.contains("onpremises.yml:1:1: expected either `iam_user_arn`"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(on_premises(&path), Err(OnPremisesError::Unreadable(_))));
}
