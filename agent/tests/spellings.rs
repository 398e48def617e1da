//! Spellings of one AppSpec, beside readers of YAML that have nothing in common with ours: libyaml in Ruby's Psych,
//! by which AWS's agent reads, and in Python. What they take, the agent takes, and reads the same in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot check must fail")]
#![allow(clippy::disallowed_methods, reason = "starts the other readers")]

use std::io::Write;
use std::process::{Command, Stdio};

use fastrand::Rng;
use serde_json::{Value as Json, json};
use slipway_agent::appspec;
use slipway_agent::yaml::{self, Budget, Node, Value};

const SPELLINGS: usize = 3000;

/// Both answer a list of trees, in which every scalar is the text that it stands for; null for what they refuse.
const READERS: [(&str, &str, &str); 2] = [
    (
        "ruby",
        "-e",
        "require 'psych'; require 'json'
def tree(node)
  case node
  when Psych::Nodes::Scalar then node.value
  when Psych::Nodes::Sequence then node.children.map { |child| tree(child) }
  when Psych::Nodes::Mapping then node.children.each_slice(2).to_h { |key, value| [key.value, tree(value)] }
  end
end
answers = JSON.parse(STDIN.read(nil, encoding: 'UTF-8')).map do |text|
  begin
    tree(Psych.parse(text).root)
  rescue Psych::SyntaxError
    nil
  end
end
puts JSON.generate(answers)",
    ),
    (
        "python3",
        "-c",
        "import json, sys, yaml
def tree(text):
    try:
        return yaml.load(text, Loader=yaml.CBaseLoader)
    except yaml.YAMLError:
        return None
json.dump([tree(text) for text in json.load(sys.stdin)], sys.stdout)",
    ),
];

enum Tree {
    Text(&'static str),
    List(Vec<Tree>),
    Map(Vec<(&'static str, Tree)>),
}
use Tree::{List, Map, Text};

fn appspec_tree() -> Tree {
    let file = |source, destination| Map(vec![("source", Text(source)), ("destination", Text(destination))]);
    let permission = Map(vec![
        ("object", Text("/srv/app")),
        ("pattern", Text("my file")),
        ("except", List(vec![Text("skip.sh"), Text("*.log")])),
        ("mode", Text("0644")),
        ("type", List(vec![Text("file")])),
    ]);
    let script = |location| Map(vec![("location", Text(location)), ("timeout", Text("300")), ("runas", Text("app"))]);
    Map(vec![
        ("version", Text("0.0")),
        ("os", Text("linux")),
        ("files", List(vec![file("/", "/srv/app"), file("conf", "/etc/app")])),
        ("permissions", List(vec![permission])),
        (
            "hooks",
            Map(vec![
                ("BeforeInstall", List(vec![script("scripts/stop.sh"), Map(vec![("location", Text("a.sh"))])])),
                ("AfterInstall", List(vec![script("run")])),
            ]),
        ),
    ])
}

/// Writes a tree in one of its spellings. Some are no YAML: the readers say which.
struct Writer {
    random: Rng,
    out: String,
    line_end: &'static str,
    /// Whether all separations are of blanks alone, as most people have them.
    plain: bool,
}

impl Writer {
    fn chance(&mut self, one_in: usize) -> bool {
        self.random.usize(..one_in) == 0
    }

    fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.random.usize(..choices.len())]
    }

    fn document(&mut self, tree: &Tree) {
        if self.chance(12) {
            self.out.push('\u{FEFF}');
        }
        let start =
            self.one_of(&["", "", "", "---\n", "--- # start\n", "%YAML 1.1\n---\n", "# comment\n\n---\n", "\n\n"]);
        self.out.push_str(start);
        if self.chance(15) {
            self.flow(tree);
            self.out.push('\n');
        } else {
            let column = if self.chance(10) { 2 } else { 0 };
            self.block(tree, column, false);
        }
        let end = self.one_of(&["", "", "", "...\n", "# end\n", "\n\n", "   \n"]);
        self.out.push_str(end);
        if self.chance(10) {
            self.out.truncate(self.out.trim_end_matches('\n').len());
        }
        self.out = self.out.replace('\n', self.line_end);
    }

    fn separation(&mut self) -> &'static str {
        if self.plain { self.one_of(&[" ", " ", "  "]) } else { self.one_of(&[" ", "   ", "\t", "\t\t", " \t", "\t "]) }
    }

    /// What can be behind a value, to the line's end.
    fn tail(&mut self) {
        let tail = if self.plain {
            self.one_of(&["", "", "", " ", " # why"])
        } else {
            self.one_of(&["", " ", "\t", " # why", "\t# why", "  \t # why: not"])
        };
        self.out.push_str(tail);
        self.out.push('\n');
        let between = self.one_of(&["", "", "", "", "", "\n", "  \n", "# whole line\n", "        # deep\n"]);
        self.out.push_str(between);
    }

    fn key(&mut self, key: &str) {
        let quote = self.one_of(&["", "", "", "\"", "'"]);
        let before = if self.chance(12) { " " } else { "" };
        self.out.push_str(&format!("{quote}{key}{quote}{before}:"));
    }

    /// Children in lines of their own, from a column on; the first where the writer is, if it is there already.
    fn block(&mut self, tree: &Tree, column: usize, mut is_there: bool) {
        let indent = " ".repeat(column);
        let mut begin = |writer: &mut Self| {
            if !std::mem::take(&mut is_there) {
                writer.out.push_str(&indent);
            }
        };
        match tree {
            Text(_) => {
                begin(self);
                self.scalar(tree, column);
            }
            List(items) => {
                for item in items {
                    begin(self);
                    self.out.push('-');
                    self.item(item, column);
                }
            }
            Map(entries) => {
                for (key, value) in entries {
                    begin(self);
                    if self.chance(40) {
                        self.out.push_str(&format!("? {key}\n{indent}:"));
                    } else {
                        self.key(key);
                    }
                    self.value(value, column);
                }
            }
        }
    }

    fn item(&mut self, item: &Tree, column: usize) {
        if self.chance(8) && !matches!(item, Text(_)) {
            self.tail();
            let deeper = column + 1 + self.random.usize(..4);
            return self.block(item, deeper, false);
        }
        let blanks = 1 + if self.chance(4) { self.random.usize(..4) } else { 0 };
        match item {
            Map(_) | List(_) if !self.chance(6) => {
                self.out.push_str(&" ".repeat(blanks));
                self.block(item, column + 1 + blanks, true);
            }
            _ => self.value(item, column),
        }
    }

    fn value(&mut self, value: &Tree, column: usize) {
        let separation = self.separation();
        let mark = if self.chance(25) {
            let anchor = self.random.u32(..);
            format!(
                "{separation}{}",
                [format!("&a{anchor}"), "!!str".to_owned()][usize::from(matches!(value, Text(_)))]
            )
        } else {
            String::new()
        };
        match value {
            Text(_) => {
                self.out.push_str(&mark);
                let separation = self.separation();
                self.out.push_str(separation);
                if self.chance(20) {
                    self.out.push_str(&format!("\n{}", " ".repeat(column + 3)));
                }
                self.scalar(value, column);
            }
            _ if self.chance(5) => {
                self.out.push_str(&mark);
                let separation = self.separation();
                self.out.push_str(separation);
                self.flow(value);
                self.tail();
            }
            _ => {
                self.out.push_str(&mark);
                self.tail();
                // Dashes can stand below the key that they belong to.
                let least = usize::from(!matches!(value, List(_)));
                let deeper = column + least + self.random.usize(..4);
                self.block(value, deeper, false);
            }
        }
    }

    fn scalar(&mut self, tree: &Tree, column: usize) {
        let Text(text) = tree else { panic!("a scalar") };
        let deeper = " ".repeat(column + 2);
        match self.random.usize(..12) {
            0 => self.out.push_str(&format!("|-\n{deeper}{text}")),
            1 => self.out.push_str(&format!(">-\n{deeper}{}", text.replace(' ', &format!("\n{deeper}")))),
            2 if !text.starts_with('*') => self.out.push_str(&text.replace(' ', &format!("\n{deeper}"))),
            _ => {
                self.word(text);
                return self.tail();
            }
        }
        self.out.push('\n');
    }

    fn word(&mut self, text: &str) {
        let word = match self.random.usize(..5) {
            0 => format!("'{text}'"),
            1 => format!("\"{text}\""),
            2 => format!("\"{}\"", text.replace('/', "\\x2F").replace('a', "\\u0061")),
            _ if text.starts_with('*') => format!("\"{text}\""),
            _ => text.to_owned(),
        };
        self.out.push_str(&word);
    }

    fn flow(&mut self, tree: &Tree) {
        let (open, close) = match tree {
            Text(text) => return self.word(text),
            List(_) => ('[', ']'),
            Map(_) => ('{', '}'),
        };
        self.out.push(open);
        let length = match tree {
            List(items) => items.len(),
            Map(entries) => entries.len(),
            Text(_) => 0,
        };
        for n in 0..length {
            self.gap();
            match tree {
                List(items) => self.flow(&items[n]),
                Map(entries) => {
                    self.key(entries[n].0);
                    let separation = self.separation();
                    self.out.push_str(separation);
                    self.flow(&entries[n].1);
                }
                Text(_) => {}
            }
            self.gap();
            if n + 1 < length || self.chance(6) {
                self.out.push(',');
            }
        }
        self.gap();
        self.out.push(close);
    }

    fn gap(&mut self) {
        let gap = if self.plain {
            self.one_of(&["", " "])
        } else {
            self.one_of(&["", " ", "\t", "\n          ", " # c\n          "])
        };
        self.out.push_str(gap);
    }
}

fn spellings() -> Vec<String> {
    let tree = appspec_tree();
    (0..SPELLINGS)
        .map(|n| {
            let mut random = Rng::with_seed(n as u64);
            let line_end = if random.usize(..5) == 0 { "\r\n" } else { "\n" };
            let mut writer = Writer { plain: random.bool(), random, out: String::new(), line_end };
            writer.document(&tree);
            writer.out
        })
        .collect()
}

fn ours(text: &str) -> Option<Json> {
    fn json_of(node: &Node) -> Json {
        match &node.value {
            Value::Scalar(scalar) => json!(scalar.text),
            Value::Sequence(items) => items.iter().map(json_of).collect(),
            Value::Mapping(entries) => {
                let members: serde_json::Map<_, _> =
                    entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect();
                members.into()
            }
        }
    }
    let document = yaml::parse(text.as_bytes(), Budget::FILE);
    document.root.filter(|_| document.findings.is_empty()).as_ref().map(json_of)
}

/// Nothing where the reader, or its YAML, is not on this machine.
fn answers((program, option, script): (&str, &str, &str), texts: &[String]) -> Option<Vec<Option<Json>>> {
    let mut reader = Command::new(program)
        .args([option, script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let question = serde_json::to_vec(texts).unwrap();
    // One without its YAML ends before it has read this.
    let _ = reader.stdin.take().unwrap().write_all(&question);
    let output = reader.wait_with_output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn what_other_readers_take_is_read_the_same() {
    let texts = spellings();
    let ours: Vec<Option<Json>> = texts.iter().map(|text| ours(text)).collect();
    let mut asked = 0;
    for reader in READERS {
        let Some(theirs) = answers(reader, &texts) else { continue };
        asked += 1;
        let taken = theirs.iter().flatten().count();
        assert!(taken > SPELLINGS / 2, "{} takes {taken} of {SPELLINGS}: most should be YAML", reader.0);
        let tabs = theirs.iter().zip(&texts).filter(|(tree, text)| tree.is_some() && text.contains(":\t")).count();
        assert!(tabs > SPELLINGS / 10, "{} takes {tabs} with a tab behind a colon", reader.0);
        let wrong: Vec<usize> = (0..SPELLINGS).filter(|n| theirs[*n].is_some() && theirs[*n] != ours[*n]).collect();
        if let Some(first) = wrong.first() {
            let findings = yaml::parse(texts[*first].as_bytes(), Budget::FILE).findings;
            panic!(
                "{} of {taken} that {} takes are read in another way; the first:\n{}\n{}\n{:?}",
                wrong.len(),
                reader.0,
                texts[*first],
                findings.in_file("it"),
                ours[*first]
            );
        }
        for (text, _) in texts.iter().zip(&theirs).filter(|(_, tree)| tree.is_some()) {
            let parsed =
                appspec::parse(text.as_bytes(), "appspec.yml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            assert_eq!((parsed.spec.files.len(), parsed.spec.permissions.len(), parsed.spec.hooks.len()), (2, 1, 2));
            assert!(parsed.warnings.is_empty(), "{:?}\n{text}", parsed.warnings);
        }
    }
    if asked == 0 {
        let _ = std::io::stderr()
            .write_all(b"skipped: there is no other reader of YAML; `tests/prepare test` installs one\n");
    }
}
