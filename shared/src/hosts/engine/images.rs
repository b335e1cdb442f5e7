//! Images: whether they are on the host, and pulling them.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::time::error::Elapsed;

use super::Engine;
use super::error::{EngineError, EngineErrorReason, classify_pull, exists};
use crate::domain::fleet::HostReadError;
use crate::domain::image::tagged;

/// Our account at a registry.
pub struct RegistryAccount {
    /// The registry's host, with its port where it has one.
    pub registry: String,
    pub username: String,
    /// A password or a token.
    pub password: String,
}

impl Engine {
    /// Whether the image is on the host.
    pub async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        exists(self.docker.inspect_image(image).await)
    }

    pub async fn pull(
        &self,
        image: &str,
        account: Option<RegistryAccount>,
        timeout: Duration,
    ) -> Result<(), EngineError> {
        let image = tagged(image);
        let credentials = account.map(|account| DockerCredentials {
            username: Some(account.username),
            password: Some(account.password),
            serveraddress: Some(account.registry),
            ..DockerCredentials::default()
        });
        let options = CreateImageOptionsBuilder::new().from_image(&image).build();
        let mut progress = self.docker.create_image(Some(options), None, credentials);
        let pull = async {
            while let Some(step) = progress.next().await {
                step.map_err(classify_pull)?;
            }
            // Some engines end a pull that failed without the error.
            if self.has_image(&image).await? {
                Ok(())
            } else {
                Err(EngineError::new(EngineErrorReason::ImageMissing))
            }
        };
        tokio::time::timeout(timeout, pull)
            .await
            .map_err(|_: Elapsed| HostReadError::TimedOut)?
    }
}
