//! The event of the deployment's function: a request of CloudFormation, or `{}`, applies the migrations; `{"adopt": true}`
//! also takes over from an older biller; `{"linkSuperAdmins": true}` lets super admins be recognized by their user where no
//! wallet is verified; `{"decrypt": true}` writes agents' secrets back in plain text for an older application;
//! `{"bootstrap": {organization, email, wallet}}` also sets up the first organization and returns its key, once.

mod custom_resource;
mod deploy;

use std::fmt::Display;

use serde_json::Value;

use crate::api::deps::DeploymentDeps;
use crate::cloud_formation::ResourceRequest;
use crate::invocation::Invocation;
use deploy::deploy;
pub use deploy::{DeployError, Deployed};

/// Carries the event out. A request of CloudFormation is answered there, also without `deps`: the function must start even
/// if its settings are wrong, or the deployment would wait for its timeout.
pub async fn handle<E: Display>(
    deps: Result<&DeploymentDeps, E>,
    event: Value,
    invocation: Invocation,
) -> Result<Option<Deployed>, DeployError> {
    let deps = deps.map_err(|error| DeployError::Setting(error.to_string()));
    if let Some(request) = ResourceRequest::parse(&event) {
        let request = request.map_err(DeployError::InvalidEvent)?;
        custom_resource::handle(deps, &request, &invocation).await?;
        return Ok(None);
    }
    deploy(deps?, event).await.map(Some)
}
