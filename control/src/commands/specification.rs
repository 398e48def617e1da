//! GetDeploymentSpecification: what to deploy, signed.

use slipway_protocol::commands::{
    Envelope, GetDeploymentSpecificationInput, GetDeploymentSpecificationOutput, SpecificationEnvelopes,
};
use slipway_protocol::wire::FORMAT_PKCS7_JSON;

use super::{client, require_own};
use crate::clock::Moment;
use crate::deployments::{by_id, specification};
use crate::error::ApiError;
use crate::service::Service;

pub(super) async fn handle(
    service: &Service,
    host: &str,
    input: GetDeploymentSpecificationInput,
) -> Result<GetDeploymentSpecificationOutput, ApiError> {
    require_own(host, &input.host_identifier)?;
    let unknown = || client("There is no deployment of this execution id for this host.");
    let id = specification::deployment_of(&input.deployment_execution_id).ok_or_else(unknown)?;
    let mut reader = service.pool().acquire().await?;
    let is_target: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM targets WHERE host_identifier = ?1 AND deployment_id = ?2 \
             AND EXISTS (SELECT 1 FROM instances WHERE identity_arn = ?1 AND deregistered_ms IS NULL)",
    )
    .bind(host)
    .bind(id.as_str())
    .fetch_optional(&mut *reader)
    .await?;
    if is_target.is_none() {
        return Err(unknown());
    }
    let deployment = by_id(&mut reader, id.as_str()).await?.ok_or_else(unknown)?;
    drop(reader);
    let content = specification::content(&deployment, host, Moment::now());
    let payload = service.sign(&serde_json::to_vec(&content).map_err(ApiError::internal)?)?;
    Ok(GetDeploymentSpecificationOutput {
        deployment_system: Some("CodeDeploy".to_owned()),
        deployment_specification: Some(SpecificationEnvelopes {
            generic_envelope: Some(Envelope::new(FORMAT_PKCS7_JSON, payload)),
            variant_id: None,
            variant_envelope: None,
        }),
    })
}
