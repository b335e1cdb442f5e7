//! Waiting until a started agent is healthy. Owns: how long, and when waiting is pointless because the container has
//! ended.

use std::time::{Duration, Instant};

use super::context::JobContext;
use super::death::died_at_start;
use super::error::StepError;
use crate::app::host_access::Host;
use crate::domain::fleet::HostReadError;
use crate::domain::job::StepName;
use crate::hosts::{AgentHttp, ContainerRuntime, HostError};

/// One request for the agent's health.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Short at first, because most agents are healthy within a second, then doubled up to the maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How often a container that Docker has started again is inspected until it has ended once more: only then Docker tells
/// how it ended.
const MAX_END_INSPECTIONS: u32 = 6;

/// Waits until the agent reports that it is healthy.
pub(super) async fn wait_until_healthy(
    context: &mut JobContext<'_>,
    host: &Host,
    container_id: &str,
    web_port: u16,
) -> Result<(), StepError> {
    context.start_step(StepName::Health).await?;
    let agent = host.agent(web_port);
    let timeout = context.hosts.health_within;
    let polled = context
        .with_heartbeat(poll(host, &agent, container_id, timeout))
        .await??;
    if let Polled::Ended(runtime) = polled {
        return Err(died_at_start(context, host, container_id, &runtime).await);
    }
    context.finish_step(StepName::Health).await
}

enum Polled {
    Healthy,
    /// The container ended, whether or not Docker has started it again.
    Ended(ContainerRuntime),
}

async fn poll(
    host: &Host,
    agent: &AgentHttp,
    container_id: &str,
    timeout: Duration,
) -> Result<Polled, StepError> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut has_answered = false;
    let mut end_inspections = 0;
    loop {
        match check(agent).await? {
            HealthCheck::Healthy => return Ok(Polled::Healthy),
            HealthCheck::NotHealthy => has_answered = true,
            HealthCheck::NoAnswer => {}
        }
        let container = host.engine.inspect(container_id).await?;
        if !container.is_running || container.restart_count > 0 {
            end_inspections += 1;
            if container.end.exit_code.is_some() || end_inspections == MAX_END_INSPECTIONS {
                return Ok(Polled::Ended(container));
            }
        }
        if started.elapsed() >= timeout {
            return Err(StepError::external(if has_answered {
                "The agent did not become healthy in time"
            } else {
                "The agent does not answer on its health endpoint"
            }));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

enum HealthCheck {
    Healthy,
    /// The agent answered with another status than 200.
    NotHealthy,
    /// The agent does not serve its port yet.
    NoAnswer,
}

async fn check(agent: &AgentHttp) -> Result<HealthCheck, HostError> {
    let response = agent
        .get("/health", MAX_RESPONSE_BYTES, REQUEST_TIMEOUT)
        .await;
    match response {
        Ok(response) if response.status == 200 => Ok(HealthCheck::Healthy),
        Ok(_) => Ok(HealthCheck::NotHealthy),
        Err(error) => match error.reason() {
            HostReadError::Unreachable | HostReadError::TimedOut | HostReadError::Protocol => {
                Ok(HealthCheck::NoAnswer)
            }
            _ => Err(error),
        },
    }
}
