//! The volumes of agents, and the network they share.

use std::collections::HashMap;

use bollard::models::{Network, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
};

use super::Engine;
use super::error::{EngineError, EngineErrorReason, classify, exists, ignore_missing, is_missing};
use super::spec::{LABEL_AGENT, LABEL_JOB, LABEL_ORGANIZATION, NETWORK, size_option};
use crate::domain::fleet::AgentsNetwork;
use crate::failure::with_reason;
use crate::random::random_bytes;

/// The driver's option that lets containers of a network reach each other unless it is `false`.
const INTER_CONTAINER_OPTION: &str = "com.docker.network.bridge.enable_icc";
/// The driver's option that names the network's bridge on the host.
const BRIDGE_OPTION: &str = "com.docker.network.bridge.name";
/// The hosts' packet filters know the bridges of agents by it: see `functions/hosts/milady-isolation`.
const BRIDGE_PREFIX: &str = "mly-";
/// Docker names a bridge that the options do not name by the prefix and so many digits of the network's id.
const DEFAULT_BRIDGE_PREFIX: &str = "br-";
const DEFAULT_BRIDGE_DIGITS: usize = 12;

/// A volume that this product made. The labels hold whatever was written into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentVolume {
    pub name: String,
    /// The label with the agent.
    pub agent: String,
    /// The label with the agent's organization.
    pub organization: String,
}

impl Engine {
    /// The labelled volumes that no container uses.
    pub async fn list_unused_volumes(&self) -> Result<Vec<AgentVolume>, EngineError> {
        let filters = HashMap::from([("label", vec![LABEL_AGENT]), ("dangling", vec!["true"])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = self.docker.list_volumes(Some(options)).await;
        let volumes = volumes.map_err(classify)?.volumes.unwrap_or_default();
        let volumes = volumes.into_iter().filter_map(|mut volume| {
            Some(AgentVolume {
                name: volume.name,
                agent: volume.labels.remove(LABEL_AGENT)?,
                organization: volume.labels.remove(LABEL_ORGANIZATION)?,
            })
        });
        Ok(volumes.collect())
    }

    pub async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        exists(self.docker.inspect_volume(name).await)
    }

    /// The job that created a volume. `None` if the volume is gone, or if its label names none.
    pub async fn volume_job(&self, name: &str) -> Result<Option<String>, EngineError> {
        match self.get(&format!("/volumes/{name}")).await {
            Ok(volume) => Ok(volume["Labels"][LABEL_JOB].as_str().map(str::to_owned)),
            Err(error) if is_missing(error.reason()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many bytes the files of a volume have. `None` if the engine does not say it. Only `GET /system/df` does (Docker's
    /// API reference: `UsageData` is omitted in other answers); Podman answers in the same form. It adds up the files of
    /// every volume, so it can take long.
    pub async fn volume_size(&self, name: &str) -> Result<Option<u64>, EngineError> {
        let version = self.usage_version;
        let (major, minor) = (version.major, version.minor);
        let path = format!("/v{major}.{minor}/system/df?type=volume");
        let usage = self.socket.get(&path).await?;
        let mut volumes = usage["Volumes"].as_array().into_iter().flatten();
        let volume = volumes.find(|volume| volume["Name"] == name);
        // Docker writes -1 for a size that is not known.
        Ok(volume.and_then(|volume| volume["UsageData"]["Size"].as_u64()))
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
        disk_bytes: Option<u64>,
    ) -> Result<(), EngineError> {
        if self.has_volume(name).await? {
            // Docker would refuse it if it was made with another limit.
            return Ok(());
        }
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels),
            driver_opts: disk_bytes.map(size_option),
            ..VolumeCreateRequest::default()
        };
        self.docker.create_volume(request).await.map_err(classify)?;
        Ok(())
    }

    /// The networks of the agents, one as a rule.
    pub async fn read_agents_networks(&self) -> Result<Vec<AgentsNetwork>, EngineError> {
        let networks = self.networks().await?;
        let networks = networks.iter().map(|network| AgentsNetwork {
            bridge: bridge(network),
            separates_agents: is_isolated(network),
        });
        Ok(networks.collect())
    }

    /// Makes sure that there is exactly one network of the agents, and that they cannot reach each other in it (F77).
    /// Jobs that find none at the same moment create one each, and Docker refuses to start containers while the name is
    /// ambiguous.
    ///
    /// A new network has a bridge of a random name: engines that share a machine must not share a bridge, and an engine
    /// whose disk was full when it stored a network refuses the name of that network's bridge from then on.
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
        if networks.first().is_some_and(|best| !is_isolated(best)) {
            return Err(EngineErrorReason::NetworkNotIsolated.into());
        }
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
        let digits = random_bytes().map_err(with_reason(EngineErrorReason::Refused))?;
        let digits = u32::from_ne_bytes(digits);
        let options = [
            (INTER_CONTAINER_OPTION, "false".to_owned()),
            (BRIDGE_OPTION, format!("{BRIDGE_PREFIX}{digits:08x}")),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value));
        let request = NetworkCreateRequest {
            name: NETWORK.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some(options.into()),
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

fn bridge(network: &Network) -> String {
    let options = network.options.as_ref();
    let name = options.and_then(|options| options.get(BRIDGE_OPTION));
    name.cloned().unwrap_or_else(|| {
        let id = network.id.iter().flat_map(|id| id.chars());
        let digits: String = id.take(DEFAULT_BRIDGE_DIGITS).collect();
        format!("{DEFAULT_BRIDGE_PREFIX}{digits}")
    })
}

/// Whether agents in this network cannot reach each other.
fn is_isolated(network: &Network) -> bool {
    let options = network.options.as_ref();
    let option = options.and_then(|options| options.get(INTER_CONTAINER_OPTION));
    option.is_some_and(|value| value == "false")
}
