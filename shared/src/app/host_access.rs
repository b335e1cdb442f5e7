//! The way from a use case to a host. Owns: what working on hosts takes, who we are to
//! registries, and pinning the key that a host showed first. Does not own: the connections (`fleet`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sqlx::PgPool;
use tracing::{info, warn};
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::agent_databases::Databases;
use crate::db;
use crate::db::hosts::slots::Node;
use crate::db::agents::placement::Placement;
use crate::domain::agent::AgentStatus;
use crate::domain::container::{self, Images};
use crate::hosts::{
    AgentHttp, Connection, DOCKER_SOCKET, Engine, EngineError, Fingerprint, Fleet, HostError,
    Limits, RegistryAccount, Target,
};
use crate::secrets::{Secret, Secrets};

/// What agents are given of a host.
pub const LIMITS: Limits = Limits {
    memory: 2 << 30,
    nano_cpus: 2_000_000_000,
    pids: 512,
};

/// What working on hosts takes.
#[derive(Debug)]
pub struct Hosts {
    /// The connections.
    pub fleet: Fleet,
    /// Where agents have databases of their own.
    pub databases: Databases,
    /// The images they may run.
    pub images: Images,
    /// The registries' credentials: a JSON object of `{username, password}` by registry.
    pub registries: Option<Secret>,
    /// Where secrets are read.
    pub secrets: Secrets,
    /// The domain that agents are reached below.
    pub domain: Option<String>,
    /// Origins their pages may be called from.
    pub origins: Vec<String>,
    /// How long a started agent may take until it is healthy.
    pub health_within: Duration,
    /// Chance, for secrets.
    pub random: fn() -> Option<[u8; 32]>,
}

/// Why a host cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host or its engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The database.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
}

impl From<HostError> for OpenError {
    fn from(error: HostError) -> Self {
        Self::Engine(error.into())
    }
}

/// A host in hand.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) connection: Arc<Connection>,
    pub(crate) engine: Engine,
}

impl Host {
    /// Connects to a host and to its engine. A connection that was kept may have died unnoticed: then a
    /// new one is made, once.
    pub(crate) async fn open(pool: &PgPool, fleet: &Fleet, node: Node) -> Result<Self, OpenError> {
        let socket = target(&node).docker_socket;
        let mut connection = connect(pool, fleet, &node).await?;
        let mut engine = Engine::connect(Arc::clone(&connection), &socket).await;
        if let Err(EngineError::Host(HostError::Unreachable | HostError::Protocol)) = &engine
            && connection.channels_opened() > 1
        {
            fleet.forget(&node.node_id, &connection).await;
            connection = connect(pool, fleet, &node).await?;
            engine = Engine::connect(Arc::clone(&connection), &socket).await;
        }
        let engine = engine.inspect_err(|error| {
            warn!(node = node.node_id, %error, "a host's engine cannot be worked on");
        })?;
        Ok(Self {
            node,
            connection,
            engine,
        })
    }

    /// A setting in the node's metadata.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.node.metadata.get(name)?.as_str()
    }

    /// An agent's HTTP behind a port.
    pub(crate) fn agent(&self, port: u16) -> AgentHttp {
        AgentHttp::new(Arc::clone(&self.connection), port)
    }
}

/// A running agent's place and its host, for whoever wants to talk to it. None for one that does not run
/// or was asked to stop: what is not charged for does not work.
///
/// # Errors
/// The organization has no such agent; or the database failed.
pub(crate) async fn running(
    pool: &PgPool,
    agent: (Uuid, Uuid),
) -> Result<Option<(Placement, Node)>, RequestError> {
    let mut conn = pool.acquire().await?;
    let placement = db::agents::placement::placement_find(&mut conn, agent).await?;
    let placement = placement.ok_or(RequestError::NO_AGENT)?;
    if placement.status() != AgentStatus::Running || placement.stop_requested {
        return Ok(None);
    }
    let Some(node_id) = &placement.node_id else {
        return Ok(None);
    };
    let node = db::hosts::slots::node_find(&mut conn, node_id).await?;
    Ok(node.map(|node| (placement, node)))
}

/// The connection to a host, whose key is pinned if none was.
pub(crate) async fn connect(
    pool: &PgPool,
    fleet: &Fleet,
    node: &Node,
) -> Result<Arc<Connection>, OpenError> {
    let target = target(node);
    let connection = fleet.connect(&target).await.inspect_err(|error| {
        warn!(node = node.node_id, %error, "a host cannot be worked on");
    })?;
    if target.fingerprint.is_none() {
        pin(pool, &node.node_id, connection.fingerprint()).await?;
    }
    Ok(connection)
}

/// Where a host is, as its row says.
pub(crate) fn target(node: &Node) -> Target {
    let socket = node.metadata.get("dockerSocket");
    let socket = socket.and_then(|socket| socket.as_str());
    Target {
        node_id: node.node_id.clone(),
        hostname: node.hostname.clone(),
        port: u16::try_from(node.ssh_port).unwrap_or(22),
        user: node.ssh_user.clone(),
        fingerprint: node.host_key_fingerprint.as_deref().map(Fingerprint::known),
        docker_socket: socket
            .filter(|socket| socket.starts_with('/'))
            .unwrap_or(DOCKER_SOCKET)
            .to_owned(),
    }
}

/// A host without a pin is pinned to what it showed. Should another one have been pinned at the same
/// moment, this connection is not used.
async fn pin(pool: &PgPool, node_id: &str, shown: &Fingerprint) -> Result<(), OpenError> {
    let mut conn = pool.acquire().await?;
    if db::hosts::slots::node_pin(&mut conn, node_id, &shown.to_string()).await? {
        info!(
            node = node_id,
            "the host's key was pinned at its first connection"
        );
        return Ok(());
    }
    let node = db::hosts::slots::node_find(&mut conn, node_id).await?;
    let pinned = node.and_then(|node| node.host_key_fingerprint);
    if pinned.is_some_and(|pinned| Fingerprint::known(&pinned) == *shown) {
        Ok(())
    } else {
        Err(HostError::HostKeyMismatch.into())
    }
}

/// The accounts at registries are not there or not in their form. Neither they nor why is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The registry's credentials cannot be read")]
pub(crate) struct AccountsUnreadable;

/// Who we are to the registry of an image; none = nobody in particular.
pub(crate) async fn registry_account(
    secrets: &Secrets,
    accounts: Option<&Secret>,
    image: &str,
) -> Result<Option<RegistryAccount>, AccountsUnreadable> {
    #[derive(Deserialize)]
    struct Account {
        username: String,
        password: String,
    }
    let Some(accounts) = accounts else {
        return Ok(None);
    };
    let text = Box::pin(secrets.read(accounts)).await;
    let text = text.map_err(|_| AccountsUnreadable)?;
    let mut accounts: HashMap<String, Account> =
        serde_json::from_str(&text).map_err(|_| AccountsUnreadable)?;
    let registry = container::registry(image);
    Ok(accounts.remove(registry).map(|account| RegistryAccount {
        registry: registry.to_owned(),
        username: account.username,
        password: account.password,
    }))
}
