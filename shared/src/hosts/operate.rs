//! What operators need of an engine beyond what jobs do with it.

use std::time::Duration;

use bollard::query_parameters::RestartContainerOptionsBuilder;
use chrono::{DateTime, Utc};

use super::docker::Engine;
use super::engine_error::{EngineError, kind};
use super::error::HostError;

impl Engine {
    /// What time it is on the host: the clock that its containers' ages are told by.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn clock(&self) -> Result<DateTime<Utc>, EngineError> {
        let info = self.docker.info().await.map_err(|error| kind(&error))?;
        let time = info.system_time.and_then(|time| time.parse().ok());
        Ok(time.ok_or(HostError::Protocol)?)
    }

    /// Stops a container, by force after `grace`, and starts it again; one that does not run is started.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn restart(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = RestartContainerOptionsBuilder::new().t(seconds).build();
        let restarted = self.docker.restart_container(id, Some(options)).await;
        restarted.map_err(|error| kind(&error))
    }
}
