//! The one order of sources, and which of them says who this host is.

use std::path::PathBuf;
use std::sync::Arc;

use super::metadata::{self, Metadata, MetadataError};
use super::session::SessionFile;
use super::{Access, Credentials, Environment, Host, IdentityError, PassedOver, Region, Source};
use crate::config::OnPremises;
use crate::config_files;
use crate::yaml::Warning;

const ON_PREMISES: &str = "on-premises file";
const ENVIRONMENT: &str = "environment";
const METADATA: &str = "EC2 metadata service";

/// Where identity and credentials are looked for.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The on-premises file, which need not exist.
    pub on_premises_file: PathBuf,
    /// The variables of the environment.
    pub environment: Environment,
    /// For whom.
    pub caller: Caller,
}

/// Whose credentials are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// This host's.
    Host,
    /// Those of a person who deploys on this host by hand: the same order, but credentials in the environment count
    /// without a host identifier too.
    Person,
}

/// The source that counts, and why those before it do not.
#[derive(Debug)]
pub(super) struct Choice {
    pub chosen: Chosen,
    pub passed_over: Vec<PassedOver>,
}

/// A source with what it takes to ask it.
#[derive(Debug)]
pub(super) enum Chosen {
    /// Keys that stay. Of a person, who is no host, the host is nothing.
    Keys { host: Option<Arc<Host>>, access: Arc<Access> },
    /// A file that another program keeps fresh.
    Session { host: Arc<Host>, on_premises: PathBuf, file: SessionFile },
    /// The metadata service.
    Metadata(Box<Metadata>),
}

impl Chosen {
    /// Whether it comes of the on-premises file.
    pub(super) fn is_of_file(&self) -> bool {
        match self {
            Self::Keys { access, .. } => matches!(access.source, Source::OnPremises(_)),
            Self::Session { .. } => true,
            Self::Metadata(_) => false,
        }
    }

    /// Whether it says the same of who the host is and where its credentials are.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keys { host, access }, Self::Keys { host: other_host, access: other }) => {
                host == other_host && access.region == other.region && access.credentials.are(&other.credentials)
            }
            (Self::Session { host, file, .. }, Self::Session { host: other_host, file: other, .. }) => {
                host == other_host && file == other
            }
            (Self::Metadata(_), Self::Metadata(_)) => true,
            _ => false,
        }
    }
}

impl Sources {
    /// Goes through the sources. One that is there but broken is an error, never a reason to try the next one. The
    /// metadata service is not asked anything yet. Reads files.
    pub(super) fn choose(&self) -> Result<Choice, IdentityError> {
        let path = &self.on_premises_file;
        if let Some((chosen, warnings)) = self.on_premises()? {
            for warning in warnings {
                tracing::warn!("{}: {warning}", path.display());
            }
            return Ok(Choice { chosen, passed_over: Vec::new() });
        }
        let mut passed_over =
            vec![PassedOver { source: ON_PREMISES, reason: format!("there is none at {}", path.display()) }];
        let environment = &self.environment;
        if let Some(identifier) = &environment.host_identifier {
            let access = environment_access(environment)?;
            let host = Some(Arc::new(host(identifier.clone(), access.region.clone())));
            return Ok(Choice { chosen: Chosen::Keys { host, access: Arc::new(access) }, passed_over });
        }
        if self.caller == Caller::Person && environment.has_keys() {
            let access = Arc::new(environment_access(environment)?);
            return Ok(Choice { chosen: Chosen::Keys { host: None, access }, passed_over });
        }
        let reason = match environment.has_keys() {
            true => "AWS_HOST_IDENTIFIER is not set, and without it AWS_ACCESS_KEY_ID does not count",
            false => "AWS_HOST_IDENTIFIER is not set",
        };
        passed_over.push(PassedOver { source: ENVIRONMENT, reason: reason.to_owned() });
        let metadata = match metadata::address(environment) {
            Ok(address) => Metadata::new(&address).map_err(|error| IdentityError::Client(Arc::new(error)))?,
            Err(error) => return Err(nowhere(passed_over, &error)),
        };
        Ok(Choice { chosen: Chosen::Metadata(Box::new(metadata)), passed_over })
    }

    /// What the on-premises file says now, and what in it does nothing; nothing where there is none.
    pub(super) fn on_premises(&self) -> Result<Option<(Chosen, Vec<Warning>)>, IdentityError> {
        let parsed = config_files::on_premises(&self.on_premises_file)
            .map_err(|error| IdentityError::OnPremises(Arc::new(error)))?;
        parsed.map(|parsed| Ok((self.of_file(parsed.identity)?, parsed.warnings))).transpose()
    }

    fn of_file(&self, identity: OnPremises) -> Result<Chosen, IdentityError> {
        let on_premises = self.on_premises_file.clone();
        let source = Source::OnPremises(on_premises.clone());
        Ok(match identity {
            OnPremises::IamUser { arn, region, access_key_id, secret } => {
                let region = parse(&region, &source)?;
                let credentials = Credentials { access_key_id, secret_access_key: secret, session_token: None };
                let domain = region.domain().to_owned();
                let access = Access { region: region.clone(), domain, credentials, source, expires: None };
                Chosen::Keys { host: Some(Arc::new(host(arn, region))), access: Arc::new(access) }
            }
            OnPremises::IamSession { arn, region, credentials_file } => {
                let host = Arc::new(host(arn, parse(&region, &source)?));
                Chosen::Session { host, on_premises, file: SessionFile::new(credentials_file) }
            }
        })
    }
}

/// No source says anything, the metadata service for this reason.
pub(super) fn nowhere(mut tried: Vec<PassedOver>, error: &MetadataError) -> IdentityError {
    tried.push(PassedOver { source: METADATA, reason: error.to_string() });
    IdentityError::Nowhere { tried, remedy: error.remedy().to_owned() }
}

/// A host that is not known by the metadata service.
fn host(identifier: String, region: Region) -> Host {
    let domain = region.domain().to_owned();
    Host { identifier, region, domain, instance: None }
}

fn environment_access(environment: &Environment) -> Result<Access, IdentityError> {
    let source = Source::Environment;
    let Environment { region, access_key_id, secret_access_key, session_token, .. } = environment.clone();
    match (region, access_key_id, secret_access_key) {
        (Some(region), Some(access_key_id), Some(secret_access_key)) => {
            let region = parse(&region, &source)?;
            let domain = region.domain().to_owned();
            let credentials = Credentials { access_key_id, secret_access_key, session_token };
            Ok(Access { region, domain, credentials, source, expires: None })
        }
        (region, id, secret) => {
            let absent = [
                (region.is_none(), "AWS_REGION"),
                (id.is_none(), "AWS_ACCESS_KEY_ID"),
                (secret.is_none(), "AWS_SECRET_ACCESS_KEY"),
            ];
            let missing: Vec<_> = absent.into_iter().filter_map(|(absent, name)| absent.then_some(name)).collect();
            Err(IdentityError::Incomplete { origin: source, missing: missing.join(" and ") })
        }
    }
}

fn parse(region: &str, origin: &Source) -> Result<Region, IdentityError> {
    Region::parse(region).map_err(|reason| IdentityError::Region { origin: origin.clone(), reason })
}
