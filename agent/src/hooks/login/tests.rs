#![allow(clippy::disallowed_methods, reason = "the tests arrange a host's files")]

use super::*;
use crate::process::{Bound, Resource};

/// A host with these files.
fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

fn account(name: &str) -> Account {
    Account::find(name).unwrap().unwrap()
}

fn limits(lines: &str, user: &str) -> Vec<ResourceLimit> {
    let stack = "session required pam_limits.so\n";
    let root = host(&[("etc/pam.d/su", stack), ("etc/security/limits.conf", lines)]);
    Login::at(root.path(), &account(user)).limits
}

fn limit(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> ResourceLimit {
    ResourceLimit { resource, soft: soft.map(Bound::At), hard: hard.map(Bound::At) }
}

#[test]
fn a_closer_line_counts_and_of_equal_ones_the_later() {
    let lines = "* soft nofile 1\nnobody soft nofile 2 # closer\n@nogroup soft nofile 3\n* - nofile 4\nnobody hard nofile 5\n\
                 nobody hard nofile 6\nother - nofile 7\n";
    assert_eq!(limits(lines, "nobody"), [limit(Resource::Nofile, Some(2), Some(6))]);
    let uid = account("nobody").uid;
    for domain in [format!(":{uid}"), format!("{uid}:"), format!("1:{uid}"), format!("@:{}", account("nobody").gid)] {
        assert_eq!(limits(&format!("{domain} soft nproc 9\n"), "nobody"), [limit(Resource::Nproc, Some(9), None)]);
    }
    for domain in [":1".to_owned(), "1:2".to_owned(), "@root".to_owned(), "%nogroup".to_owned(), "%".to_owned()] {
        assert_eq!(limits(&format!("{domain} soft nproc 9\n"), "nobody"), [], "{domain}");
    }
}

#[test]
fn values_are_turned_into_the_kernels_units() {
    for (line, expected) in [
        ("core 1", limit(Resource::Core, Some(1024), Some(1024))),
        ("cpu 2", limit(Resource::Cpu, Some(120), Some(120))),
        ("NICE -10", limit(Resource::Nice, Some(30), Some(30))),
        ("nproc 5", limit(Resource::Nproc, Some(5), Some(5))),
    ] {
        assert_eq!(limits(&format!("nobody - {line}\n"), "nobody"), [expected]);
    }
    for word in ["unlimited", "infinity", "-1"] {
        let bound = Some(Bound::Unlimited);
        let expected = ResourceLimit { resource: Resource::Memlock, soft: bound, hard: bound };
        assert_eq!(limits(&format!("nobody - memlock {word}\n"), "nobody"), [expected]);
    }
    for line in
        ["nobody - nofile many", "nobody both nofile 1", "nobody - files 1", "nobody - nofile", "nobody -1 nofile 1"]
    {
        assert_eq!(limits(line, "nobody"), [], "{line}");
    }
}

#[test]
fn a_user_can_be_left_without_limits() {
    assert_eq!(limits("* - nofile 1\nnobody -\n", "nobody"), []);
    assert_eq!(limits("* - nofile 1\nother -\n* -\n", "nobody"), [limit(Resource::Nofile, Some(1), Some(1))]);
}

#[test]
fn lines_for_all_count_for_root_but_on_debian() {
    let files = [
        ("etc/pam.d/su", "session required pam_limits.so\n"),
        ("etc/security/limits.conf", "* - nofile 1\n@root - nproc 1\n"),
        ("etc/debian_version", "12\n"),
    ];
    assert_eq!(Login::at(host(&files).path(), &account("root")).limits, []);
    assert_eq!(Login::at(host(&files[..2]).path(), &account("root")).limits.len(), 2);
    assert_eq!(limits("root - nofile 1\n", "root").len(), 1);
}

#[test]
fn files_of_the_directory_come_after_in_the_order_of_their_names_unless_the_module_names_one() {
    let files = [
        ("etc/pam.d/su", "session required pam_limits.so\n"),
        ("etc/security/limits.conf", "nobody soft nofile 1\n"),
        ("etc/security/limits.d/20.conf", "nobody soft nofile 20\n"),
        ("etc/security/limits.d/9.conf", "nobody soft nofile 9\nnobody - priority 3\n"),
        ("etc/security/limits.d/99.other", "nobody soft nofile 99\n"),
        ("etc/own.conf", "nobody soft nofile 7\n"),
    ];
    let login = Login::at(host(&files).path(), &account("nobody"));
    assert_eq!((login.limits, login.priority), (vec![limit(Resource::Nofile, Some(9), None)], Some(3)));
    let named = [&[("etc/pam.d/su", "session required pam_limits.so conf=/etc/own.conf\n")], &files[1..]].concat();
    let login = Login::at(host(&named).path(), &account("nobody"));
    assert_eq!(login.limits, [limit(Resource::Nofile, Some(7), None)]);
}

#[test]
fn what_the_hosts_stack_lacks_is_not_given() {
    let given = [
        ("etc/security/limits.conf", "nobody soft nofile 1\n"),
        ("etc/environment", "A=1\n"),
        ("etc/login.defs", "UMASK 027\n"),
    ];
    assert_eq!(Login::at(host(&given).path(), &account("nobody")), Login::default());
    let stacks = [
        "auth required pam_env.so\n#session required pam_limits.so\nsession required pam_unix.so\n",
        "session include ../su\nsession include missing\nsession\n@include su\n",
    ];
    for stack in stacks {
        let files = [&[("etc/pam.d/su", stack)], &given[..]].concat();
        assert_eq!(Login::at(host(&files).path(), &account("nobody")), Login::default(), "{stack}");
    }
}

#[test]
fn services_are_read_with_what_they_include() {
    let files = [
        (
            "etc/pam.d/su",
            "-session\tsubstack system \nsession [success=1 default=ignore] pam_env.so readenv=1 \\\n envfile=/e\n@include common\n",
        ),
        ("usr/lib/pam.d/system", "session required /lib/security/pam_limits.so\n"),
        ("etc/pam.d/common", "session optional pam_umask.so umask=027 # closed\n"),
        ("etc/security/limits.conf", "nobody soft nofile 1\n"),
        ("e", "A=1\n"),
    ];
    let login = Login::at(host(&files).path(), &account("nobody"));
    assert_eq!((login.limits.len(), login.umask), (1, Some(0o027)));
    assert_eq!(login.environment.0.into_iter().collect::<Vec<_>>(), [("A".to_owned(), "1".to_owned())]);
}

/// The lines and what Debian's pam_env 1.5.2 makes of them.
#[test]
fn variables_are_read_as_pam_env_reads_them() {
    let text = "A=1\n  export B=\"two words\"\nC='single'\nD=un quoted \nE=a\"b\"c\nF=\nG=\"x\nJ=\"q\" tail\nK-L=1\nM=a#b\n\
                N=\"a\"b\"\nH=$HOME\n# O=1\nnonsense\nPATH=/x:/bin\n";
    let root = host(&[("etc/pam.d/su", "session required pam_env.so\n"), ("etc/environment", text)]);
    let environment = Login::at(root.path(), &account("nobody")).environment.0;
    let expected = [
        ("A", "1"),
        ("B", "two words"),
        ("C", "single"),
        ("D", "un quoted "),
        ("E", "a\"b\"c"),
        ("F", ""),
        ("G", "x"),
        ("H", "$HOME"),
        ("J", "q\" tail"),
        ("M", "a"),
        ("N", "a\"b"),
        ("PATH", "/x:/bin"),
    ];
    let found: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
    let off = host(&[("etc/pam.d/su", "session required pam_env.so readenv=0\n"), ("etc/environment", text)]);
    assert_eq!(Login::at(off.path(), &account("nobody")), Login::default());
}

#[test]
fn a_user_with_a_group_of_its_own_shares_what_it_makes_with_it() {
    let mut own = account("nobody");
    // No group of this name is the user's own.
    own.name = "no-such-user".to_owned();
    let defs = ("etc/login.defs", "#UMASK 077\nUMASK\t\t022\nUSERGROUPS_ENAB yes\n");
    let root = host(&[("etc/pam.d/su", "session optional pam_umask.so\n"), defs]);
    assert_eq!(Login::at(root.path(), &own).umask, Some(0o022));
    own.name = own.group_name().unwrap();
    assert_eq!(Login::at(root.path(), &own).umask, Some(0o002));
    let apart = host(&[("etc/pam.d/su", "session optional pam_umask.so nousergroups\n"), defs]);
    assert_eq!(Login::at(apart.path(), &own).umask, Some(0o022));
    let given = host(&[("etc/pam.d/su", "session optional pam_umask.so umask=0077\n"), defs]);
    assert_eq!(Login::at(given.path(), &own).umask, Some(0o077));
}
