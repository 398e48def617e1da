//! The one handle for identity and credentials, for all that asks a service anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::metadata::Metadata;
use super::sources::{Choice, Chosen, Sources, nowhere};
use super::{Access, Host, IdentityError, PassedOver, Region, Source};

/// Credentials are renewed this long before they expire.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// How long after a renewal that failed or brought nothing new the next one is made, as long as what there is may
/// be valid.
const PACE: Duration = Duration::from_secs(10);

/// Tells who this host is, and gives credentials that are valid. Cheap to clone; all clones share what they know.
///
/// A request that was signed goes on with what it was signed with. Whoever asks while credentials are renewed waits
/// for that, for seconds at most. A renewal that fails leaves what is still valid in place.
#[derive(Clone, Debug)]
pub struct Provider {
    sources: Option<Arc<Sources>>,
    known: Arc<Mutex<State>>,
}

/// What is known so far. The lock is held while a source is asked: it is asked once, whoever waits.
#[derive(Debug, Default)]
struct State {
    choice: Option<Choice>,
    host: Option<Arc<Host>>,
    access: Option<Arc<Access>>,
    renewal: Renewal,
    /// Why the on-premises file does not say any more what is known of it; said once.
    trouble: Option<String>,
}

/// Who asks at the moment, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentIdentity {
    /// This host.
    pub host: Option<Arc<Host>>,
    /// The access key that signs.
    pub access_key: Option<String>,
    /// What is wrong with the on-premises file since it was read, if anything is.
    pub trouble: Option<String>,
}

/// How the last renewal went.
#[derive(Debug, Default)]
struct Renewal {
    /// When it can help to try again.
    not_before: Option<Instant>,
    /// A service has refused what there is.
    refused: bool,
    /// What went wrong, if it failed; said once.
    complaint: Option<String>,
}

impl Provider {
    /// A provider that looks at the sources once it is asked.
    pub fn new(sources: Sources) -> Self {
        Self { sources: Some(Arc::new(sources)), known: Arc::default() }
    }

    /// A provider of credentials that are known already, and stay.
    pub fn fixed(access: Access) -> Self {
        let chosen = Chosen::Keys { host: None, access: Arc::new(access) };
        let choice = Some(Choice { chosen, passed_over: Vec::new() });
        Self { sources: None, known: Arc::new(Mutex::new(State { choice, ..State::default() })) }
    }

    /// Who this host is, as far as that is known without asking anybody; nothing where only the metadata service
    /// can tell.
    pub async fn look(&self) -> Result<Option<Arc<Host>>, IdentityError> {
        let mut known = self.known.lock().await;
        self.choose(&mut known).await?;
        Ok(known.told_host())
    }

    /// Who this host is. Once that is known it stays so, unless the on-premises file says something else.
    pub async fn host(&self) -> Result<Arc<Host>, IdentityError> {
        let mut known = self.known.lock().await;
        self.choose(&mut known).await?;
        known.host().await
    }

    /// What to sign a request with, now.
    pub async fn access(&self) -> Result<Arc<Access>, IdentityError> {
        let mut known = self.known.lock().await;
        self.choose(&mut known).await?;
        known.access().await
    }

    /// Why the sources before the one that counts do not.
    pub async fn passed_over(&self) -> Vec<PassedOver> {
        self.known.lock().await.choice.as_ref().map(|choice| choice.passed_over.clone()).unwrap_or_default()
    }

    /// Reads the on-premises file again, and tells who asks from now on.
    pub async fn read_again(&self) -> Result<CurrentIdentity, IdentityError> {
        let mut known = self.known.lock().await;
        self.choose(&mut known).await?;
        Ok(known.told())
    }

    /// Who asks at the moment, without reading or asking anything.
    pub async fn known(&self) -> CurrentIdentity {
        self.known.lock().await.told()
    }

    /// Says that a service did not accept the credentials: they are renewed before they expire.
    pub async fn refused(&self) {
        self.known.lock().await.renewal.refused = true;
    }

    /// Looks at the sources, and again as long as none of them is sure: an on-premises file may come later.
    async fn choose(&self, known: &mut State) -> Result<(), IdentityError> {
        let is_sure = match &known.choice {
            None => false,
            Some(Choice { chosen: Chosen::Metadata(_), .. }) => known.host.is_some(),
            Some(_) => true,
        };
        let Some(sources) = self.sources.clone() else { return Ok(()) };
        if is_sure {
            return known.follow_file(sources).await;
        }
        let choice = tokio::task::spawn_blocking(move || sources.choose()).await.map_err(|error| cut_off(&error))??;
        // What is known of the metadata service stays: it has a token.
        let same =
            |known: &Choice| matches!((&known.chosen, &choice.chosen), (Chosen::Metadata(_), Chosen::Metadata(_)));
        if !known.choice.as_ref().is_some_and(same) {
            known.choice = Some(choice);
        }
        Ok(())
    }
}

impl State {
    /// Takes what the on-premises file says, where that is not what is known of it: it is small, so it is read each time,
    /// and a change counts at once. While it is gone or cannot be used, what it said before stays.
    async fn follow_file(&mut self, sources: Arc<Sources>) -> Result<(), IdentityError> {
        let Some(choice) = self.choice.as_ref().filter(|choice| choice.chosen.is_of_file()) else { return Ok(()) };
        let path = sources.on_premises_file.clone();
        let read = tokio::task::spawn_blocking(move || sources.on_premises()).await.map_err(|error| cut_off(&error))?;
        let trouble = match read {
            Ok(Some((chosen, _))) if chosen.says_the_same(&choice.chosen) => None,
            Ok(Some((chosen, _))) => {
                self.choice = Some(Choice { chosen, passed_over: Vec::new() });
                (self.access, self.renewal) = (None, Renewal::default());
                let CurrentIdentity { host, access_key, .. } = self.told();
                let host = host.as_ref().map(|host| tracing::field::display(&host.identifier));
                tracing::info!(host, access_key, "the on-premises file {} was replaced and read", path.display());
                None
            }
            Ok(None) => Some(format!("the on-premises file {} is gone since it was read", path.display())),
            Err(error) => Some(format!("the on-premises file was replaced and cannot be used: {error}")),
        };
        if let Some(trouble) = trouble.as_ref().filter(|trouble| self.trouble.as_ref() != Some(trouble)) {
            tracing::warn!("{trouble}; what it said before is used");
        }
        self.trouble = trouble;
        Ok(())
    }

    fn told(&self) -> CurrentIdentity {
        let access = match self.choice.as_ref().map(|choice| &choice.chosen) {
            Some(Chosen::Keys { access, .. }) => Some(access),
            _ => self.access.as_ref(),
        };
        let access_key = access.map(|access| access.credentials.access_key_id.clone());
        CurrentIdentity { host: self.told_host(), access_key, trouble: self.trouble.clone() }
    }

    fn told_host(&self) -> Option<Arc<Host>> {
        match &self.choice.as_ref()?.chosen {
            Chosen::Keys { host, .. } => host.clone(),
            Chosen::Session { host, .. } => Some(host.clone()),
            Chosen::Metadata(_) => self.host.clone(),
        }
    }

    async fn host(&mut self) -> Result<Arc<Host>, IdentityError> {
        if let Some(host) = self.told_host() {
            return Ok(host);
        }
        let Some(Choice { chosen: Chosen::Metadata(metadata), passed_over }) = &mut self.choice else {
            return Err(IdentityError::NoHost);
        };
        let host = metadata.host().await.map_err(|error| nowhere(passed_over.clone(), &error))?;
        Ok(self.host.insert(Arc::new(host)).clone())
    }

    async fn access(&mut self) -> Result<Arc<Access>, IdentityError> {
        match &self.choice {
            Some(Choice { chosen: Chosen::Keys { access, .. }, .. }) => return Ok(access.clone()),
            Some(Choice { chosen: Chosen::Session { .. }, .. }) => {}
            Some(Choice { chosen: Chosen::Metadata(_), .. }) => {
                if let Some(access) = self.access.as_ref().filter(|access| !self.renewal.is_due(access)) {
                    return Ok(access.clone());
                }
            }
            None => return Err(IdentityError::NoHost),
        }
        let renewed = self.renew().await;
        let later = Some(Instant::now() + PACE);
        match renewed {
            Ok(access) => {
                let is_new = self.access.as_ref().is_none_or(|old| !old.credentials.are(&access.credentials));
                // With a clock that is ahead they have always expired.
                self.renewal =
                    Renewal { not_before: later.filter(|_| !is_new || expires_soon(&access)), ..Renewal::default() };
                if is_new {
                    let expires = access.expires.map(tracing::field::display);
                    let key = &access.credentials.access_key_id;
                    tracing::info!(access_key = key, source = %access.source, expires, "credentials are there");
                }
                Ok(self.access.insert(Arc::new(access)).clone())
            }
            Err(error) => {
                let complaint = Some(error.to_string());
                let is_new = self.renewal.complaint != complaint;
                self.renewal = Renewal { not_before: later, complaint, ..self.renewal };
                let valid = self.access.as_ref().filter(|access| !has_expired(access)).ok_or_else(|| error.clone())?;
                if is_new {
                    tracing::warn!("the credentials could not be renewed, and those that there are stay: {error}");
                }
                Ok(valid.clone())
            }
        }
    }

    /// Asks the source for credentials.
    async fn renew(&mut self) -> Result<Access, IdentityError> {
        let host = self.host().await?;
        let (region, domain) = (host.region.clone(), host.domain.clone());
        match self.choice.as_mut().map(|choice| &mut choice.chosen) {
            Some(Chosen::Session { on_premises, file, .. }) => {
                let (reader, on_premises) = (file.clone(), on_premises.clone());
                // Each time: it is small, and so a change of it counts at once.
                let read = tokio::task::spawn_blocking(move || reader.read()).await.map_err(|error| cut_off(&error))?;
                let credentials =
                    read.map_err(|error| IdentityError::Session { on_premises, error: Arc::new(error) })?;
                let source = Source::Session(file.path().to_owned());
                Ok(Access { region, domain, credentials, source, expires: None })
            }
            Some(Chosen::Metadata(metadata)) => of_role(metadata, region, domain).await,
            Some(Chosen::Keys { .. }) | None => Err(IdentityError::NoHost),
        }
    }
}

async fn of_role(metadata: &mut Metadata, region: Region, domain: String) -> Result<Access, IdentityError> {
    let given = metadata.credentials().await.map_err(IdentityError::Credentials)?;
    let source = Source::Metadata(given.role);
    Ok(Access { region, domain, credentials: given.credentials, source, expires: Some(given.expires) })
}

impl Renewal {
    /// Whether it is time for new credentials, and asking for them can help.
    fn is_due(&self, access: &Access) -> bool {
        let nothing_left = self.complaint.is_some() && has_expired(access);
        let may_help = nothing_left || self.not_before.is_none_or(|time| time <= Instant::now());
        may_help && (self.refused || expires_soon(access))
    }
}

fn expires_soon(access: &Access) -> bool {
    access.expires.is_some_and(|expires| expires.duration_since(Timestamp::now()) <= MARGIN)
}

fn has_expired(access: &Access) -> bool {
    access.expires.is_some_and(|expires| expires <= Timestamp::now())
}

fn cut_off(error: &tokio::task::JoinError) -> IdentityError {
    IdentityError::CutOff("reading a file", error.to_string())
}
