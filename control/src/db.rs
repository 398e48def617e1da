//! The service's database: one SQLite file that several processes open at once (`serve`, and the
//! command line beside it).
//!
//! Commits are synced to the disk before they are acknowledged, since an agent forgets a result
//! once it was accepted.

#![allow(clippy::disallowed_methods, reason = "this module owns the database's file and its directory")]

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, SqlSafeStr};

use crate::error::ApiError;

/// Name of the database within the data directory.
pub const FILE: &str = "slipway.db";
/// How long a statement waits for another process's write.
const BUSY: Duration = Duration::from_secs(15);
/// Connections of one process. Writes follow each other anyhow, reads are short.
const CONNECTIONS: u32 = 8;

/// The schema's steps, oldest first. A step that was released is never edited: a correction is a
/// new step.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "core", include_str!("../migrations/0001_core.sql")),
    (2, "keys", include_str!("../migrations/0002_keys.sql")),
    (3, "objects", include_str!("../migrations/0003_objects.sql")),
    (4, "agent version", include_str!("../migrations/0004_agent_version.sql")),
];

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The data directory or the file in it could not be made.
    #[error("cannot create {path}: {source}; check the owner and the mode of the data directory")]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is there and is not usable as a database.
    #[error("cannot open the database {path}: {source}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// SQLite's answer.
        source: sqlx::Error,
    },
    /// A newer release has worked here.
    #[error(
        "the database {path} was written by a newer slipway-control (its schema has step {step}, this program knows \
         steps up to {newest}); start the newer program, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// A step that this program does not know.
        step: i64,
        /// The last step that it knows.
        newest: i64,
    },
    /// A step of the schema failed; nothing was changed.
    #[error("cannot bring the database {path} to this program's schema: {source}; it was left as it was")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// What failed.
        source: MigrateError,
    },
}

/// Opens the database in `data_dir`, makes both if they are not there, and brings the schema up to
/// this program's.
///
/// # Errors
/// If the file cannot be made, is no database, or belongs to a newer program.
pub async fn open(data_dir: &Path) -> Result<SqlitePool, DbError> {
    let path = data_dir.join(FILE);
    create_private(data_dir, &path)?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .after_release(|connection, _| Box::pin(ended_cleanly(connection)))
        .connect_with(options)
        .await
        .map_err(|source| DbError::Open { path: path.clone(), source })?;
    match migrate(&pool).await {
        Ok(()) => Ok(pool),
        Err(error) => {
            pool.close().await;
            Err(match error {
                MigrateError::VersionMissing(step) => {
                    let newest = MIGRATIONS.iter().map(|(number, ..)| *number).max().unwrap_or_default();
                    DbError::Newer { path, step, newest }
                }
                source => DbError::Migrate { path, source },
            })
        }
    }
}

/// Whether a connection can be handed out again. Where the disk is full or fails, SQLite rolls a transaction back by itself,
/// and `sqlx` still counts it: whoever got that connection next could begin nothing on it, for ever.
async fn ended_cleanly(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    // A transaction that was dropped is rolled back by the connection's own thread: this comes after that.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// The file holds the access keys' secrets: its owner's only, from its first byte. SQLite gives its
/// side files the same mode.
fn create_private(data_dir: &Path, path: &Path) -> Result<(), DbError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DbError::Create { path, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(failed(data_dir))?;
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(path))?;
    Ok(())
}

/// All steps in one transaction that holds the write lock, so that two processes that start
/// together do not both take a step, and a failing step leaves nothing.
async fn migrate(pool: &SqlitePool) -> Result<(), MigrateError> {
    let steps = MIGRATIONS
        .iter()
        .map(|&(number, name, sql)| {
            Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    let migrator = Migrator::with_migrations(steps);
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let connection: &mut SqliteConnection = &mut tx;
    migrator.run_direct(None, connection, false).await?;
    tx.commit().await?;
    Ok(())
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn opens_twice_and_keeps_commits_durable() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = open(&data).await.unwrap();
        let second = open(&data).await.unwrap();
        sqlx::query("CREATE TABLE t (x INTEGER)").execute(&first).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (7)").execute(&first).await.unwrap();
        let x: i64 = sqlx::query_scalar("SELECT x FROM t").fetch_one(&second).await.unwrap();
        assert_eq!(x, 7);
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&second).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&second).await.unwrap();
        let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&second).await.unwrap();
        assert_eq!((journal.as_str(), synchronous, keys), ("wal", 2, 1));
        for file in [FILE, "slipway.db-wal"] {
            assert_eq!(std::fs::metadata(data.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
    }

    #[tokio::test]
    async fn two_that_start_together_migrate_once() {
        let dir = tempfile::tempdir().unwrap();
        let opened = futures_util::future::join_all((0..6).map(|_| open(dir.path()))).await;
        for pool in opened {
            pool.unwrap().close().await;
        }
    }

    #[tokio::test]
    async fn refuses_a_newer_schema() {
        let dir = tempfile::tempdir().unwrap();
        let pool = open(dir.path()).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9000, 'from the future', TRUE, x'00', 1)",
        )
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
        let error = open(dir.path()).await.unwrap_err();
        assert!(matches!(error, DbError::Newer { step: 9000, .. }), "{error}");
        assert!(error.to_string().contains("newer slipway-control"), "{error}");
    }

    #[tokio::test]
    async fn says_what_is_wrong_with_a_file_that_is_no_database() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "not a database, but longer than a header would have to be ".repeat(40))
            .unwrap();
        let error = open(dir.path()).await.unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
