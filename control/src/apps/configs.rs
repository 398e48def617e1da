//! Deployment configurations: the built-in ones, and those that users make.

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};

use crate::clock::Moment;
use crate::error::ApiError;
use crate::health::{MinimumHealthy, MinimumType};
use crate::ids::{self, ConfigName};

/// Begins the names of the built-in ones.
pub const RESERVED_PREFIX: &str = "CodeDeployDefault.";
/// The name of the one that is taken where none is named.
pub const DEFAULT: &str = "CodeDeployDefault.OneAtATime";
/// Most custom configurations.
const MOST_CUSTOM: i64 = 50;

/// A deployment configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its rule.
    pub minimum: MinimumHealthy,
    /// When it was made; the built-in ones have an arbitrary time.
    pub created: Moment,
}

/// The API's `DeploymentConfigInfo`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigInfo<'c> {
    deployment_config_id: &'c str,
    deployment_config_name: &'c str,
    minimum_healthy_hosts: MinimumInfo,
    create_time: Moment,
    compute_platform: &'static str,
}

#[derive(Debug, Serialize)]
struct MinimumInfo {
    #[serde(rename = "type")]
    kind: MinimumType,
    value: u32,
}

impl Config {
    /// As the API shows it.
    pub fn info(&self) -> ConfigInfo<'_> {
        ConfigInfo {
            deployment_config_id: &self.id,
            deployment_config_name: &self.name,
            minimum_healthy_hosts: MinimumInfo { kind: self.minimum.kind, value: self.minimum.value },
            create_time: self.created,
            compute_platform: "Server",
        }
    }
}

impl FromRow<'_, SqliteRow> for Config {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            minimum: MinimumHealthy { kind: row.try_get("minimum_type")?, value: row.try_get("minimum_value")? },
            created: row.try_get("created_ms")?,
        })
    }
}

/// The built-in configurations, the default first.
pub fn built_in() -> [Config; 3] {
    let config = |number: u32, name: &str, kind, value| Config {
        id: format!("00000000-0000-0000-0000-{number:012}"),
        name: format!("{RESERVED_PREFIX}{name}"),
        minimum: MinimumHealthy { kind, value },
        created: Moment::from_millis(1_411_081_164_379),
    };
    [
        config(1, "OneAtATime", MinimumType::MostConcurrency, 1),
        config(2, "HalfAtATime", MinimumType::FleetPercent, 50),
        config(3, "AllAtOnce", MinimumType::HostCount, 0),
    ]
}

/// The configuration of this name.
///
/// # Errors
/// `DeploymentConfigDoesNotExistException`.
pub async fn find(db: &mut SqliteConnection, name: &str) -> Result<Config, ApiError> {
    by_name(db, name).await?.ok_or_else(|| {
        ApiError::client(
            "DeploymentConfigDoesNotExistException",
            format!("There is no deployment configuration {name}; `aws deploy list-deployment-configs` shows them."),
        )
    })
}

/// The configuration of this name, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn by_name(db: &mut SqliteConnection, name: &str) -> sqlx::Result<Option<Config>> {
    if let Some(config) = built_in().into_iter().find(|config| config.name == name) {
        return Ok(Some(config));
    }
    sqlx::query_as("SELECT * FROM deployment_configs WHERE name = ?").bind(name).fetch_optional(db).await
}

/// Names of all, the built-in ones first.
///
/// # Errors
/// Those of the database.
pub async fn names(db: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let custom: Vec<String> =
        sqlx::query_scalar("SELECT name FROM deployment_configs ORDER BY name").fetch_all(db).await?;
    Ok(built_in().into_iter().map(|config| config.name).chain(custom).collect())
}

/// Makes a custom configuration and gives its id.
///
/// # Errors
/// `InvalidDeploymentConfigNameException` for a reserved name, `DeploymentConfigAlreadyExistsException`,
/// `DeploymentConfigLimitExceededException`.
pub async fn create(db: &mut SqliteConnection, name: &ConfigName, minimum: MinimumHealthy) -> Result<String, ApiError> {
    if name.as_str().starts_with(RESERVED_PREFIX) {
        return Err(ApiError::client(
            "InvalidDeploymentConfigNameException",
            format!("Names that begin with {RESERVED_PREFIX} are reserved; choose another than {name}."),
        ));
    }
    if by_name(db, name.as_str()).await?.is_some() {
        return Err(ApiError::client(
            "DeploymentConfigAlreadyExistsException",
            format!("There is a deployment configuration {name} already."),
        ));
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM deployment_configs").fetch_one(&mut *db).await?;
    if count >= MOST_CUSTOM {
        return Err(ApiError::client(
            "DeploymentConfigLimitExceededException",
            format!("There are {count} custom deployment configurations, the most there can be; delete one first."),
        ));
    }
    let id = ids::uuid();
    sqlx::query(
        "INSERT INTO deployment_configs (id, name, minimum_type, minimum_value, created_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(name.as_str())
    .bind(minimum.kind)
    .bind(minimum.value)
    .bind(Moment::now())
    .execute(db)
    .await?;
    Ok(id)
}

/// Removes a custom configuration; one that is not there is no error.
///
/// # Errors
/// `InvalidOperationException` for a built-in one, `DeploymentConfigInUseException`.
pub async fn delete(db: &mut SqliteConnection, name: &ConfigName) -> Result<(), ApiError> {
    if name.as_str().starts_with(RESERVED_PREFIX) {
        return Err(ApiError::client(
            "InvalidOperationException",
            format!("{name} is built in and cannot be deleted."),
        ));
    }
    let user: Option<String> = sqlx::query_scalar(
        "SELECT name FROM deployment_groups WHERE json_extract(settings, '$.deploymentConfigName') = ? LIMIT 1",
    )
    .bind(name.as_str())
    .fetch_optional(&mut *db)
    .await?;
    if let Some(group) = user {
        return Err(ApiError::client(
            "DeploymentConfigInUseException",
            format!("The deployment group {group} uses {name}; give it another configuration first."),
        ));
    }
    sqlx::query("DELETE FROM resource_tags WHERE resource_id IN (SELECT id FROM deployment_configs WHERE name = ?)")
        .bind(name.as_str())
        .execute(&mut *db)
        .await?;
    sqlx::query("DELETE FROM deployment_configs WHERE name = ?").bind(name.as_str()).execute(db).await?;
    Ok(())
}
