//! The volumes of agents, and the network they share.

use std::collections::HashMap;

use bollard::models::{Network, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{ListNetworksOptionsBuilder, RemoveVolumeOptions};

use super::Engine;
use super::error::{EngineError, EngineErrorReason, classify, exists, ignore_missing};
use super::spec::NETWORK;

/// The driver's option that lets containers of a network reach each other unless it is `false`.
const INTER_CONTAINER_OPTION: &str = "com.docker.network.bridge.enable_icc";

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
    /// each, and Docker refuses to start containers while the name is ambiguous. A network in which agents cannot
    /// reach each other is kept in preference to one in which they can.
    pub(super) async fn ensure_network(&self) -> Result<(), EngineError> {
        let mut networks = self.networks().await?;
        if networks.is_empty() {
            let created = self.create_network().await;
            networks = self.networks().await?;
            // Another job may have created it meanwhile.
            if networks.is_empty() {
                return created;
            }
        }
        // All jobs remove in the same order. Docker keeps a network that containers use.
        networks.sort_unstable_by_key(|network| (!is_isolated(network), network.id.clone()));
        let ids = networks.iter().filter_map(|network| network.id.as_deref());
        let ids: Vec<&str> = ids.collect();
        let mut count = ids.len();
        for id in ids.into_iter().rev() {
            if count == 1 {
                break;
            }
            match ignore_missing(self.docker.remove_network(id).await) {
                Ok(()) => count -= 1,
                Err(error) if is_kept(error.reason()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn create_network(&self) -> Result<(), EngineError> {
        let request = NetworkCreateRequest {
            name: NETWORK.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some(HashMap::from([(
                INTER_CONTAINER_OPTION.to_owned(),
                "false".to_owned(),
            )])),
            ..NetworkCreateRequest::default()
        };
        let created = self.docker.create_network(request).await;
        created.map(drop).map_err(classify)
    }

    async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        let filters = HashMap::from([("name", vec![NETWORK])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.docker.list_networks(Some(options)).await;
        // The filter also matches parts of names.
        let networks = networks.map_err(classify)?.into_iter();
        Ok(networks
            .filter(|network| network.name.as_deref() == Some(NETWORK))
            .collect())
    }
}

/// Whether the engine kept a network because containers use it.
fn is_kept(reason: EngineErrorReason) -> bool {
    matches!(
        reason,
        EngineErrorReason::InUse | EngineErrorReason::StateConflict | EngineErrorReason::Refused
    )
}

/// Whether agents in this network cannot reach each other.
fn is_isolated(network: &Network) -> bool {
    let options = network.options.as_ref();
    let option = options.and_then(|options| options.get(INTER_CONTAINER_OPTION));
    option.is_some_and(|value| value == "false")
}
