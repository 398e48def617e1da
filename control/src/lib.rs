//! Slipway's self-hosted control service: the public CodeDeploy API for operators, the commands
//! protocol for agents, and an embedded S3 for bundles, over one data directory.
//!
//! Modules import only from those above them in this list.

pub mod caller;
pub mod error;
pub mod data_dir;
pub mod envelope;
pub mod pki;
pub mod db;
pub mod keys;
pub mod sigv4;
pub mod deployments {
    //! Placeholder until the core is merged.
    use sqlx::SqlitePool;
    /// Whether a host may read an object.
    pub async fn host_may_read(_pool: &SqlitePool, _host: &str, _bucket: &str, _key: &str) -> Result<bool, sqlx::Error> {
        Ok(false)
    }
}
pub mod s3;
