//! The volumes of agents, and the network they share.

use std::collections::HashMap;

use bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::RemoveVolumeOptions;

use super::Engine;
use super::error::{EngineError, EngineErrorReason, classify, exists, ignore_missing};
use super::spec::NETWORK;

impl Engine {
    pub async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        exists(self.docker.inspect_volume(name).await)
    }

    /// Removes a volume. A volume that is gone is no error.
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let removed = self
            .docker
            .remove_volume(name, None::<RemoveVolumeOptions>)
            .await;
        ignore_missing(removed)
    }

    pub(super) async fn ensure_volume(
        &self,
        name: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), EngineError> {
        // Docker returns the existing volume if there is one of this name.
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        self.docker.create_volume(request).await.map_err(classify)?;
        Ok(())
    }

    pub(super) async fn ensure_network(&self) -> Result<(), EngineError> {
        if exists(self.docker.inspect_network(NETWORK, None).await)? {
            return Ok(());
        }
        // Without inter-container communication agents cannot reach each other.
        let option = "com.docker.network.bridge.enable_icc";
        let request = NetworkCreateRequest {
            name: NETWORK.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some(HashMap::from([(option.to_owned(), "false".to_owned())])),
            ..NetworkCreateRequest::default()
        };
        let created = self.docker.create_network(request).await.map_err(classify);
        match created.map_err(|error| (error.reason(), error)) {
            // Another job created it at the same moment.
            Ok(_) | Err((EngineErrorReason::NameTaken | EngineErrorReason::Refused, _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }
}
