//! A test world with simulated hosts: fleets that are larger or more broken than real ones can be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev::host::image;
use dev::sim::{Container, Health, Key, Script, Sim};
use uuid::Uuid;

use crate::suite;
use crate::world::World;

/// The first web port of an agent on a host.
const FIRST_WEB_PORT: u16 = 20_000;

#[derive(Debug)]
pub struct SimulatedWorld {
    pub world: World,
    /// The hosts, registered by name.
    pub sim: Sim,
    /// The owner of the agents; the first one if there are several.
    pub organization: Uuid,
    /// The API key of an operator.
    pub operator: String,
    /// The owners of the agents: of the first host, of the second, and so on in turn.
    pub tenants: Vec<Tenant>,
    /// The agents of each host.
    pub agents: Vec<Vec<Uuid>>,
}

/// An organization with credit.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub organization: Uuid,
    /// An API key of its owner.
    pub key: String,
}

impl SimulatedWorld {
    /// Starts these hosts, each with this many running agents that behave as `health` says.
    pub async fn new(scripts: Vec<Script>, agents: usize, health: Health) -> Self {
        Self::with_tenants(scripts, agents, health, 1).await
    }

    /// The same with this many organizations, one or more.
    pub async fn with_tenants(
        scripts: Vec<Script>,
        agents: usize,
        health: Health,
        organizations: usize,
    ) -> Self {
        let mut world = World::new().await;
        let key = Key::random();
        let text = key.to_openssh().expect("a key");
        let admin = suite::server().await.url("postgres");
        for (setting, value) in [
            ("MILADY_SSH_KEY", STANDARD.encode(text)),
            ("MILADY_SSH_KEY_PATH", String::new()),
            ("ALLOW_PRIVATE_NODES", "true".to_owned()),
            ("DEFAULT_AGENT_IMAGE", image::SAMPLE.to_owned()),
            ("AGENT_IMAGE_ALLOW", "milady/,elizaos/agent:".to_owned()),
            ("AGENT_DATABASE_ADMIN_URL", admin),
            ("AGENT_HEALTH_SECONDS", "4".to_owned()),
        ] {
            world.settings.insert(setting.to_owned(), value);
        }
        let mut tenants = Vec::new();
        for _ in 0..organizations {
            let (organization, key) = world.tenant("1000").await;
            tenants.push(Tenant { organization, key });
        }
        let first = tenants[0].clone();
        world.make_admin(first.organization, "super_admin").await;
        let owners = || tenants.iter().map(|tenant| tenant.organization).cycle();
        let ids: Vec<Vec<Uuid>> = scripts
            .iter()
            .map(|_| (0..agents).map(|_| Uuid::new_v4()).collect())
            .collect();
        let scripts = scripts.into_iter().zip(&ids).zip(owners());
        let scripts = scripts.map(|((script, ids), organization)| {
            ids.iter()
                .zip(FIRST_WEB_PORT..)
                .fold(script, |script, (id, port)| {
                    script
                        .with_container(Container::of_agent(*id, organization).agent(port, health))
                })
        });
        let sim = Sim::start(&key, scripts).expect("simulated hosts");
        for ((host, ids), organization) in sim.hosts().iter().zip(&ids).zip(owners()) {
            sqlx::query(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port, host_key_fingerprint, capacity,
                    allocated_count, status)
                VALUES ($1, '127.0.0.1', $2, $3, $4 + 1, $4, 'unknown')",
            )
            .bind(host.name())
            .bind(i32::from(host.port()))
            .bind(host.fingerprint())
            .bind(i32::try_from(agents).expect("a number"))
            .execute(&world.pool)
            .await
            .expect("a node");
            sqlx::query(
                "INSERT INTO milady_sandboxes (id, organization_id, user_id, agent_name, status, node_id,
                    container_name, web_ui_port, bridge_port, last_heartbeat_at, created_at, updated_at)
                SELECT a.id, $1, u.id, 'agent', 'running', $2, 'milady-' || a.id, $3 + n::int, n,
                    billing_clock(), billing_clock(), billing_clock()
                FROM users u, unnest($4::uuid[]) WITH ORDINALITY AS a (id, n)
                WHERE u.organization_id = $1",
            )
            .bind(organization)
            .bind(host.name())
            .bind(i32::from(FIRST_WEB_PORT) - 1)
            .bind(ids)
            .execute(&world.pool)
            .await
            .expect("agents");
        }
        Self {
            world,
            sim,
            organization: first.organization,
            operator: first.key,
            tenants,
            agents: ids,
        }
    }
}
