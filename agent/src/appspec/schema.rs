//! The JSON Schema of AppSpec files, for editors; made from what the reader goes by.
//!
//! An editor is stricter than a deployment: it marks names that are ignored.

use serde_json::{Map, Value, json};

use super::{files, hooks, permissions};
use crate::deployment::FileExistsBehavior;
use crate::lifecycle::HOOK_EVENTS;

/// The schema, as draft 7, which editors know best.
pub fn schema() -> Value {
    let mut schema = object(&super::KEYS, &["version", "os"], section);
    let described = [
        ("$schema", json!("http://json-schema.org/draft-07/schema#")),
        ("title", json!("AppSpec for EC2 and on-premises hosts")),
        ("description", json!("What a deployment installs on a host and which scripts it runs there.")),
        ("definitions", json!({ "scripts": scripts() })),
    ];
    if let Some(members) = schema.as_object_mut() {
        members.extend(described.map(|(name, value)| (name.to_owned(), value)));
    }
    schema
}

/// An object of these keys and no others.
fn object(keys: &[&str], required: &[&str], property: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), property(key))).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let Some(members) = object.as_object_mut().filter(|_| !required.is_empty()) {
        members.insert("required".to_owned(), json!(required));
    }
    object
}

fn section(key: &str) -> Value {
    match key {
        "version" => json!({
            "description": "The format's version: 0.0.",
            "enum": [0.0, "0.0"],
        }),
        "os" => json!({ "description": "The hosts' operating system.", "enum": ["linux"] }),
        "files" => list("What goes where.", object(&files::KEYS, &files::KEYS, file)),
        "file_exists_behavior" => json!({
            "description": "What happens to files that exist already and that no earlier revision installed; goes \
                            before the deployment's own value.",
            "enum": behaviors(),
        }),
        "permissions" => {
            list("Owners, modes and labels of what is installed.", object(&permissions::KEYS, &["object"], permission))
        }
        "hooks" => hooks_section(),
        _ => json!(true),
    }
}

fn file(key: &str) -> Value {
    match key {
        "source" => text("A file or directory of the revision; / is all of it. Of a directory the content is copied."),
        "destination" => json!({
            "description": "The directory that it is copied into.",
            "type": "string",
            "pattern": "^/",
        }),
        _ => json!(true),
    }
}

fn permission(key: &str) -> Value {
    match key {
        "object" => json!({
            "description": "A file that is installed, or a directory beneath which files are.",
            "type": "string",
            "pattern": "^/",
        }),
        "pattern" => json!({
            "description": "Which paths beneath a directory are meant: ** for all at any depth, any other pattern for \
                            the names of direct children, where * alone is special.",
            "type": "string",
            "default": "**",
            "pattern": "^[^/]+$",
        }),
        "except" => list("Patterns of what is not meant.", json!({ "type": "string", "pattern": "^[^/]+$" })),
        "type" => json!({
            "description": "Which kinds are meant; both by default.",
            "type": "array",
            "minItems": 1,
            "items": { "enum": ["file", "directory"] },
        }),
        "owner" => account("A user's name or number."),
        "group" => account("A group's name or number."),
        "mode" => json!({
            "description": "One to four octal digits.",
            "anyOf": [
                { "type": "string", "pattern": "^(0o)?[0-7]{1,4}$" },
                { "type": "integer", "minimum": 0, "maximum": 7777 },
            ],
        }),
        "acls" => list(
            "Access control entries: [default:]user|group|mask|other:[name]:permissions.",
            json!({ "type": "string", "pattern": ":" }),
        ),
        "context" => {
            let mut context = object(&permissions::CONTEXT_KEYS, &["type"], label);
            context["description"] = json!("An SELinux context.");
            context
        }
        _ => json!(true),
    }
}

fn label(key: &str) -> Value {
    match key {
        "name" => text("The SELinux user."),
        "type" => text("The SELinux type."),
        "range" => json!({
            "description": "Sensitivities and categories.",
            "type": "string",
            "pattern": "^s[0-9]+(-s[0-9]+)?(:c[0-9]+(\\.c[0-9]+)?(,c[0-9]+(\\.c[0-9]+)?)*)?$",
        }),
        _ => json!(true),
    }
}

fn hooks_section() -> Value {
    let scripts = json!({ "$ref": "#/definitions/scripts" });
    let events: Map<String, Value> = HOOK_EVENTS.iter().map(|event| ((*event).to_owned(), scripts.clone())).collect();
    json!({
        "description": "Which scripts run at which event.",
        "type": ["object", "null"],
        "properties": events,
        "additionalProperties": false,
    })
}

fn scripts() -> Value {
    list("Scripts, in the order in which they run.", object(&hooks::KEYS, &["location"], script))
}

fn script(key: &str) -> Value {
    match key {
        "location" => text("The script, relative to the revision."),
        "timeout" => json!({
            "description": "Seconds after which the script is ended and has failed.",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": hooks::LONGEST_TIMEOUT },
                { "type": "string", "pattern": "^[0-9]+$" },
            ],
            "default": hooks::DEFAULT_TIMEOUT.as_secs(),
        }),
        "runas" => account("The user that the script runs as."),
        "sudo" => json!({
            "description": "Whether the script runs by sudo; changes nothing where the agent is root.",
            "enum": [true, false, "true", "false", "yes", "no", "on", "off"],
        }),
        "environment" => json!({
            "description": "Variables for the script. Other agents ignore this.",
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        }),
        "args" => list(
            "Arguments of the script. Other agents ignore this.",
            json!({ "type": ["string", "number", "boolean"] }),
        ),
        "memory_max" => json!({
            "description": "The most memory that the script may use. Other agents ignore this.",
            "type": ["string", "integer"],
        }),
        "cpu_quota" => json!({
            "description": "The most processor time that the script may use. Other agents ignore this.",
            "type": ["string", "integer"],
        }),
        _ => json!(true),
    }
}

fn list(description: &str, items: Value) -> Value {
    json!({ "description": description, "type": ["array", "null"], "items": items })
}

fn text(description: &str) -> Value {
    json!({ "description": description, "type": "string", "minLength": 1 })
}

fn account(description: &str) -> Value {
    json!({ "description": description, "type": ["string", "integer"] })
}

fn behaviors() -> Vec<String> {
    [FileExistsBehavior::Disallow, FileExistsBehavior::Overwrite, FileExistsBehavior::Retain]
        .iter()
        .map(FileExistsBehavior::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{self, Budget, Node};

    #[test]
    fn the_guides_copy_is_this_one() {
        let made = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
        assert!(
            include_str!("../../../docs/appspec.schema.json") == made,
            "docs/appspec.schema.json is out of date: run `slipway-agent validate --print-schema` for a new one"
        );
    }

    /// A node as an editor reads it, in YAML 1.2.
    fn json_of(node: &Node) -> Value {
        match &node.value {
            yaml::Value::Scalar(scalar) if scalar.is_null() => Value::Null,
            yaml::Value::Scalar(scalar) if scalar.style == yaml::Style::Quoted => json!(scalar.text),
            yaml::Value::Scalar(scalar) => match scalar.text.trim_start_matches('0') {
                "" => json!(0),
                _ => serde_json::from_str(&scalar.text)
                    .or_else(|_| scalar.text.parse::<i64>().map(|number| json!(number)))
                    .unwrap_or_else(|_| json!(scalar.text)),
            },
            yaml::Value::Sequence(items) => items.iter().map(json_of).collect(),
            yaml::Value::Mapping(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect::<Map<_, _>>().into()
            }
        }
    }

    /// Why a value does not fit, by the words of the schema that are in use here; patterns are not looked at.
    fn misfit(schema: &Value, value: &Value, at: &str) -> Option<String> {
        let is = |name: &str| match name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("the type {other}"),
        };
        for (word, rule) in schema.as_object().unwrap_or_else(|| panic!("{at} has no description")) {
            let fits = match word.as_str() {
                "type" => match rule {
                    Value::String(name) => is(name),
                    names => names.as_array().unwrap().iter().any(|name| is(name.as_str().unwrap())),
                },
                "enum" => rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|allowed| allowed == value || (allowed.is_f64() && allowed.as_f64() == value.as_f64())),
                "anyOf" => rule.as_array().unwrap().iter().any(|one| misfit(one, value, at).is_none()),
                "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
                "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().unwrap()),
                "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
                "minItems" => value.as_array().is_none_or(|items| !items.is_empty()),
                "required" => value.as_object().is_none_or(|object| {
                    rule.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))
                }),
                "items" => {
                    let mut items = value.as_array().into_iter().flatten().enumerate();
                    match items.find_map(|(n, item)| misfit(rule, item, &format!("{at}[{n}]"))) {
                        Some(why) => return Some(why),
                        None => true,
                    }
                }
                "additionalProperties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        let rule = schema.get("properties").and_then(|known| known.get(name)).unwrap_or(rule);
                        if *rule == json!(false) {
                            return Some(format!("{at}.{name} is unknown"));
                        }
                        if let Some(why) = misfit(rule, member, &format!("{at}.{name}")) {
                            return Some(why);
                        }
                    }
                    true
                }
                "$ref" => {
                    assert_eq!(rule, "#/definitions/scripts");
                    match misfit(&scripts(), value, at) {
                        Some(why) => return Some(why),
                        None => true,
                    }
                }
                "definitions" | "properties" | "pattern" | "description" | "title" | "default" | "$schema" => true,
                other => panic!("the word {other}"),
            };
            if !fits {
                return Some(format!("{at} breaks {word}: {value}"));
            }
        }
        None
    }

    fn verdict(text: &str) -> Option<String> {
        misfit(&schema(), &json_of(&yaml::parse(text.as_bytes(), Budget::FILE).root.unwrap()), "$")
    }

    const WHOLE: &str = r#"
version: 0.0
os: linux
files:
  - {source: /, destination: /srv/app}
file_exists_behavior: OVERWRITE
permissions:
  - object: /srv/app
    pattern: "*.sh"
    except: [skip.sh]
    owner: app
    group: 1000
    mode: 0755
    acls: ["u:web:rx"]
    context: {name: system_u, type: httpd_sys_content_t, range: "s0-s1:c0.c3"}
    type: [file, directory]
hooks:
  ApplicationStop:
  BeforeInstall:
    - {location: scripts/stop.sh, timeout: 300, runas: app, sudo: yes}
    - {location: x, environment: {A: b, N: 1}, args: [x, 2], memory_max: 1G, cpu_quota: 50}
"#;

    #[test]
    fn what_the_reader_takes_fits() {
        let read = crate::appspec::parse(WHOLE.as_bytes(), "appspec.yml").unwrap();
        assert!(read.warnings.iter().all(|warning| warning.message.contains("no effect")), "{:?}", read.warnings);
        let guide = include_str!("../../../docs/appspec.md");
        let example = guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let quoted = WHOLE.replace("0.0", "\"0.0\"").replace("0755", "\"0755\"").replace("300", "\"300\"");
        for text in [WHOLE, example, &quoted, "version: 0.0\nos: linux\nfiles:\npermissions:\nhooks:\n"] {
            crate::appspec::parse(text.as_bytes(), "appspec.yml").unwrap();
            assert_eq!(verdict(text), None);
        }
    }

    #[test]
    fn what_the_reader_refuses_or_ignores_does_not() {
        for (good, bad) in [
            ("version: 0.0", "version: 1.0"),
            ("version: 0.0", "verson: 0.0"),
            ("os: linux", "os: windows"),
            ("destination: /srv/app", "destnation: /srv/app"),
            ("OVERWRITE", "REPLACE"),
            ("object: /srv/app", "owner: x"),
            ("mode: 0755", "mode: 17777"),
            ("mode: 0755", "mode: [7]"),
            ("type: [file, directory]", "type: [dir]"),
            ("type: [file, directory]", "type: []"),
            ("type: httpd_sys_content_t, ", ""),
            ("name: system_u", "role: system_r"),
            ("BeforeInstall", "BeforInstall"),
            ("timeout: 300", "timeout: 0"),
            ("timeout: 300", "timeot: 300"),
            ("sudo: yes", "sudo: maybe"),
            ("location: x, ", ""),
        ] {
            let text = WHOLE.replacen(good, bad, 1);
            assert_ne!(text, WHOLE, "{good} is there");
            let read = crate::appspec::parse(text.replacen("    owner: app\n", "", 1).as_bytes(), "appspec.yml");
            let is_clean = |read: crate::appspec::Parsed| {
                read.own_events.is_empty() && read.warnings.iter().all(|w| w.message.contains("no effect"))
            };
            assert!(!read.is_ok_and(is_clean), "the reader takes {bad:?}");
            assert!(verdict(&text.replacen("    owner: app\n", "", 1)).is_some(), "the schema takes {bad:?}");
        }
    }
}
