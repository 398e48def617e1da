//! Access keys: who may sign requests.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};
use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::instances::Identity;

/// Whose key it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// May do everything.
    Administrator(UserName),
    /// The agent of one host.
    Host(UserName),
    /// The agent of a host that was registered under this ARN: a user with a path, as `aws deploy register` makes them, or a
    /// session of a role.
    Identity(Identity),
}

/// The name of an administrator or a host: 1 to 100 of `[A-Za-z0-9+=,.@_-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

/// Twelve digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountId(String);

/// A key that was just made: the only moment at which its secret is shown.
pub struct NewKey {
    /// `AKIA…`, twenty characters.
    pub id: String,
    /// Forty characters.
    pub secret: Secret,
    /// `arn:aws:iam::<account>:user/<name>`.
    pub arn: String,
}

/// A secret access key. It has no `Debug` and is wiped when dropped.
pub struct Secret(Zeroizing<String>);

/// What may be shown of a key at any time.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecord {
    /// `AKIA…`.
    pub id: String,
    /// `administrator` or `host`.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's ARN.
    pub arn: String,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339, once it was revoked.
    pub revoked: Option<String>,
}

/// Why there is no such key, or none could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The name cannot be one.
    #[error("{0:?} cannot be a name: it takes 1 to 100 of the characters A-Z a-z 0-9 + = , . @ _ -")]
    Name(String),
    /// The name is kept for EC2 instances.
    #[error("{0:?} cannot be a host's name: names that begin with \"i-\" belong to EC2 instances")]
    InstanceName(String),
    /// The ARN cannot be a host's.
    #[error(
        "{0:?} is no host's identity: it is arn:aws:iam::<12 digits>:user/<name>, with a path before the name or without, or \
         arn:aws:sts::<12 digits>:assumed-role/<role>/<session>"
    )]
    Identity(String),
    /// The account cannot be one.
    #[error("{0:?} is no account id: it takes exactly twelve digits")]
    Account(String),
    /// Nothing to revoke.
    #[error("there is no key {0}, or it was revoked before; `slipway-control keys list` shows all")]
    Unknown(String),
    /// The operating system gave no random bytes.
    #[error("the system's random number generator failed; no key was made")]
    Random,
    /// The database failed.
    #[error("the keys in the database cannot be used: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes a key for `owner` and stores it.
///
/// # Errors
/// If the database or the random number generator fails.
pub async fn create(pool: &SqlitePool, owner: &Owner, account: &AccountId) -> Result<NewKey, KeysError> {
    let (kind, name, arn) = match owner {
        Owner::Administrator(name) => ("administrator", name.as_str(), name.arn(account)),
        Owner::Host(name) => ("host", name.as_str(), name.arn(account)),
        Owner::Identity(identity) => ("host", identity.name(), identity.arn.clone()),
    };
    let key = NewKey { id: random_id()?, secret: random_secret()?, arn };
    sqlx::query("INSERT INTO access_keys (id, secret, kind, name, arn, created_at) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(&key.id)
        .bind(key.secret.expose())
        .bind(kind)
        .bind(name)
        .bind(&key.arn)
        .bind(jiff::Timestamp::now().as_millisecond())
        .execute(pool)
        .await?;
    Ok(key)
}

/// All keys, revoked ones too, oldest first.
///
/// # Errors
/// If the database fails.
pub async fn list(pool: &SqlitePool) -> Result<Vec<KeyRecord>, KeysError> {
    let rows =
        sqlx::query("SELECT id, kind, name, arn, created_at, revoked_at FROM access_keys ORDER BY created_at, id")
            .fetch_all(pool)
            .await?;
    rows.iter().map(|row| Ok(KeyRecord::from_row(row)?)).collect()
}

/// Ends a key's validity, at once and for good.
///
/// # Errors
/// If there is no valid key of that id, or the database fails.
pub async fn revoke(pool: &SqlitePool, id: &str) -> Result<(), KeysError> {
    let done = sqlx::query("UPDATE access_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(jiff::Timestamp::now().as_millisecond())
        .bind(id)
        .execute(pool)
        .await?;
    if done.rows_affected() == 0 { Err(KeysError::Unknown(id.to_owned())) } else { Ok(()) }
}

/// The ids of the valid keys of the owner with that ARN, oldest first.
///
/// # Errors
/// If the database fails.
pub async fn valid_of(pool: &SqlitePool, arn: &str) -> Result<Vec<String>, KeysError> {
    let ids = sqlx::query_scalar(
        "SELECT id FROM access_keys WHERE arn = ? AND kind = 'host' AND revoked_at IS NULL ORDER BY created_at, id",
    );
    Ok(ids.bind(arn).fetch_all(pool).await?)
}

/// Ends all keys of the host with that ARN, and returns their ids.
///
/// # Errors
/// If the database fails.
pub async fn revoke_of(db: &mut SqliteConnection, arn: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE access_keys SET revoked_at = ? WHERE arn = ? AND kind = 'host' AND revoked_at IS NULL RETURNING id",
    )
    .bind(jiff::Timestamp::now().as_millisecond())
    .bind(arn)
    .fetch_all(db)
    .await
}

/// The owner and the secret of a valid key.
///
/// # Errors
/// If the database fails.
pub async fn find(pool: &SqlitePool, id: &str) -> Result<Option<(Caller, Secret)>, sqlx::Error> {
    let row = sqlx::query("SELECT id, secret, kind, arn FROM access_keys WHERE id = ? AND revoked_at IS NULL")
        .bind(id)
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (access_key_id, arn) = (row.try_get("id")?, row.try_get("arn")?);
    let caller = match row.try_get::<&str, _>("kind")? {
        "administrator" => Caller::Administrator { access_key_id, arn },
        _ => Caller::Host { access_key_id, host_arn: arn },
    };
    Ok(Some((caller, Secret(Zeroizing::new(row.try_get("secret")?)))))
}

impl UserName {
    /// Parses an administrator's name.
    ///
    /// # Errors
    /// If it has other characters, or too few or too many.
    pub fn parse(name: &str) -> Result<Self, KeysError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        if name.is_empty() || name.len() > 100 || !name.bytes().all(allowed) {
            return Err(KeysError::Name(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// Parses an on-premises host's name.
    ///
    /// # Errors
    /// As for an administrator's, and if it looks like an EC2 instance's id.
    pub fn parse_host(name: &str) -> Result<Self, KeysError> {
        if name.starts_with("i-") {
            return Err(KeysError::InstanceName(name.to_owned()));
        }
        Self::parse(name)
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `arn:aws:iam::<account>:user/<name>`.
    pub fn arn(&self, account: &AccountId) -> String {
        format!("arn:aws:iam::{}:user/{}", account.0, self.0)
    }
}

impl AccountId {
    /// Parses twelve digits.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(KeysError::Account(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// The secret itself, for signing and for the one moment of its handing out.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl KeyRecord {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            name: row.try_get("name")?,
            arn: row.try_get("arn")?,
            created: rfc3339(row.try_get("created_at")?),
            revoked: row.try_get::<Option<i64>, _>("revoked_at")?.map(rfc3339),
        })
    }
}

fn rfc3339(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

/// The form that clients know: a prefix and sixteen of the base32 alphabet.
fn random_id() -> Result<String, KeysError> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| KeysError::Random)?;
    let tail = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    Ok("AKIA".chars().chain(tail).collect())
}

/// 240 bits, forty characters of base64.
fn random_secret() -> Result<Secret, KeysError> {
    let mut random = Zeroizing::new([0; 30]);
    rand::fill(random.as_mut_slice()).map_err(|_| KeysError::Random)?;
    Ok(Secret(Zeroizing::new(STANDARD.encode(random.as_slice()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db;

    #[tokio::test]
    async fn a_key_is_found_until_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let pool = db::open(directory.path()).await.unwrap();
        let account = AccountId::parse("123456789012").unwrap();
        let owner = Owner::Host(UserName::parse_host("web-1").unwrap());
        let key = create(&pool, &owner, &account).await.unwrap();
        assert_eq!((key.id.len(), key.secret.expose().len()), (20, 40));
        assert_eq!(key.arn, "arn:aws:iam::123456789012:user/web-1");

        let (caller, secret) = find(&pool, &key.id).await.unwrap().unwrap();
        assert_eq!(caller, Caller::Host { access_key_id: key.id.clone(), host_arn: key.arn.clone() });
        assert_eq!(secret.expose(), key.secret.expose());

        revoke(&pool, &key.id).await.unwrap();
        assert!(find(&pool, &key.id).await.unwrap().is_none());
        assert!(matches!(revoke(&pool, &key.id).await, Err(KeysError::Unknown(_))));
        let all = list(&pool).await.unwrap();
        assert_eq!((all.len(), all[0].name.as_str(), all[0].kind.as_str()), (1, "web-1", "host"));
        assert!(all[0].revoked.is_some());
    }

    #[test]
    fn names_and_accounts_are_parsed() {
        for good in ["a", "Web.1@x_y-z+=,", &"n".repeat(100)] {
            UserName::parse(good).unwrap();
        }
        for bad in ["", "a b", "a/b", "ä", &"n".repeat(101)] {
            assert!(UserName::parse(bad).is_err(), "{bad}");
        }
        assert!(UserName::parse_host("i-0123").is_err());
        assert!(AccountId::parse("12345678901").is_err());
        assert!(AccountId::parse("12345678901x").is_err());
    }
}
