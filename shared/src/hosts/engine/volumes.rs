//! The volumes of agents, and the network they share.

use std::collections::HashMap;

use bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{ListNetworksOptionsBuilder, RemoveVolumeOptions};

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

    /// Makes sure that there is exactly one network of the agents. Jobs that find none at the same moment create one
    /// each, and Docker refuses to start containers while the name is ambiguous.
    pub(super) async fn ensure_network(&self) -> Result<(), EngineError> {
        let mut ids = self.network_ids().await?;
        if ids.is_empty() {
            let created = self.create_network().await;
            ids = self.network_ids().await?;
            // Another job may have created it meanwhile.
            if ids.is_empty() {
                return created;
            }
        }
        // All jobs remove in the same order. Docker keeps a network that containers use.
        ids.sort_unstable();
        let mut count = ids.len();
        for id in ids.iter().rev() {
            if count == 1 {
                break;
            }
            let removed = ignore_missing(self.docker.remove_network(id).await);
            match removed.map_err(|error| (error.reason(), error)) {
                Ok(()) => count -= 1,
                Err((EngineErrorReason::Refused, _)) => {}
                Err((_, error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn create_network(&self) -> Result<(), EngineError> {
        // Without inter-container communication agents cannot reach each other.
        let option = "com.docker.network.bridge.enable_icc";
        let request = NetworkCreateRequest {
            name: NETWORK.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some(HashMap::from([(option.to_owned(), "false".to_owned())])),
            ..NetworkCreateRequest::default()
        };
        let created = self.docker.create_network(request).await;
        created.map(drop).map_err(classify)
    }

    async fn network_ids(&self) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("name", vec![NETWORK])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.docker.list_networks(Some(options)).await;
        // The filter also matches parts of names.
        let networks = networks.map_err(classify)?.into_iter();
        Ok(networks
            .filter(|network| network.name.as_deref() == Some(NETWORK))
            .filter_map(|network| network.id)
            .collect())
    }
}
