//! Everything that a host needs to become one: its registration, its key, and the agent's files.

use std::path::{Path, PathBuf};

use sqlx::SqlitePool;
use zeroize::Zeroizing;

use crate::data_dir::{self, DataDirError};
use crate::error::ApiError;
use crate::ids;
use crate::instances::{self, Identity, Realm, RegisterError, Registered, Registration};
use crate::keys::{self, AccountId, KeysError, NewKey, Owner, UserName};
use crate::tags::Tag;

/// A host to be.
#[derive(Debug)]
pub struct NewHost {
    name: UserName,
    account: AccountId,
    region: String,
    tags: Vec<Tag>,
}

/// Where the host finds the service, and what it trusts.
#[derive(Debug)]
pub struct Reach {
    /// `https://…`, for commands and S3 alike.
    pub endpoint: url::Url,
    /// The authority's certificate.
    pub ca_pem: String,
    /// Certificates of another authority that the service's TLS certificate is under.
    pub tls_ca_pem: Option<String>,
    /// Where the files will be on the host; where they are written, if that is not given.
    pub installed_in: Option<PathBuf>,
}

/// The fate of the keys that a host had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKeys {
    /// Valid on, for an agent that has not got the new one yet.
    Kept,
    /// Revoked at once.
    Revoked,
}

/// What was done.
#[derive(Debug)]
pub struct Written {
    /// New, or known before under the same identity.
    pub registered: Registered,
    /// The host's identifier.
    pub arn: String,
    /// The id of its key.
    pub access_key_id: String,
    /// Its older keys that can still be used.
    pub still_valid: Vec<String>,
    /// Its older keys that were ended.
    pub revoked: Vec<String>,
    /// The agent's configuration, for `slipway-agent run --config`.
    pub config: PathBuf,
    /// All files, the configuration among them.
    pub files: Vec<PathBuf>,
}

/// Why a host was not set up.
#[derive(Debug, thiserror::Error)]
pub enum HostConfigError {
    /// The name is none, or no key could be made.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The name is none.
    #[error("{}", .0.message)]
    Name(ApiError),
    /// The registration was refused.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A file could not be written.
    #[error(transparent)]
    Files(#[from] DataDirError),
    /// Not of the form `Key=Value`, or longer than tags may be.
    #[error(
        "{0:?} is no tag: it is written Key=Value, with a key of 1 to 128 characters that does not begin with aws:, and a \
         value of at most 256"
    )]
    Tag(String),
    /// The path cannot be written into a configuration file.
    #[error("{0:?} is not valid UTF-8 and cannot be named in a configuration file; choose another directory")]
    Path(PathBuf),
}

const CONFIG: &str = "codedeployagent.yml";
const ON_PREMISES: &str = "codedeploy.onpremises.yml";
const CA: &str = "slipway-ca.pem";
const TLS_CA: &str = "tls-ca.pem";

impl NewHost {
    /// Parses what an operator gives: the name, and tags as `Key=Value`.
    ///
    /// # Errors
    /// If one of them is none.
    pub fn parse(name: &str, realm: &Realm, tags: &[String]) -> Result<Self, HostConfigError> {
        Ok(Self {
            name: UserName::parse_host(name)?,
            account: AccountId::parse(&realm.account)?,
            region: realm.region.clone(),
            tags: tags.iter().map(|tag| parse_tag(tag)).collect::<Result<_, _>>()?,
        })
    }

    /// Registers the host, makes a key for it, and writes the agent's files into `directory`.
    ///
    /// # Errors
    /// If the name is taken by another identity, or the database or a file cannot be written.
    pub async fn set_up(
        &self,
        pool: &SqlitePool,
        reach: &Reach,
        directory: &Path,
        old: OldKeys,
    ) -> Result<Written, HostConfigError> {
        data_dir::create_private_dir(directory)?;
        let directory = data_dir::resolve(directory)?;
        let name = ids::instance_name(Some(self.name.as_str().to_owned())).map_err(HostConfigError::Name)?;
        let identity = Identity::user(self.account.as_str(), &name);
        let arn = identity.arn.clone();
        let realm = Realm { region: self.region.clone(), account: self.account.as_str().to_owned() };
        let registration = Registration { name, identity, tags: self.tags.clone() };
        let registered = instances::register(pool, &realm, &registration).await?;
        let before = keys::valid_of(pool, &arn).await?;
        let key = keys::create(pool, &Owner::Host(self.name.clone()), &self.account).await?;

        let [ca, on_premises, config] = [CA, ON_PREMISES, CONFIG].map(|file| directory.join(file));
        let home = reach.installed_in.as_deref().unwrap_or(&directory);
        data_dir::write_private(&ca, reach.ca_pem.as_bytes())?;
        let mut files = vec![ca];
        if let Some(tls_ca_pem) = &reach.tls_ca_pem {
            files.push(directory.join(TLS_CA));
            data_dir::write_private(&directory.join(TLS_CA), tls_ca_pem.as_bytes())?;
        }
        data_dir::write_private(&on_premises, self.on_premises_yaml(&key).as_bytes())?;
        data_dir::write_private(&config, config_yaml(reach, home)?.as_bytes())?;
        files.extend([on_premises, config.clone()]);
        let (still_valid, revoked) = match old {
            OldKeys::Kept => (before, Vec::new()),
            OldKeys::Revoked => {
                for id in &before {
                    keys::revoke(pool, id).await?;
                }
                (Vec::new(), before)
            }
        };
        Ok(Written { registered, arn, access_key_id: key.id, still_valid, revoked, config, files })
    }

    fn on_premises_yaml(&self, key: &NewKey) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "iam_user_arn: {}\nregion: {}\naws_access_key_id: {}\naws_secret_access_key: {}\n",
            quoted(&key.arn),
            quoted(&self.region),
            quoted(&key.id),
            Zeroizing::new(quoted(key.secret.expose())).as_str(),
        ))
    }
}

/// `home` is where the files will be on the host.
fn config_yaml(reach: &Reach, home: &Path) -> Result<String, HostConfigError> {
    let path = |file: &str| home.join(file).to_str().map(quoted).ok_or_else(|| HostConfigError::Path(home.to_owned()));
    let endpoint = quoted(reach.endpoint.as_str().trim_end_matches('/'));
    let (ca, on_premises) = (path(CA)?, path(ON_PREMISES)?);
    let tls_ca = path(if reach.tls_ca_pem.is_some() { TLS_CA } else { CA })?;
    Ok(format!(
        "# Written by `slipway-control host-config`.\n\
         deploy_control_endpoint: {endpoint}\n\
         s3_endpoint_override: {endpoint}\n\
         # Trusted for TLS, beside the system's own authorities.\n\
         ca_bundle: {tls_ca}\n\
         # Deployment specifications must be signed under this authority.\n\
         deployment_spec_ca_file: {ca}\n\
         on_premises_config_file: {on_premises}\n\
         # The service holds polls open until there is work: no need to pause between them.\n\
         wait_between_runs: 1\n"
    ))
}

/// A JSON string is a YAML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn parse_tag(text: &str) -> Result<Tag, HostConfigError> {
    let tag = text.split_once('=').map(|(key, value)| Tag { key: key.to_owned(), value: value.to_owned() });
    tag.filter(|tag| tag.problem().is_none()).ok_or_else(|| HostConfigError::Tag(text.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests read what was written")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::caller::Caller;
    use crate::db;

    #[tokio::test]
    async fn a_host_gets_its_files_and_a_key_that_is_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let pool = db::open(&directory.path().join("data")).await.unwrap();
        let realm = Realm { region: "eu-central-1".to_owned(), account: "123456789012".to_owned() };
        let tags = ["Stage=test".to_owned(), "Odd=a=b".to_owned()];
        let host = NewHost::parse("web-1", &realm, &tags).unwrap();
        let reach = Reach {
            endpoint: "https://127.0.0.1:8443".parse().unwrap(),
            ca_pem: "-----BEGIN…".to_owned(),
            tls_ca_pem: None,
            installed_in: None,
        };
        let written = host.set_up(&pool, &reach, &directory.path().join("out"), OldKeys::Kept).await.unwrap();
        assert_eq!(written.registered, Registered::New);
        assert_eq!(written.files.len(), 3);
        for file in &written.files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
        let config = std::fs::read_to_string(&written.config).unwrap();
        assert!(config.contains("deploy_control_endpoint: \"https://127.0.0.1:8443\"\n"), "{config}");
        let identity = std::fs::read_to_string(written.config.with_file_name(ON_PREMISES)).unwrap();
        assert!(identity.contains("iam_user_arn: \"arn:aws:iam::123456789012:user/web-1\"\n"), "{identity}");
        let (caller, secret) = keys::find(&pool, &written.access_key_id).await.unwrap().unwrap();
        assert_eq!(caller, Caller::Host { access_key_id: written.access_key_id, host_arn: written.arn });
        assert!(identity.contains(secret.expose()));

        let reach = Reach { installed_in: Some(PathBuf::from("/etc/codedeploy-agent/conf")), ..reach };
        let again = host.set_up(&pool, &reach, &directory.path().join("out"), OldKeys::Kept).await.unwrap();
        assert_eq!(again.registered, Registered::Already);
        let config = std::fs::read_to_string(&again.config).unwrap();
        let named = "on_premises_config_file: \"/etc/codedeploy-agent/conf/codedeploy.onpremises.yml\"\n";
        assert!(config.contains(named), "{config}");
        let other = Realm { account: "999999999999".to_owned(), ..realm.clone() };
        let taken =
            NewHost::parse("web-1", &other, &[]).unwrap().set_up(&pool, &reach, directory.path(), OldKeys::Kept).await;
        assert!(matches!(taken, Err(HostConfigError::Register(RegisterError::NameTaken { .. }))), "{taken:?}");
        assert!(NewHost::parse("i-1", &realm, &[]).is_err());
        assert!(matches!(NewHost::parse("a", &realm, &["x".to_owned()]), Err(HostConfigError::Tag(_))));
    }
}
