//! Prints what becomes of agents: their statuses, and their containers in the Docker Engine of this machine's host.

use std::collections::BTreeMap;

use anyhow::Result;
use uuid::Uuid;

use super::host;
use super::stack::Stack;

/// The agents as they were printed last.
#[derive(Debug)]
pub(super) struct PrintedAgents(BTreeMap<Uuid, Agent>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Agent {
    name: String,
    organization: String,
    status: String,
    /// Why it does not run.
    stop_reason: Option<String>,
    has_container: bool,
}

impl PrintedAgents {
    /// Takes the agents as they are for known.
    pub(super) async fn read(stack: &Stack) -> Result<Self> {
        Ok(Self(agents(stack).await?))
    }

    /// Prints a line for each agent that changed or is new since the last call.
    pub(super) async fn print_changed(&mut self, stack: &Stack) -> Result<()> {
        let agents = agents(stack).await?;
        for (id, agent) in &agents {
            let before = self.0.get(id);
            if before != Some(agent) {
                println!("  {}", line(before, agent));
            }
        }
        self.0 = agents;
        Ok(())
    }
}

async fn agents(stack: &Stack) -> Result<BTreeMap<Uuid, Agent>> {
    let containers = host::container_names(&stack.host).await?;
    let rows: Vec<(Uuid, String, String, String, Option<String>)> = sqlx::query_as(
        "SELECT a.id, coalesce(a.agent_name, '')::text, o.name::text, a.status::text, a.stop_reason::text
         FROM milady_sandboxes a JOIN organizations o ON o.id = a.organization_id",
    )
    .fetch_all(&stack.database)
    .await?;
    let agents = rows
        .into_iter()
        .map(|(id, name, organization, status, stop_reason)| {
            let agent = Agent {
                name,
                organization,
                status,
                stop_reason,
                has_container: containers.contains(&format!("milady-{id}")),
            };
            (id, agent)
        });
    Ok(agents.collect())
}

fn line(before: Option<&Agent>, now: &Agent) -> String {
    let Agent {
        name,
        organization,
        status,
        ..
    } = now;
    let reason = match &now.stop_reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    let had_container = before.is_some_and(|agent| agent.has_container);
    let container = match (had_container, now.has_container) {
        (false, true) => "; its container is in the Docker Engine",
        (true, false) => "; its container is gone from the Docker Engine",
        _ => "",
    };
    format!("agent {name} of {organization}: {status}{reason}{container}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_changed() {
        let running = Agent {
            name: "diary".to_owned(),
            organization: "Forgetful".to_owned(),
            status: "running".to_owned(),
            stop_reason: None,
            has_container: true,
        };
        let stopped = Agent {
            status: "stopped".to_owned(),
            stop_reason: Some("billing".to_owned()),
            has_container: false,
            ..running.clone()
        };
        for (before, now, expected) in [
            (
                None,
                &running,
                "agent diary of Forgetful: running; its container is in the Docker Engine",
            ),
            (
                Some(&running),
                &stopped,
                "agent diary of Forgetful: stopped (billing); its container is gone from the Docker Engine",
            ),
            (
                None,
                &stopped,
                "agent diary of Forgetful: stopped (billing)",
            ),
        ] {
            assert_eq!(line(before, now), expected);
        }
    }
}
