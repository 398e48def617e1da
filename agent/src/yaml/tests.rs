use super::*;

fn root(text: &str) -> Node {
    parse(text.as_bytes(), Budget::FILE).unwrap_or_else(|findings| panic!("{}", findings.in_file("f")))
}

fn mistakes(text: impl AsRef<[u8]>) -> String {
    parse(text.as_ref(), Budget::FILE).expect_err("mistakes").in_file("f").to_string()
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
fn all_duplicates_are_found_at_once() {
    assert_eq!(
        mistakes("a: 1\nb:\n  x: 1\n  x: 2\n\"a\": 3\na: 4\n"),
        "f:4:3: expected each name once, found `x` again, first in line 3\n\
         f:5:1: expected each name once, found `a` again, first in line 1\n\
         f:6:1: expected each name once, found `a` again, first in line 1"
    );
}

#[test]
fn one_document_alone() {
    assert_eq!(mistakes("a: 1\n---\nb: 2\n"), "f:2:1: expected one document in the file, found a second one");
}

#[test]
fn tabs_are_named() {
    assert_eq!(mistakes("a:\n\t- b\n"), "f:2:1: expected spaces for indentation, found a tab");
    assert_eq!(mistakes("a:\n  b: 1\n\tc: 2\n"), "f:3:1: expected spaces for indentation, found a tab");
}

#[test]
fn syntax_errors_have_a_place_and_a_hint() {
    let message = mistakes("a: 1\nb: c: d\n");
    assert!(message.starts_with("f:2:5: expected YAML, found a mistake in its syntax"), "{message}");
    assert!(message.contains("second `: `"), "{message}");
    let message = mistakes("pattern: *.sh\n");
    assert!(message.starts_with("f:1:10: ") && message.contains("begins with `*` needs quotes"), "{message}");
    let message = mistakes("pattern: @x\n");
    assert!(message.starts_with("f:1:10: ") && message.contains("needs quotes"), "{message}");
    assert!(mistakes("a: [1, 2\n").starts_with("f:"));
    assert!(mistakes("a: \"x\n").starts_with("f:"));
}

#[test]
fn tags_of_other_programs_are_refused() {
    assert_eq!(
        mistakes("a: !ruby/object:Gem {}\nb: !x 1\n"),
        "f:1:4: expected a value without a tag, found `!ruby/object:Gem`\n\
         f:2:4: expected a value without a tag, found `!x`"
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
    assert!(parse(deepest.as_bytes(), Budget::FILE).is_ok());
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
        if let Err(findings) = parse(&bytes, Budget::FILE) {
            assert!(!findings.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
        }
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
