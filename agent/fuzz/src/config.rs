//! Any bytes as the agent's configuration, in one file or two, and as the on-premises file.

use std::sync::Arc;

use slipway_agent::config::{Environment, KEYS, Layer, merge, on_premises};

/// Parts the files of one input.
const BORDER: &[u8] = b"\n%%%\n";

/// What is accepted is accepted the same again, and every setting can be shown; what is refused says why.
pub fn check(data: &[u8]) {
    let files = parts(data);
    let layers: Vec<Layer> = files
        .iter()
        .enumerate()
        .map(|(number, text)| Layer { file: Arc::from(format!("{number}.yml")), text: text.to_vec() })
        .collect();
    let text = |name: &str| (name == "HTTPS_PROXY").then(|| String::from_utf8_lossy(files[0]).into_owned());
    for environment in [Environment::default(), Environment::capture(text)] {
        let shown = || match merge(&layers, &environment) {
            Ok(loaded) => {
                let described = loaded.settings.describe();
                assert_eq!(described.len(), KEYS.len());
                format!("{described:?} {:?} {:?}", loaded.settings, loaded.warnings)
            }
            Err(errors) => {
                assert!(errors.iter().next().is_some(), "refused without a reason");
                errors.to_string()
            }
        };
        assert_eq!(shown(), shown());
    }
    for text in &files {
        match on_premises::parse(text, "codedeploy.onpremises.yml") {
            Ok(parsed) => {
                let shown = format!("{parsed:?}");
                let is_user = matches!(parsed.identity, slipway_agent::config::OnPremises::IamUser { .. });
                assert_eq!(shown.contains("(secret)"), is_user, "{shown}");
            }
            Err(errors) => assert!(errors.to_string().starts_with("codedeploy.onpremises.yml:")),
        }
    }
}

fn parts(data: &[u8]) -> Vec<&[u8]> {
    match data.windows(BORDER.len()).position(|window| window == BORDER) {
        Some(at) => vec![&data[..at], &data[at + BORDER.len()..]],
        None => vec![data],
    }
}
