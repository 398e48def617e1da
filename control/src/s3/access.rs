//! Who may do what in the embedded S3, and under which names it is addressed.

use rustls_pki_types::ServerName;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};
use sqlx::SqlitePool;

use super::failed;
use crate::caller::{Caller, Peer};
use crate::deployments::{self, Version};
use crate::keys;

/// What comes after a bundle's key in that of its signature.
const SIGNATURE: &str = ".minisig";

/// Looks up secrets, and decides by the owner of the key: an administrator may do everything, a host may
/// read the bundles of its own deployments, and their signatures. A host that could put one would own the fleet.
pub struct KeyAccess {
    pool: SqlitePool,
}

impl KeyAccess {
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

#[async_trait::async_trait]
impl S3Auth for KeyAccess {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match keys::find(&self.pool, access_key).await.map_err(failed("look up the access key"))? {
            Some((_, secret)) => Ok(SecretKey::from(secret.expose())),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "the access key {access_key} is not known here, or was revoked; `slipway-control keys list` shows the valid ones"
            )),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for KeyAccess {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = context.credentials() else {
            return Err(s3_error!(AccessDenied, "the request is not signed; configure an access key"));
        };
        // Once more by the id alone: the key may have been revoked since its secret was read.
        let found = keys::find(&self.pool, &credentials.access_key).await.map_err(failed("look up the access key"))?;
        let peer = context.extensions_mut().get::<Peer>().copied();
        let operation = context.s3_op().name();
        match (found.map(|(caller, _)| caller), operation, context.s3_path()) {
            (None, ..) => Err(s3_error!(InvalidAccessKeyId, "the access key was revoked")),
            (Some(caller @ Caller::Administrator { .. }), ..) => {
                log(operation, context.s3_path(), &caller, peer);
                Ok(())
            }
            (Some(Caller::Host { host_arn, .. }), "GetObject" | "HeadObject", S3Path::Object { bucket, key }) => {
                let version = asked_version(context.uri());
                let version = version.as_deref().map_or(Version::Newest, Version::Named);
                // A signature is no part of the revision: its newest version counts.
                let ways = [(Some(&**key), version), (key.strip_suffix(SIGNATURE), Version::Any)];
                for (bundle, version) in ways.into_iter().filter_map(|(bundle, version)| Some((bundle?, version))) {
                    let may = deployments::host_may_read(&self.pool, &host_arn, (bucket, bundle), version).await;
                    if may.map_err(failed("look up the host's deployments"))? {
                        return Ok(());
                    }
                }
                Err(s3_error!(
                    AccessDenied,
                    "{host_arn} may not read {bucket}/{key}: it is no registered host, or this version is not the bundle of one of \
                     its deployments"
                ))
            }
            (Some(Caller::Host { host_arn, .. }), ..) => Err(s3_error!(
                AccessDenied,
                "{host_arn} is a host: it may read its own bundles, and not call {operation}"
            )),
        }
    }
}

/// The version that a request names.
fn asked_version(uri: &http::Uri) -> Option<String> {
    let query = uri.query()?.as_bytes();
    url::form_urlencoded::parse(query).find(|(name, _)| name == "versionId").map(|(_, version)| version.into_owned())
}

/// Each change is told with who made it.
fn log(operation: &str, path: &S3Path, caller: &Caller, peer: Option<Peer>) {
    let (caller, key) = (caller.arn(), caller.access_key_id());
    let address = peer.map(|peer| peer.to_string()).unwrap_or_default();
    let object = match path {
        S3Path::Root => String::new(),
        S3Path::Bucket { bucket } => bucket.to_string(),
        S3Path::Object { bucket, key } => format!("{bucket}/{key}"),
    };
    if ["Get", "Head", "List"].iter().any(|reads| operation.starts_with(reads)) {
        tracing::debug!(operation, object, caller, key, address, "asked for");
    } else {
        tracing::info!(operation, object, caller, key, address, "asked for");
    }
}

/// The names under which `<bucket>.<name>` addresses a bucket, whatever the port.
pub struct HostNames {
    /// Lower case.
    names: Vec<String>,
}

impl HostNames {
    pub fn new(names: &[ServerName<'static>]) -> Self {
        let mut known = vec!["localhost".to_owned()];
        known.extend(names.iter().filter_map(|name| match name {
            ServerName::DnsName(name) => Some(name.as_ref().to_ascii_lowercase()),
            _ => None,
        }));
        // The longest first: with a name that ends in another, the bucket is what is before the longer one.
        known.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Self { names: known }
    }
}

impl S3Host for HostNames {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
        let lower = name.to_ascii_lowercase();
        if self.names.contains(&lower) {
            return Ok(VirtualHost::new(host));
        }
        let bucket = self.names.iter().find_map(|known| lower.strip_suffix(known.as_str())?.strip_suffix('.'));
        Ok(match bucket {
            Some(bucket) if !bucket.is_empty() => VirtualHost::new(host).with_bucket(bucket.to_owned()),
            // A name that was not given with --hostname (an alias, a balancer): then the path has the bucket.
            _ => VirtualHost::new(host),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_found_in_the_host_or_left_to_the_path() {
        let name = |name: &str| ServerName::try_from(name.to_owned()).unwrap();
        let hosts = HostNames::new(&[name("org.example"), name("s3.org.example"), name("192.0.2.1")]);
        let bucket = |host: &str| hosts.parse_host_header(host).unwrap().bucket().map(str::to_owned);
        assert_eq!(bucket("s3.org.example:8443"), None);
        assert_eq!(bucket("b.s3.org.example:8443").as_deref(), Some("b"));
        assert_eq!(bucket("B.c.S3.org.example").as_deref(), Some("b.c"));
        assert_eq!(bucket("b.org.example").as_deref(), Some("b"));
        assert_eq!(bucket("b.localhost:9").as_deref(), Some("b"));
        assert_eq!(bucket("localhost:9"), None);
        assert_eq!(bucket("elsewhere.test"), None);
        assert_eq!(bucket("xorg.example"), None);
    }
}
