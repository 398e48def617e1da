//! On-premises instances: who may be deployed to, and by which identity their agents speak.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{FromRow, Row};

use crate::clock::Moment;
use crate::error::ApiError;
use crate::ids::{self, InstanceName};
use crate::tags::{Tag, Tags};
use crate::text::words;

/// Longest ARN of an identity, in bytes.
const LONGEST_ARN: usize = 1011;
/// Most tags of one instance.
pub const MOST_TAGS: usize = 10;

words! {
    /// What kind of identity an agent has.
    pub enum IdentityKind {
        /// An IAM user.
        User = "user",
        /// A session of a role.
        Session = "session",
    }
}

impl IdentityKind {
    /// The service in its ARN, and how the rest of that begins.
    pub fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::User => ("iam", "user/"),
            Self::Session => ("sts", "assumed-role/"),
        }
    }
}

/// The identity by which an instance's agent speaks: its host identifier on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which kind.
    pub kind: IdentityKind,
    /// The ARN.
    pub arn: String,
}

impl Identity {
    /// Reads the ARN of a user or of a role's session; none for anything else.
    pub fn parse(arn: &str) -> Option<Self> {
        [IdentityKind::User, IdentityKind::Session].into_iter().find_map(|kind| Self::of_kind(kind, arn))
    }

    /// Reads the ARN of an identity of that kind; none for anything else.
    pub fn of_kind(kind: IdentityKind, arn: &str) -> Option<Self> {
        let (service, resource) = kind.place();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let is_valid = matches!(parts.as_slice(), ["arn", partition, found, "", account, rest]
            if partition.starts_with("aws")
                && *found == service
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && rest.strip_prefix(resource).is_some_and(|name| !name.is_empty() && !name.ends_with('/')));
        (is_valid && arn.len() <= LONGEST_ARN).then(|| Self { kind, arn: arn.to_owned() })
    }

    /// The last part of the ARN: the user's or the session's name.
    pub fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// The IAM user `name` of an account.
    pub fn user(account: &str, name: &InstanceName) -> Self {
        Self { kind: IdentityKind::User, arn: format!("arn:aws:iam::{account}:user/{name}") }
    }
}

/// A wish to register an instance.
#[derive(Clone, Debug)]
pub struct Registration {
    /// By [`ids::instance_name`].
    pub name: InstanceName,
    /// Who its agent is.
    pub identity: Identity,
    /// Added to, or changed on, those that it has.
    pub tags: Vec<Tag>,
}

/// Where this service's ARNs are.
#[derive(Clone, Debug)]
pub struct Realm {
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Realm {
    /// `arn:aws:codedeploy:<region>:<account>:<rest>`.
    pub fn arn(&self, rest: &str) -> String {
        format!("arn:aws:codedeploy:{}:{}:{rest}", self.region, self.account)
    }
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is new.
    New,
    /// The same name and identity were registered already; the tags were set.
    Already,
}

/// Why an instance could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The name belongs to another identity.
    #[error(
        "the instance name {name} is registered already, for {identity}; deregister it first or choose another name"
    )]
    NameTaken {
        /// The wanted name.
        name: InstanceName,
        /// Who has it.
        identity: String,
    },
    /// The identity belongs to another name.
    #[error("{identity} is registered already, as the instance {name}; an identity speaks for one instance only")]
    IdentityTaken {
        /// The wanted identity.
        identity: String,
        /// What it is registered as.
        name: String,
    },
    /// Too many tags.
    #[error("{0} would have more than {MOST_TAGS} tags; remove some first")]
    TooManyTags(InstanceName),
    /// The database failed.
    #[error("the instance could not be registered: {0}")]
    Database(#[from] sqlx::Error),
}

/// An instance as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `arn:aws:codedeploy:…:instance/<name>_<10 random>`.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Who its agent is.
    pub identity: Identity,
    /// When it was registered.
    pub registered: Moment,
    /// When it was deregistered, if it was.
    pub deregistered: Option<Moment>,
    /// When its agent was last heard, to some seconds.
    pub last_seen: Option<Moment>,
    /// The version that its agent gave then, such as `slipway-agent/0.1.0`.
    pub agent_version: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

impl FromRow<'_, SqliteRow> for Instance {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            arn: row.try_get("arn")?,
            name: row.try_get("name")?,
            identity: Identity { kind: row.try_get("identity_kind")?, arn: row.try_get("identity_arn")? },
            registered: row.try_get("registered_ms")?,
            deregistered: row.try_get("deregistered_ms")?,
            last_seen: row.try_get("last_seen_ms")?,
            agent_version: row.try_get("agent_version")?,
            tags: Tags::new(),
        })
    }
}

/// Registers an instance; the same name and identity again are no error.
///
/// # Errors
/// If the name or the identity belongs to another registration.
pub async fn register(
    pool: &SqlitePool,
    realm: &Realm,
    registration: &Registration,
) -> Result<Registered, RegisterError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let registered = insert(&mut tx, realm, registration).await?;
    tx.commit().await?;
    Ok(registered)
}

async fn insert(
    db: &mut SqliteConnection,
    realm: &Realm,
    Registration { name, identity, tags }: &Registration,
) -> Result<Registered, RegisterError> {
    let (arn, registered) = match by_name(db, name.as_str()).await? {
        Some(found) if found.deregistered.is_none() => {
            if found.identity.arn != identity.arn {
                return Err(RegisterError::NameTaken { name: name.clone(), identity: found.identity.arn });
            }
            (found.arn, Registered::Already)
        }
        _ => {
            if let Some(other) = by_identity(db, &identity.arn).await? {
                return Err(RegisterError::IdentityTaken { identity: identity.arn.clone(), name: other.name });
            }
            let arn = realm.arn(&format!("instance/{name}_{}", ids::characters(10)));
            sqlx::query(
                "INSERT INTO instances (arn, name, identity_kind, identity_arn, registered_ms) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(&arn)
            .bind(name.as_str())
            .bind(identity.kind)
            .bind(&identity.arn)
            .bind(Moment::now())
            .execute(&mut *db)
            .await?;
            (arn, Registered::New)
        }
    };
    if !set_tags(db, &arn, tags).await? {
        return Err(RegisterError::TooManyTags(name.clone()));
    }
    Ok(registered)
}

/// Sets tags of an instance; a key that it has gets the new value. False if there would be more
/// than [`MOST_TAGS`]: the caller rolls back.
///
/// # Errors
/// Those of the database.
pub async fn set_tags(db: &mut SqliteConnection, arn: &str, tags: &[Tag]) -> sqlx::Result<bool> {
    for tag in tags {
        sqlx::query(
            "INSERT INTO instance_tags (instance_arn, key, value) VALUES (?, ?, ?) \
             ON CONFLICT (instance_arn, key) DO UPDATE SET value = excluded.value",
        )
        .bind(arn)
        .bind(&tag.key)
        .bind(&tag.value)
        .execute(&mut *db)
        .await?;
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM instance_tags WHERE instance_arn = ?")
        .bind(arn)
        .fetch_one(&mut *db)
        .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX) <= MOST_TAGS)
}

/// Removes tags of an instance: those whose key is there with the same value, or with any if none
/// is given.
///
/// # Errors
/// Those of the database.
pub async fn remove_tags(db: &mut SqliteConnection, arn: &str, tags: &[Tag]) -> sqlx::Result<()> {
    for tag in tags {
        sqlx::query("DELETE FROM instance_tags WHERE instance_arn = ?1 AND key = ?2 AND (value = ?3 OR ?3 = '')")
            .bind(arn)
            .bind(&tag.key)
            .bind(&tag.value)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Deregisters the instance of this name, if there is one, and returns the identities that it has or had and that no
/// registered instance has: the ARNs of agents, whose keys have to end with it.
///
/// # Errors
/// Those of the database.
pub async fn deregister(db: &mut SqliteConnection, name: &InstanceName) -> sqlx::Result<Vec<String>> {
    sqlx::query("UPDATE instances SET deregistered_ms = ? WHERE name = ? AND deregistered_ms IS NULL")
        .bind(Moment::now())
        .bind(name.as_str())
        .execute(&mut *db)
        .await?;
    sqlx::query_scalar(
        "SELECT DISTINCT identity_arn FROM instances WHERE name = ? AND identity_arn NOT IN \
         (SELECT identity_arn FROM instances WHERE deregistered_ms IS NULL)",
    )
    .bind(name.as_str())
    .fetch_all(db)
    .await
}

/// The instance of this name: the registered one, else the one deregistered last.
///
/// # Errors
/// Those of the database.
pub async fn by_name(db: &mut SqliteConnection, name: &str) -> sqlx::Result<Option<Instance>> {
    let found: Option<Instance> = sqlx::query_as(
        "SELECT * FROM instances WHERE name = ? ORDER BY deregistered_ms IS NULL DESC, deregistered_ms DESC LIMIT 1",
    )
    .bind(name)
    .fetch_optional(&mut *db)
    .await?;
    let Some(mut instance) = found else { return Ok(None) };
    let tags: Vec<(String, String)> = sqlx::query_as("SELECT key, value FROM instance_tags WHERE instance_arn = ?")
        .bind(&instance.arn)
        .fetch_all(db)
        .await?;
    instance.tags = tags.into_iter().collect();
    Ok(Some(instance))
}

/// The registered instance whose agent has this identity, without its tags.
///
/// # Errors
/// Those of the database.
pub async fn by_identity(db: &mut SqliteConnection, arn: &str) -> sqlx::Result<Option<Instance>> {
    sqlx::query_as("SELECT * FROM instances WHERE identity_arn = ? AND deregistered_ms IS NULL")
        .bind(arn)
        .fetch_optional(db)
        .await
}

/// An agent that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The time.
    pub at: Moment,
    /// The version that it gave, at most 100 characters.
    pub agent: Option<String>,
}

/// Stores that an agent was heard.
///
/// # Errors
/// Those of the database.
pub async fn store_seen(db: &mut SqliteConnection, identity_arn: &str, seen: &Seen) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE instances SET last_seen_ms = ?, agent_version = coalesce(?, agent_version) \
         WHERE identity_arn = ? AND deregistered_ms IS NULL",
    )
    .bind(seen.at)
    .bind(&seen.agent)
    .bind(identity_arn)
    .execute(db)
    .await?;
    Ok(())
}

/// All instances, by name, with their tags.
///
/// # Errors
/// Those of the database.
pub async fn all(db: &mut SqliteConnection) -> sqlx::Result<Vec<Instance>> {
    let mut instances: Vec<Instance> =
        sqlx::query_as("SELECT * FROM instances ORDER BY name, deregistered_ms").fetch_all(&mut *db).await?;
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT instance_arn, key, value FROM instance_tags").fetch_all(db).await?;
    let mut tags: BTreeMap<String, Tags> = BTreeMap::new();
    for (arn, key, value) in rows {
        tags.entry(arn).or_default().insert(key, value);
    }
    for instance in &mut instances {
        instance.tags = tags.remove(&instance.arn).unwrap_or_default();
    }
    Ok(instances)
}

impl From<RegisterError> for ApiError {
    fn from(error: RegisterError) -> Self {
        let name = match &error {
            RegisterError::NameTaken { .. } => "InstanceNameAlreadyRegisteredException",
            RegisterError::IdentityTaken { identity, .. } => match Identity::parse(identity).map(|found| found.kind) {
                Some(IdentityKind::Session) => "IamSessionArnAlreadyRegisteredException",
                _ => "IamUserArnAlreadyRegisteredException",
            },
            RegisterError::TooManyTags(_) => "TagLimitExceededException",
            RegisterError::Database(_) => return Self::internal(error),
        };
        Self::client(name, error.to_string())
    }
}

#[cfg(test)]
mod tests;
