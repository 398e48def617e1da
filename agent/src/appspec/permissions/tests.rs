use super::*;

struct Entry(PermissionEntry);

impl Entry {
    fn on(object: &str) -> Self {
        Self(PermissionEntry {
            object: Destination::parse(object).unwrap(),
            pattern: Pattern::Everything,
            except: vec![],
            target: PermissionTarget::Both,
            owner: None,
            group: None,
            mode: None,
            acls: None,
            context: None,
            at: Position { line: 1, column: 1 },
        })
    }

    fn pattern(mut self, text: &str) -> Self {
        self.0.pattern = Pattern::parse(text);
        self
    }

    fn except(mut self, text: &str) -> Self {
        self.0.except.push(NamePattern::parse(text));
        self
    }

    fn target(mut self, target: PermissionTarget) -> Self {
        self.0.target = target;
        self
    }
}

/// The deployment installs /srv/app/{run.sh, README, bin/{run.sh, tool}} and /srv/application/x.
#[test]
fn what_an_entry_means() {
    use PathKind::{Directory, File};
    const INSTALLED: [(&str, PathKind); 8] = [
        ("/srv/app", Directory),
        ("/srv/app/run.sh", File),
        ("/srv/app/README", File),
        ("/srv/app/bin", Directory),
        ("/srv/app/bin/run.sh", File),
        ("/srv/app/bin/tool", File),
        ("/srv/application", Directory),
        ("/srv/application/x", File),
    ];
    let rows: [(&str, Entry, &[&str]); 12] = [
        (
            "a directory means all that is installed beneath it, never itself, never a name that only begins like it",
            Entry::on("/srv/app"),
            &["/srv/app/run.sh", "/srv/app/README", "/srv/app/bin", "/srv/app/bin/run.sh", "/srv/app/bin/tool"],
        ),
        (
            "type: [file]",
            Entry::on("/srv/app").target(PermissionTarget::Files),
            &["/srv/app/run.sh", "/srv/app/README", "/srv/app/bin/run.sh", "/srv/app/bin/tool"],
        ),
        ("type: [directory]", Entry::on("/srv/app").target(PermissionTarget::Directories), &["/srv/app/bin"]),
        ("any pattern but ** means direct children", Entry::on("/srv/app").pattern("*.sh"), &["/srv/app/run.sh"]),
        (
            "* is direct children too, directories among them",
            Entry::on("/srv/app").pattern("*"),
            &["/srv/app/run.sh", "/srv/app/README", "/srv/app/bin"],
        ),
        ("except takes away", Entry::on("/srv/app").pattern("*").except("*.sh").except("bin"), &["/srv/app/README"]),
        (
            "except means direct children too: what is deeper stays",
            Entry::on("/srv/app").except("*.sh"),
            &["/srv/app/README", "/srv/app/bin", "/srv/app/bin/run.sh", "/srv/app/bin/tool"],
        ),
        (
            "except ** means direct children alone, as with AWS's agent",
            Entry::on("/srv/app").except("**"),
            &["/srv/app/bin/run.sh", "/srv/app/bin/tool"],
        ),
        ("a file means itself", Entry::on("/srv/app/bin/run.sh"), &["/srv/app/bin/run.sh"]),
        (
            "a file means nothing where type is directories alone",
            Entry::on("/srv/app/bin/run.sh").target(PermissionTarget::Directories).pattern("*").except("x"),
            &[],
        ),
        ("what is not installed means nothing", Entry::on("/srv/other"), &[]),
        ("/ is a directory like any other", Entry::on("/").pattern("*"), &[]),
    ];
    for (rule, Entry(entry), expected) in rows {
        let meant: Vec<_> =
            INSTALLED.iter().filter(|(path, kind)| entry.applies_to(Path::new(path), *kind)).map(|row| row.0).collect();
        assert_eq!(meant, expected, "{rule}");
    }
}

#[test]
fn what_selects_children_is_refused_on_a_file() {
    let check = |entry: Entry| entry.0.check_file_object();
    assert_eq!(check(Entry::on("/f")), Ok(()));
    assert_eq!(check(Entry::on("/f").target(PermissionTarget::Files)), Ok(()));
    assert_eq!(check(Entry::on("/f").pattern("*")), Err(FileObjectError::Pattern));
    assert_eq!(check(Entry::on("/f").except("x")), Err(FileObjectError::Except));
    let mut entry = Entry::on("/f");
    entry.0.acls = Some(vec![AclEntry { default: true, who: AclWho::Mask, permissions: 7 }]);
    assert_eq!(check(entry), Err(FileObjectError::DefaultAcl));
}
