//! The configuration and the on-premises file.

use super::note::{Note, Verdict};
use crate::cli::settings::Context;
use crate::config::{OnPremises, Origin};
use crate::config_files;

const CONFIGURATION: &str = "configuration";
const IDENTITY: &str = "identity";

pub(super) fn look(context: &Context) -> Vec<Note> {
    let mut notes = settings(context);
    notes.extend(context.warnings().map(|warning| Note::new(Verdict::Ignored, CONFIGURATION, warning)));
    notes.push(identity(context));
    notes
}

/// What files set. The rest are defaults, which are those of AWS's agent where it has the key too.
fn settings(context: &Context) -> Vec<Note> {
    let described = context.settings.describe();
    let set = described.iter().filter_map(|setting| match &setting.origin {
        Origin::File { file, line } => {
            Some((setting.key, format!("{} = {} ({file}:{line})", setting.key, setting.value)))
        }
        _ => None,
    });
    let notes: Vec<Note> = set
        .map(|(key, what)| match key {
            "user" => Note::new(
                Verdict::Different,
                CONFIGURATION,
                format!(
                    "{what}: the agent itself runs as root; scripts without `runas` run as this user, and it owns what is \
                     installed"
                ),
            ),
            _ => Note::new(Verdict::TakenOver, CONFIGURATION, what),
        })
        .collect();
    if notes.is_empty() {
        let path = context.path.as_ref().map_or(config_files::DEFAULT_FILE.into(), |path| path.display().to_string());
        return vec![Note::new(
            Verdict::TakenOver,
            CONFIGURATION,
            format!("{path} sets nothing: all is as by default"),
        )];
    }
    notes
}

fn identity(context: &Context) -> Note {
    let path = context.settings.on_premises_config_file.to_path_buf();
    let shown = path.display();
    match config_files::on_premises(&path) {
        Ok(Some(parsed)) => {
            let who = match &parsed.identity {
                OnPremises::IamUser { arn, region, .. } => format!("{arn} in {region}"),
                OnPremises::IamSession { arn, region, credentials_file } => {
                    format!("{arn} in {region}, with credentials in {}", credentials_file.display())
                }
            };
            Note::new(Verdict::TakenOver, IDENTITY, format!("{shown}: {who}"))
        }
        Ok(None) => Note::new(
            Verdict::TakenOver,
            IDENTITY,
            format!("there is no {shown}: who this host is comes from the environment or the EC2 metadata service"),
        ),
        Err(error) => Note::new(Verdict::NeedsYou, IDENTITY, error.to_string()).with_remedy(format!(
            "correct {shown}; on an EC2 instance, remove it: it goes before the instance's own identity"
        )),
    }
}
