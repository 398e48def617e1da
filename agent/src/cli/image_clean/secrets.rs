//! Secrets that somebody wrote into the configuration. What to do about them only a person can know.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::traces::{Found, Way};
use crate::cli::settings::Context;
use crate::config_files;
use crate::disk::{self, Dir, Kind};

/// The longest file that is looked through, in bytes; configuration is not longer.
const MOST: u64 = 1 << 20;
/// Where units of the agent are told their environment, and a file that all of a host's services may be told theirs by.
const UNITS: [&str; 3] =
    ["/etc/systemd/system/slipway-agent.service", "/etc/systemd/system/codedeploy-agent.service", "/etc/environment"];

const MOVE: &str = "take it out of the image, and give it to each host at its first boot";

const LOOK: &str = "look at it yourself, and move it away if nothing needs it";

/// Looks through the configuration line by line, whether a line has an effect or not.
pub(super) fn find(context: &Context, found: &mut Found) -> Result<(), disk::Error> {
    let main = context.path.as_deref().unwrap_or(Path::new(config_files::DEFAULT_FILE));
    let directories = [main.parent().map(Path::to_owned), Some(main.with_file_name("conf.d"))].into_iter().flatten();
    let mut files: Vec<PathBuf> = UNITS.iter().map(PathBuf::from).collect();
    for directory in directories.chain(UNITS.iter().map(|unit| PathBuf::from(format!("{unit}.d")))) {
        files.extend(files_of(&directory)?);
    }
    for file in files {
        // That is reported, and removed, as what it is.
        if file == *context.settings.on_premises_config_file {
            continue;
        }
        let text = match disk::read_if_exists(&file, MOST) {
            Ok(text) => Zeroizing::new(text.unwrap_or_default()),
            Err(error) => {
                found.push(format!("what could not be looked through ({error})"), file, Way::ByHand(LOOK));
                continue;
            }
        };
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if let Some(what) = secret(&Zeroizing::new(String::from_utf8_lossy(line).into_owned())) {
                found.push(format!("{what} in line {}", number + 1), file.clone(), Way::ByHand(MOVE));
            }
        }
    }
    Ok(())
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, disk::Error> {
    match Dir::open(directory) {
        Ok(opened) => {
            let entries = opened.entries()?.into_iter();
            let files = entries.filter(|entry| matches!(entry.kind, Kind::File | Kind::Symlink));
            Ok(files.map(|entry| directory.join(entry.name)).collect())
        }
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What a line holds that must not be in an image.
fn secret(line: &str) -> Option<&'static str> {
    let lower = Zeroizing::new(line.to_ascii_lowercase());
    if has_password(line) {
        Some("the password of an address")
    } else if is_set(&lower, "aws_secret_access_key") || is_set(&lower, "aws_session_token") {
        Some("a secret key")
    } else if is_set(&lower, "aws_host_identifier")
        || is_set(&lower, "iam_user_arn")
        || is_set(&lower, "iam_session_arn")
    {
        Some("identity of one host")
    } else if line.contains("PRIVATE KEY-----") {
        Some("a private key")
    } else {
        None
    }
}

/// An address such as `http://user:password@proxy:3128`.
fn has_password(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| {
        let host = rest.split(['/', ' ', '"', '\'', ',']).next().unwrap_or_default();
        host.rsplit_once('@').is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, word)| !word.is_empty()))
    })
}

/// Whether a name is followed by a value.
fn is_set(line: &str, name: &str) -> bool {
    line.split(name).skip(1).any(|rest| {
        let value = rest.trim_start().trim_start_matches(['"', '\'']).trim_start();
        value.strip_prefix([':', '=']).is_some_and(|value| !value.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_looks() {
        for (line, expected) in [
            ("proxy_uri: http://proxy:3128", None),
            ("proxy_uri: http://user@proxy:3128/", None),
            ("proxy_uri: http://user:@proxy:3128/", None),
            ("proxy_uri: http://user:word@proxy:3128/", Some("the password of an address")),
            ("# proxy_uri: \"http://user:w@rd@proxy\"", Some("the password of an address")),
            ("see https://example.com/a:b@c", None),
            ("aws_secret_access_key: word", Some("a secret key")),
            ("Environment=\"AWS_SESSION_TOKEN=word\"", Some("a secret key")),
            ("{\"aws_secret_access_key\": \"word\"}", Some("a secret key")),
            ("AWS_SECRET_ACCESS_KEY=", None),
            ("# aws_secret_access_key is elsewhere", None),
            (":iam_user_arn: arn:aws:iam::111122223333:user/web-1", Some("identity of one host")),
            ("-----BEGIN EC PRIVATE KEY-----", Some("a private key")),
            ("-----BEGIN CERTIFICATE-----", None),
        ] {
            assert_eq!(secret(line), expected, "{line}");
        }
    }
}
