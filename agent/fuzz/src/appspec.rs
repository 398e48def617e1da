//! Any bytes as an AppSpec file.

use slipway_agent::validate;
use slipway_agent::yaml::{Budget, Node, Value};

/// More findings, or warnings, are counted and not kept.
const MOST_SAID: usize = 100;

/// What parses, parses the same again, and stays within its budget; what does not says why. The place of
/// everything that is said can be shown.
pub fn check(data: &[u8]) {
    let examined = slipway_agent::appspec::examine(data);
    let findings = &examined.report.findings;
    assert!(findings.iter().count() <= MOST_SAID && examined.report.warnings.len() <= MOST_SAID);
    if let Some(root) = &examined.root {
        let taken = weigh(root, 1);
        assert!(taken.nodes <= Budget::FILE.nodes, "{} nodes", taken.nodes);
        assert!(taken.bytes <= Budget::FILE.bytes, "{} bytes", taken.bytes);
        assert!(taken.depth <= Budget::FILE.depth + 1, "{} deep", taken.depth);
    }
    let parsed = slipway_agent::appspec::parse(data, "appspec.yml");
    match &parsed {
        Ok(parsed) => {
            assert!(findings.is_empty());
            assert_eq!(examined.spec.as_ref(), Some(&parsed.spec));
            assert_eq!(examined.report.warnings, parsed.warnings);
            for mapping in &parsed.spec.files {
                assert!(mapping.destination.as_path().is_absolute());
                assert!(mapping.source.as_path().components().all(is_name), "{:?}", mapping.source);
            }
        }
        Err(errors) => {
            assert_eq!(&errors.findings, findings);
            assert!(!findings.is_empty(), "refused without a reason");
            assert!(errors.to_string().starts_with("appspec.yml:"));
        }
    }
    assert_eq!(parsed, slipway_agent::appspec::parse(data, "appspec.yml"), "the second time it is something else");
    let validation = validate::appspec_alone(data, "appspec.yml", &validate::HostRules::default());
    // Where nothing can be installed is known before a host is looked at; a deployment learns it in planning.
    let is_installable = parsed.as_ref().is_ok_and(|parsed| {
        parsed.spec.files.iter().all(|file| validate::kernel_directory(file.destination.as_path()).is_none())
    });
    assert_eq!(validation.count(validate::Severity::Error) == 0, is_installable, "{validation:?}");
    let _ = format!("{validation:?}");
}

fn is_name(part: std::path::Component<'_>) -> bool {
    matches!(part, std::path::Component::Normal(_))
}

/// What a tree takes: its aliases are copies in it.
fn weigh(node: &Node, depth: usize) -> Budget {
    let mut taken = Budget { bytes: 0, nodes: 1, depth };
    let mut add = |child: Budget| {
        taken.bytes += child.bytes;
        taken.nodes += child.nodes;
        taken.depth = taken.depth.max(child.depth);
    };
    match &node.value {
        Value::Scalar(scalar) => taken.bytes = scalar.text.len(),
        Value::Sequence(items) => items.iter().for_each(|item| add(weigh(item, depth + 1))),
        Value::Mapping(entries) => {
            for entry in entries {
                add(Budget { bytes: entry.key.len(), nodes: 1, depth: 0 });
                add(weigh(&entry.value, depth + 1));
            }
        }
    }
    taken
}
