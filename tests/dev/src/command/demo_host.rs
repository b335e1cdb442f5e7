//! The simulated host of the demo organizations' running agents. Without it they would be on no known host, and end in error
//! after two inspections.

use anyhow::Result;
use sqlx::PgConnection;
use uuid::Uuid;

use super::seed::DEMOS;
use crate::sim::{Container, Health, Script};

pub(super) const NAME: &str = "demo";
const FIRST_WEB_PORT: u16 = 20_000;
const FIRST_BRIDGE_PORT: u16 = 30_000;
/// What a backup of each agent holds.
const STATE: &str = r#"{"memories":[],"config":{},"workspaceFiles":{}}"#;

struct DemoAgent {
    id: Uuid,
    organization: Uuid,
}

/// Places the running agents that have no other host on it. Returns the host with their containers.
pub(super) async fn place_agents(database: &mut PgConnection) -> Result<Script> {
    let slugs: Vec<&str> = DEMOS.iter().map(|demo| demo.slug).collect();
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT a.id, a.organization_id FROM milady_sandboxes a
         JOIN organizations o ON o.id = a.organization_id
         WHERE o.slug = ANY($1) AND a.status IN ('running', 'disconnected')
             AND (a.node_id IS NULL OR a.node_id = $2)
         ORDER BY a.created_at, a.id",
    )
    .bind(&slugs)
    .bind(NAME)
    .fetch_all(&mut *database)
    .await?;
    let agents = rows
        .into_iter()
        .map(|(id, organization)| DemoAgent { id, organization });
    let mut script = Script::new(NAME);
    for (agent, index) in agents.zip(0_u16..) {
        let web_port = FIRST_WEB_PORT + index;
        let bridge_port = FIRST_BRIDGE_PORT + index;
        sqlx::query(
            "UPDATE milady_sandboxes SET node_id = $2, container_name = 'milady-' || id, web_ui_port = $3,
                 bridge_port = $4
             WHERE id = $1",
        )
        .bind(agent.id)
        .bind(NAME)
        .bind(i32::from(web_port))
        .bind(i32::from(bridge_port))
        .execute(&mut *database)
        .await?;
        let container = Container::of_agent(agent.id, agent.organization)
            .agent(web_port, Health::Healthy)
            .bridge(bridge_port);
        script
            .states
            .insert(container.name.clone(), STATE.to_owned());
        script = script.with_container(container);
    }
    Ok(script)
}
