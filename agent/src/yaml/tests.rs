use super::*;

fn root(text: &str) -> Node {
    let Document { root, findings, oddities } = parse(text.as_bytes(), Budget::FILE);
    assert!(findings.is_empty() && oddities.is_empty(), "{} {oddities:?}", findings.in_file("f"));
    root.expect("a tree where there are no mistakes")
}

fn mistakes(text: impl AsRef<[u8]>) -> String {
    let findings = parse(text.as_ref(), Budget::FILE).findings;
    assert!(!findings.is_empty(), "no mistakes in {:?}", String::from_utf8_lossy(text.as_ref()));
    findings.in_file("f").to_string()
}

/// What the text is read as in spite of its mistakes.
fn meant(text: &str) -> Option<String> {
    parse(text.as_bytes(), Budget::FILE).root.as_ref().map(shape)
}

/// A compact form of a tree: quoted scalars in double quotes, plain ones as they are.
fn shape(node: &Node) -> String {
    match &node.value {
        Value::Scalar(Scalar { text, style: Style::Plain }) => text.clone(),
        Value::Scalar(Scalar { text, style: Style::Quoted }) => format!("{text:?}"),
        Value::Sequence(items) => format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(",")),
        Value::Mapping(entries) => {
            let entries: Vec<_> = entries.iter().map(|e| format!("{}={}", e.key, shape(&e.value))).collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

#[test]
fn scalars_stay_as_they_were_written() {
    let text = "a: 0644\nb: yes\nc: \"0644\"\nd: ~\ne:\nf: 1e3\ng: 'null'\nh: |\n  x\n  y\ni: !!str 5\nj: !!int 5\n";
    assert_eq!(shape(&root(text)), r#"{a=0644,b=yes,c="0644",d=~,e=,f=1e3,g="null",h="x\ny\n",i="5",j=5}"#);
}

#[test]
fn nothing_is_told_from_a_text() {
    let tree = root("[~, null, , '', 'null', x]".replace(", ,", ", Null,").as_str());
    let Value::Sequence(items) = tree.value else { panic!("a list") };
    assert_eq!(items.iter().map(Node::is_null).collect::<Vec<_>>(), [true, true, true, false, false, false]);
    assert!(root("").is_null());
    assert!(root("# only a comment\n").is_null());
    assert!(root("---\n").is_null());
}

#[test]
fn every_node_knows_its_place() {
    let tree = root("a: 1\nb:\n  - x\n  - c: \"ä\" # comment\n    d: y\n");
    let Value::Mapping(entries) = &tree.value else { panic!("a mapping") };
    let Value::Sequence(items) = &entries[1].value.value else { panic!("a list") };
    let Value::Mapping(inner) = &items[1].value else { panic!("a mapping") };
    let at = |line, column| Position { line, column };
    assert_eq!(tree.at, at(1, 1));
    assert_eq!((entries[0].at, entries[0].value.at), (at(1, 1), at(1, 4)));
    assert_eq!(items[0].at, at(3, 5));
    assert_eq!((inner[0].at, inner[0].value.at), (at(4, 5), at(4, 8)));
    assert_eq!((inner[1].at, inner[1].value.at), (at(5, 5), at(5, 8)));
}

#[test]
fn line_ends_and_byte_order_marks_do_not_count() {
    let unix = "a: 1\nb:\n  - x\n  - |\n    p\n    q\n";
    let expected = root(unix);
    assert_eq!(root(&unix.replace('\n', "\r\n")), expected);
    assert_eq!(root(&format!("\u{FEFF}{unix}")), expected);
    assert_eq!(root(&format!("---\n{unix}...\n")).value, expected.value.clone().shifted());
}

impl Value {
    /// The same tree one line further down.
    fn shifted(self) -> Self {
        let down = |at: Position| Position { line: at.line + 1, ..at };
        let node = |node: Node| Node { at: down(node.at), value: node.value.shifted() };
        match self {
            Self::Scalar(_) => self,
            Self::Sequence(items) => Self::Sequence(items.into_iter().map(node).collect()),
            Self::Mapping(entries) => Self::Mapping(
                entries.into_iter().map(|e| Entry { key: e.key, at: down(e.at), value: node(e.value) }).collect(),
            ),
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_placed() {
    assert_eq!(mistakes(b"a: 1\nb: caf\xE9\n"), "f:2:7: expected a text in UTF-8, found the byte 0xE9");
    assert_eq!(mistakes(b"\xFF\xFEa\0"), "f:1:1: expected a text in UTF-8, found UTF-16: save the file as UTF-8");
    assert_eq!(
        mistakes("a: 1\nb: 2\0\nc: [\n"),
        "f:2:5: expected a text without control characters, found the character U+0000"
    );
    assert_eq!(
        mistakes("ä: \u{1b}[0m"),
        "f:1:4: expected a text without control characters, found the character U+001B"
    );
}

#[test]
fn of_one_name_the_last_counts_and_each_time_is_known() {
    let document = parse(b"a: 1\nb:\n  x: 1\n  x: 2\n\"a\": 3\na: 4\n", Budget::FILE);
    assert_eq!(document.root.as_ref().map(shape).unwrap(), "{a=4,b={x=2}}");
    let mut report = Report::default();
    document.oddities.iter().for_each(|oddity| report.refuse(oddity));
    assert_eq!(
        report.findings.in_file("f").to_string(),
        "f:4:3: expected each name once, found `x` again, first in line 3\n\
         f:5:1: expected each name once, found `a` again, first in line 1\n\
         f:6:1: expected each name once, found `a` again, first in line 5"
    );
    document.oddities.iter().for_each(|oddity| report.tolerate(oddity));
    assert_eq!(report.warnings.len(), 3);
    assert!(report.warnings[0].message.contains("the one in line 3 is ignored"), "{:?}", report.warnings);
    let many = parse("x: 1\n".repeat(1000).as_bytes(), Budget::FILE);
    assert_eq!((many.oddities.len(), many.root.as_ref().map(shape).unwrap()), (100, "{x=1}".to_owned()));
}

#[test]
fn the_first_document_is_read() {
    let document = parse(b"a: 1\n---\nb: [\n", Budget::FILE);
    assert_eq!(document.root.as_ref().map(shape).unwrap(), "{a=1}");
    assert!(document.findings.is_empty(), "what is ignored has no mistakes");
    assert_eq!(document.oddities, [Oddity::SecondDocument { at: Position { line: 2, column: 1 } }]);
}

#[test]
fn tabs_are_named() {
    assert_eq!(mistakes("a:\n\t- b\n"), "f:2:1: expected spaces for indentation, found a tab");
    assert_eq!(mistakes("a:\n  b: 1\n\tc: 2\n"), "f:3:1: expected spaces for indentation, found a tab");
    assert_eq!(
        mistakes("a:\n\tb: 1\n  \tc: 2\nd:e\n"),
        "f:2:1: expected spaces for indentation, found a tab\n\
         f:3:3: expected spaces for indentation, found a tab\n\
         f:4:3: expected a space after the colon of `d`, found none"
    );
    assert_eq!(meant("a:\n\tb: 1\n"), None, "how deep a tab is nobody knows");
}

#[test]
fn a_tab_can_stand_before_a_value() {
    assert_eq!(shape(&root("os:\tlinux\na:\t - b\n".replace("a:\t - b", "a: {b:\tc}").as_str())), "{os=linux,a={b=c}}");
    assert_eq!(
        shape(&root("a:\t\"x\"\nb:\t[1]\nc:\t|\n  t\nd:\t# none\ne: f\t# why\n")),
        r#"{a="x",b=[1],c="t\n",d=,e=f}"#
    );
    for block in ["a:\t- b\n", "a:\tb: c\n"] {
        assert!(!parse(block.as_bytes(), Budget::FILE).findings.is_empty(), "{block:?} is a block behind a tab");
    }
}

/// What is said of a mistake, and what the text is read as without it.
#[test]
fn mistakes_in_the_syntax_are_placed_and_put_right() {
    for (text, said, read) in [
        (
            "v: 0.0\nh:\n  - l: a\n    runas:root\n  - l: b\n",
            "4:11: expected a space after the colon of `runas`, found none",
            "{v=0.0,h=[{l=a,runas=root},{l=b}]}",
        ),
        ("a: 1\nb:2", "2:3: expected a space after the colon of `b`, found none", "{a=1,b=2}"),
        (":a: 1\n:b:2\n", "2:4: expected a space after the colon of `:b`, found none", "{:a=1,:b=2}"),
        ("a:\u{a0}b\nc: d\n", "1:3: expected a space after the colon of `a`, found a no-break space", "{a=b,c=d}"),
        ("version 0.0\n\nos: linux\n", "1:8: expected a colon after `version`, found none", "{version=0.0,os=linux}"),
        ("os: linux\nversion 0.0\n", "2:8: expected a colon after `version`, found none", "{os=linux,version=0.0}"),
        ("hooks\n  A:\n    - l: a\n", "1:6: expected a colon after `hooks`, found none", "{hooks={A=[{l=a}]}}"),
        ("os = linux\nv: 1\n", "1:3: expected a colon after `os`, found `=`", "{os=linux,v=1}"),
        ("f:\n  - s: b\n  -s: a\n", "3:4: expected a space after the dash, found none", "{f=[{s=b},{s=a}]}"),
        (
            "f:\n    - s: a\n      d: b\n  - s: c\n    d: e\n",
            "4:3: expected this dash in column 5, below the one in line 2, found it in column 3",
            "{f=[{s=a,d=b},{s=c,d=e}]}",
        ),
        (
            "f:\n  - s: a\n  d: b\n",
            "3:3: expected `d` in column 5, below `s` in line 2, found it in column 3",
            "{f=[{s=a,d=b}]}",
        ),
        (
            "f:\n  - s: a\n     d: b\n",
            "3:6: expected `d` in column 5, below `s` in line 2, found it in column 6",
            "{f=[{s=a,d=b}]}",
        ),
        (
            "h:\n  A:\n    - l: x\n B:\n    - l: y\n",
            "4:2: expected `B` in column 3, below `A` in line 2, found it in column 2",
            "{h={A=[{l=x}],B=[{l=y}]}}",
        ),
        (
            " v: 1\no: 2\n",
            "1:2: expected `v` in column 1, as the keys that follow it, found it in column 2",
            "{v=1,o=2}",
        ),
        (
            "a: 1\nb: c: d # why\n",
            "2:4: expected quotes around a text that holds a colon and a space, found none",
            r#"{a=1,b="c: d"}"#,
        ),
        ("p: *.sh\n", "1:4: expected quotes around a text that begins with `*`, found none", r#"{p="*.sh"}"#),
        (
            "e:\n  - a\n  - *.sh # all\n",
            "3:5: expected quotes around a text that begins with `*`, found none",
            r#"{e=[a,"*.sh"]}"#,
        ),
        (
            "e: [a, *.sh, b]\n",
            "1:8: expected quotes around a text that begins with `*`, found none",
            r#"{e=[a,"*.sh",b]}"#,
        ),
        ("p: @x\n", "1:4: expected quotes around a text that begins with `@`, found none", r#"{p="@x"}"#),
        (
            "a: \"x\nb: y\nc: \"z\"\n",
            "1:4: expected a second double quote that ends this text, found none",
            r#"{a="x",b=y,c="z"}"#,
        ),
        ("a: 'x\nb: y\n", "1:4: expected a second single quote that ends this text, found none", r#"{a="x",b=y}"#),
    ] {
        assert_eq!(mistakes(text), format!("f:{said}"), "{text:?}");
        assert_eq!(meant(text).as_deref(), Some(read), "{text:?}");
        // Windows' line ends change nothing.
        assert_eq!(mistakes(text.replace('\n', "\r\n")), format!("f:{said}"), "{text:?}");
    }
}

#[test]
fn where_a_bracket_is_open_the_rest_is_not_guessed_at() {
    for (text, said) in [
        ("a: [1, 2\nb: c\n", "1:4: expected a `]` for this `[`, found none"),
        ("a: {b: c\nd: e\n", "1:4: expected a `}` for this `{`, found none"),
        ("a: [1, \"]\", {x: y}\nb: c\n", "1:4: expected a `]` for this `[`, found none"),
    ] {
        assert_eq!(mistakes(text), format!("f:{said}"), "{text:?}");
        assert_eq!(meant(text), None);
    }
}

#[test]
fn merge_conflicts_are_called_so_and_one_side_is_read() {
    let text = "v: 0.0\n<<<<<<< HEAD\nos: linux\n||||||| base\nos: unix\n=======\nos: windows\n>>>>>>> other\nx:y\n\
                <<<<<<< HEAD\n=======\nz: 1\n>>>>>>> other\n";
    let found = mistakes(text);
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 3, "{found}");
    assert!(lines[0].starts_with("f:2:1: expected a file without merge conflicts, found one: keep one"), "{found}");
    assert!(lines[1].starts_with("f:9:3: ") && lines[2].starts_with("f:10:1: "), "{found}");
    assert_eq!(meant(text).unwrap(), "{v=0.0,os=linux,x=y}");
    assert_eq!(shape(&root("a: |\n  <<<<<<< HEAD\n  =======\nb: 1\n")), r#"{a="<<<<<<< HEAD\n=======\n",b=1}"#);
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let text = "version 0.0\nos:linux\nfiles:\n  - source: /\n  destination: /srv\npermissions:\n  - object: /srv\n    \
                pattern: *.sh\n   owner: \"root\nhooks:\n  A:\n    - location: a: b\n      runas:root\n";
    let found = mistakes(text);
    let places: Vec<&str> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["f:1:8", "f:2:4", "f:5:3", "f:8:14", "f:9:4", "f:9:12", "f:12:17", "f:13:13"], "{found}");
    assert!(meant(text).unwrap().contains(r#"permissions=[{object=/srv,pattern="*.sh",owner="root"}]"#));
}

#[test]
fn what_is_not_understood_is_told_in_the_parsers_words() {
    let found = mistakes("a: ]\n");
    assert!(found.starts_with("f:1:4: expected YAML, found a mistake in its syntax ("), "{found}");
    let found = mistakes("a: b\nc: \"\\d\"\n");
    assert!(found.starts_with("f:2:4: expected YAML, found a mistake in its syntax (while parsing"), "{found}");
    assert_eq!(meant("a: b\nc: \"\\d\"\n"), None);
}

/// The secret of an on-premises file is in such lines.
#[test]
fn no_message_shows_a_value() {
    let secret = "hidden/Secret+1";
    for text in [
        "a: {}\nkey:{}\nb: c\n",
        "key {}\nb: c\n",
        "key: *{}\n",
        "key: \"{}\nb: c\n",
        "key: x: {}\n",
        "{}\nkey: x\n",
        "key: [{}\nb: c\n",
    ] {
        let text = text.replacen("{}", secret, 2);
        assert!(!mistakes(&text).contains("hidden"), "{}", mistakes(&text));
    }
    assert!(!mistakes("AKIAIOSFODNN7EXAMPLE x\nb: c\n").contains("AKIA"));
}

#[test]
fn tags_of_other_programs_are_ignored_and_rubys_refused() {
    let document = parse(b"a: !GetAtt b.c\nd: !x [1]\ne: !Ref 'f'\n", Budget::FILE);
    assert_eq!(document.root.as_ref().map(shape).unwrap(), r#"{a=b.c,d=[1],e="f"}"#);
    assert_eq!(document.oddities.len(), 3);
    assert!(matches!(&document.oddities[0], Oddity::Tag { tag, .. } if tag == "!GetAtt"), "{:?}", document.oddities);
    assert_eq!(
        mistakes("a: !ruby/object:Gem {}\nb: !!set {x}\n"),
        "f:1:4: expected a value without a tag, found `!ruby/object:Gem`\n\
         f:2:4: expected a value without a tag, found `tag:yaml.org,2002:!set`"
    );
    assert_eq!(shape(&root("a: !!seq [1]\nb: !!map {c: 2}\n")), "{a=[1],b={c=2}}");
}

#[test]
fn names_are_scalars() {
    assert_eq!(
        mistakes("? [a, b]\n: 1\n{c: d}: 2\n"),
        "f:1:3: expected a name before the colon, found a list\n\
         f:3:1: expected a name before the colon, found a mapping"
    );
}

#[test]
fn aliases_and_merges_are_expanded() {
    let text =
        "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nown: {<<: *b, y: 5}\nboth:\n  <<: [*m, *b]\n  w: 0\nsame: *b\n";
    assert_eq!(
        shape(&root(text)),
        "{base={x=1,y=2},more={y=3,z=4},own={y=5,x=1},both={w=0,y=3,z=4,x=1},same={x=1,y=2}}"
    );
    assert_eq!(
        mistakes("a: {<<: 1}\nb: {<<: [2]}\n"),
        "f:1:9: expected a mapping, or a list of mappings, after `<<`, found a single value\n\
         f:2:10: expected mappings in the list after `<<`, found a single value"
    );
    assert!(mistakes("a: &a [*a]\n").contains("an alias for a value that ends before it"));
}

#[test]
fn alias_bombs_are_refused() {
    let mut lists = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        lists += &format!("a{n}: &a{n} [{aliases}]\n");
    }
    assert!(mistakes(&lists).contains("aliases expanded, found more"));

    let long = "x".repeat(100_000);
    let texts = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 1000].join(", "));
    assert!(mistakes(&texts).contains("aliases expanded, found more"));

    let mut merges = "a0: &a0 {k: v}\n".to_owned();
    for n in 1..3000 {
        merges += &format!("a{n}: &a{n} {{<<: *a{}, k{n}: v}}\n", n - 1);
    }
    assert!(mistakes(&merges).contains("aliases expanded, found more"));
}

#[test]
fn nesting_is_capped_through_aliases_too() {
    for opening in ["- ", "[", "{a: ", "? ", "- - ", "[{a: "] {
        let message = mistakes(opening.repeat(10_000));
        assert!(message.contains("nested at most 32 deep"), "{opening}: {message}");
    }
    let mut aliases = "- &a0 [x]\n".to_owned();
    for n in 1..100 {
        aliases += &format!("- &a{n} [*a{}]\n", n - 1);
    }
    assert!(mistakes(&aliases).contains("nested at most 32 deep"));
    let deepest = format!("{}{}", "[".repeat(32), "]".repeat(32));
    assert!(parse(deepest.as_bytes(), Budget::FILE).findings.is_empty());
}

#[test]
fn sizes_are_capped() {
    assert!(mistakes(vec![b'#'; (1 << 20) + 1]).contains("a file of at most 1048576 bytes"));
    assert!(mistakes("- x\n".repeat(50_001)).contains("at most 50000 values"));
}

#[test]
fn findings_are_in_order_and_bounded() {
    let mut findings = Findings::default();
    for line in (1..=150).rev() {
        findings.add(Position { line, column: 1 }, "x", "y");
    }
    findings.add(Position { line: 150, column: 1 }, "x", "y");
    assert_eq!((findings.iter().count(), findings.dropped()), (100, 50));
    assert!(findings.iter().is_sorted_by_key(|finding| finding.at));
    assert!(findings.in_file("f").to_string().ends_with("f: and 50 more mistakes"));
}

#[test]
fn whatever_the_bytes_are_there_is_an_answer() {
    let seeds = [
        "version: 0.0\nos: linux\nfiles:\n  - source: /\n    destination: /tmp\nhooks:\n  X:\n    - {location: a, timeout: 5}\n",
        "a: &x [1, *x, \"\\u00e4\", 'b''c']\n? |2\n   t\n: >-\n  u\n\n  v\n<<: {k: !!int 1}\n%TAG ! a\n---\n...\n",
        "{a: [b, {c: d}], ? e : f, g}\n# end\n- \t x\n@ ` % & * ! | >\n",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..6000 {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..random.usize(1..6) {
            let index = random.usize(..bytes.len().max(1));
            if bytes.is_empty() {
                break;
            }
            match random.u8(..4) {
                0 => bytes[index] = random.u8(..),
                1 => bytes.insert(index, *random.choice(b"-:?[]{}#&*!|>'\"%@`, \n\t<~0").expect("a choice")),
                2 => drop(bytes.remove(index)),
                _ => bytes.truncate(index.max(1)),
            }
        }
        let document = parse(&bytes, Budget::FILE);
        assert!(document.root.is_some() || !document.findings.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn slips_are_guessed() {
    let known = ["source", "destination", "file_exists_behavior", "os"];
    assert_eq!(nearest("destnation", known), Some("destination"));
    assert_eq!(nearest("Source", known), Some("source"));
    assert_eq!(nearest("sources", known), Some("source"));
    assert_eq!(nearest("file-exists-behaviour", known), Some("file_exists_behavior"));
    assert_eq!(nearest("unrelated", known), None);
    assert_eq!(nearest("xy", known), None);
}
