//! The way from a use case to a host. Owns: connecting to the host that a row names, pinning the key that it
//! first presented, replacing a kept connection that died, stopping the containers of a lost host that answers again, and
//! our accounts at registries. Does not own: the connections (`hosts`).

use crate::db::Database;
use crate::domain::ids::AgentRef;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tracing::{info, warn};

use crate::agent_databases::AgentDatabases;
use crate::bucket::Bucket;
use crate::db;
use crate::db::agents::placement::RuntimeRecord;
use crate::db::hosts::coordinates::HostCoordinates;
use crate::domain::agent::AgentStatus;
use crate::domain::encrypted::OlderApplication;
use crate::domain::fleet::HostReadError;
use crate::domain::image::{Images, registry as registry_of};
use crate::domain::withdrawal::WithdrawalKind;
use crate::encryption::EncryptionKeys;
use crate::failure::{Failure, with_reason};
use crate::hosts::{
    AgentHttp, Connection, DOCKER_SOCKET, Engine, EngineError, EngineErrorReason, Fingerprint,
    HostClient, HostError, RegistryAccount, Target,
};
use crate::secrets::KeptSecret;

/// What jobs need to work on hosts.
#[derive(Debug)]
pub struct JobHostDeps {
    pub hosts: HostClient,
    pub databases: AgentDatabases,
    /// The images that agents may run.
    pub images: Images,
    /// The accounts at registries: a JSON object of `{username, password}` by registry.
    pub registries: Option<KeptSecret>,
    /// Where the states of backups are kept; in the database if there is no bucket.
    pub bucket: Option<Bucket>,
    /// Encrypt and decrypt what the database holds of agents' secrets.
    pub keys: EncryptionKeys,
    pub older_application: OlderApplication,
    /// Agents are reached at `<agent id>.<domain>`.
    pub domain: Option<String>,
    /// Origins that agents' pages may be called from.
    pub origins: Vec<String>,
    /// How long a started agent may take until it is healthy.
    pub health_within: Duration,
    /// Random bytes for secrets.
    pub random: fn() -> Option<[u8; 32]>,
}

/// How long a container of a lost host may take to end by itself. Short, because the inspection of a host may take ten
/// seconds for all of them; the next one stops those that are left.
const LOST_STOP_GRACE: Duration = Duration::from_secs(2);
const MAX_CONCURRENT_STOPS: usize = 4;

/// Why a host cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the database request failed")]
    Database(#[from] sqlx::Error),
}

impl From<HostError> for OpenError {
    fn from(error: HostError) -> Self {
        Self::Engine(error.into())
    }
}

/// A host with an open connection and its Docker Engine.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) node: HostCoordinates,
    pub(crate) connection: Arc<Connection>,
    pub(crate) engine: Engine,
}

impl Host {
    /// Connects to a host and to its Docker Engine.
    pub(crate) async fn open(
        pool: &Database,
        hosts: &HostClient,
        node: HostCoordinates,
    ) -> Result<Self, OpenError> {
        let socket: Arc<str> = target(&node).docker_socket.into();
        let connect_engine = |connection| {
            let socket = Arc::clone(&socket);
            async move { Engine::connect(connection, &socket).await }
        };
        // Other errors tell of the host, not of the connection.
        let is_dead = |error: &EngineError| {
            matches!(
                error.reason(),
                EngineErrorReason::Host(HostReadError::Unreachable | HostReadError::Protocol)
            )
        };
        let checked = connect_and_check(pool, hosts, &node, connect_engine, is_dead).await;
        let (connection, engine) = checked?;
        if node.is_lost {
            stop_containers(pool, &engine, &node.node_id).await?;
        }
        Ok(Self {
            node,
            connection,
            engine,
        })
    }

    /// A text in the host's metadata.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.node.metadata.get(name)?.as_str()
    }

    /// The HTTP server of the agent behind a port of the host.
    pub(crate) fn agent(&self, port: u16) -> AgentHttp {
        AgentHttp::new(Arc::clone(&self.connection), port)
    }
}

/// An agent that runs, and its host.
#[derive(Debug)]
pub(crate) struct RunningAgent {
    pub(crate) record: RuntimeRecord,
    pub(crate) node: HostCoordinates,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FindAgentError {
    #[error("the organization has no such agent")]
    NoAgent,
    #[error("the database request failed")]
    Database(#[from] sqlx::Error),
}

/// The agent and its host if the agent runs. `None` if it does not run or was asked to stop: an agent that is
/// not charged for must not do work.
pub(crate) async fn find_running_agent(
    pool: &Database,
    agent: AgentRef,
) -> Result<Option<RunningAgent>, FindAgentError> {
    let mut conn = pool.statements();
    let record = db::agents::placement::runtime_record_find(&mut conn, agent).await?;
    let record = record.ok_or(FindAgentError::NoAgent)?;
    if record.status() != AgentStatus::Running || record.stop_requested {
        return Ok(None);
    }
    let Some(node_id) = &record.node_id else {
        return Ok(None);
    };
    let node = db::hosts::coordinates::host_find(&mut conn, node_id).await?;
    Ok(node.map(|node| RunningAgent { record, node }))
}

/// Connects to a host. Pins the key that the host presented if none is pinned.
pub(crate) async fn connect(
    pool: &Database,
    hosts: &HostClient,
    node: &HostCoordinates,
) -> Result<Arc<Connection>, OpenError> {
    let target = target(node);
    let connection = hosts.connect(&target).await.inspect_err(|error| {
        let cause = error.cause();
        warn!(node.id = node.node_id, %error, cause, "connecting to the host failed");
    })?;
    if target.fingerprint.is_none() {
        pin(pool, &node.node_id, connection.fingerprint()).await?;
    }
    if target.key_type.as_deref() != Some(connection.key_type()) {
        let presented = format!("{} {}", connection.key_type(), connection.fingerprint());
        let mut conn = pool.statements();
        db::hosts::coordinates::host_record_key(&mut conn, &node.node_id, &presented).await?;
    }
    Ok(connection)
}

/// Connects to a host and uses the connection for the first time.
///
/// A connection that was kept may have died without notice. If the first use of a kept connection fails and
/// `is_dead` blames the connection, it is replaced by a new one and used again, once.
pub(crate) async fn connect_and_check<T, F>(
    pool: &Database,
    hosts: &HostClient,
    node: &HostCoordinates,
    check: impl Fn(Arc<Connection>) -> F,
    is_dead: impl Fn(&EngineError) -> bool,
) -> Result<(Arc<Connection>, T), OpenError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let mut connection = connect(pool, hosts, node).await?;
    let was_kept = connection.channels_opened() > 0;
    let mut checked = check(Arc::clone(&connection)).await;
    if was_kept && checked.as_ref().is_err_and(is_dead) {
        hosts.discard(&node.node_id, &connection).await;
        connection = connect(pool, hosts, node).await?;
        checked = check(Arc::clone(&connection)).await;
    }
    let checked = checked.inspect_err(|error| {
        let cause = error.cause();
        warn!(node.id = node.node_id, %error, cause, "the host was reached, but cannot be used");
    })?;
    Ok((connection, checked))
}

/// Stops all agents' containers on a host that was declared lost and answers again, before anything else is done there:
/// their agents may run on other hosts by now. Containers and volumes stay. Records that the host has returned.
pub(crate) async fn stop_containers(
    pool: &Database,
    engine: &Engine,
    node_id: &str,
) -> Result<(), OpenError> {
    let containers = engine.list_containers().await?;
    let running = containers
        .into_iter()
        .filter(|container| container.is_agent_container() && !container.state().has_ended());
    let ids: Vec<String> = running.map(|container| container.id).collect();
    let stopped = ids.len();
    let stops = stream::iter(ids).map(|id| async move { engine.stop(&id, LOST_STOP_GRACE).await });
    let stops = stops.buffer_unordered(MAX_CONCURRENT_STOPS);
    stops.try_collect::<Vec<()>>().await?;
    if stopped > 0 {
        warn!(
            node.id = node_id,
            containers = stopped,
            "a lost host answers; the agents' containers on it were stopped"
        );
    }
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let kind = WithdrawalKind::Loss;
    if db::hosts::withdrawals::withdrawal_finish(&mut conn, node_id, kind, now).await? {
        warn!(node.id = node_id, "a lost host has returned");
    }
    Ok(())
}

/// Where a host is, as its row says.
pub(crate) fn target(node: &HostCoordinates) -> Target {
    let socket = node.metadata.get("dockerSocket");
    let socket = socket.and_then(|socket| socket.as_str());
    let pin = node.host_key_fingerprint.as_deref();
    let pin = pin.map(Fingerprint::from_pin);
    let presented = node.presented_host_key.as_deref();
    let key_type = presented.and_then(|presented| {
        let (key_type, fingerprint) = presented.split_once(' ')?;
        (pin.is_some() && Fingerprint::parse(fingerprint) == pin).then(|| key_type.to_owned())
    });
    Target {
        node_id: node.node_id.clone(),
        hostname: node.hostname.clone(),
        port: u16::try_from(node.ssh_port).unwrap_or(22),
        user: node.ssh_user.clone(),
        fingerprint: pin,
        key_type,
        docker_socket: socket
            .filter(|socket| socket.starts_with('/'))
            .unwrap_or(DOCKER_SOCKET)
            .to_owned(),
    }
}

/// Pins the key of a host that has no pin. Fails if another run pinned another key at the same moment: then
/// the connection must not be used.
async fn pin(pool: &Database, node_id: &str, presented: &Fingerprint) -> Result<(), OpenError> {
    let mut conn = pool.statements();
    if db::hosts::coordinates::host_pin_key(&mut conn, node_id, &presented.to_string()).await? {
        info!(node.id = node_id, "host key pinned at the first connection");
        return Ok(());
    }
    let node = db::hosts::coordinates::host_find(&mut conn, node_id).await?;
    let pinned = node.and_then(|node| node.host_key_fingerprint);
    if pinned.is_some_and(|pinned| Fingerprint::from_pin(&pinned) == *presented) {
        Ok(())
    } else {
        Err(HostError::new(HostReadError::HostKeyMismatch).into())
    }
}

/// The accounts at registries are missing, or not in their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The registry's credentials cannot be read")]
pub struct AccountsUnreadable;

/// Our account at the registry of an image. `None` if we have none there: the pull is then anonymous.
pub(crate) async fn registry_account(
    accounts: Option<&KeptSecret>,
    image: &str,
) -> Result<Option<RegistryAccount>, Failure<AccountsUnreadable>> {
    #[derive(Deserialize)]
    struct Account {
        username: String,
        password: String,
    }
    let Some(accounts) = accounts else {
        return Ok(None);
    };
    let text = accounts.text().await;
    let text = text.map_err(with_reason(AccountsUnreadable))?;
    let mut accounts: HashMap<String, Account> =
        serde_json::from_str(&text).map_err(with_reason(AccountsUnreadable))?;
    let registry = registry_of(image);
    Ok(accounts.remove(registry).map(|account| RegistryAccount {
        registry: registry.to_owned(),
        username: account.username,
        password: account.password,
    }))
}
