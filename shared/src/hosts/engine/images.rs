//! Images: which ones are on the host, which version a registry has, pulling and removing them.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::Engine;
use super::error::{EngineError, EngineErrorReason, classify_pull, ignore_missing, is_missing};
use crate::domain::fleet::HostReadError;
use crate::domain::image::{LocalImage, tagged};

/// What Docker writes where an image has no name.
const NO_NAME: &str = "<none>";

/// A pull that reports no progress for this long fails. Docker reports each piece that it downloads or extracts, and its
/// own attempts after a failure of the registry.
const STALL_TIMEOUT: Duration = Duration::from_mins(2);

/// How a pull ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullEnd {
    /// The image is on the host.
    Complete,
    /// The time was up before, and the engine has broken off the pull. With Docker's own store the next pull downloads
    /// everything again; containerd's keeps what was downloaded.
    Unfinished,
}

/// Our account at a registry.
#[derive(Clone)]
pub struct RegistryAccount {
    /// The registry's host, with its port where it has one.
    pub registry: String,
    pub username: String,
    /// A password or a token.
    pub password: String,
}

impl From<RegistryAccount> for DockerCredentials {
    fn from(account: RegistryAccount) -> Self {
        Self {
            username: Some(account.username),
            password: Some(account.password),
            serveraddress: Some(account.registry),
            ..Self::default()
        }
    }
}

impl Engine {
    /// Whether the image is on the host.
    pub async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        Ok(self.find_image(image).await?.is_some())
    }

    pub async fn find_image(&self, image: &str) -> Result<Option<LocalImage>, EngineError> {
        match self.get(&format!("/images/{image}/json")).await {
            Ok(details) => Ok(Some(local_image(&details))),
            Err(error) if is_missing(error.reason()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All images of the host, without the layers that only others are built on.
    pub async fn list_images(&self) -> Result<Vec<LocalImage>, EngineError> {
        let images = self.get("/images/json").await?;
        let images = images.as_array().into_iter().flatten();
        Ok(images.map(local_image).collect())
    }

    /// Removes a name of an image, and the image with its last name. Docker refuses to remove an image that a container
    /// uses. An image that is gone is no error.
    pub async fn remove_image(&self, name: &str) -> Result<(), EngineError> {
        let removed = self
            .docker
            .remove_image(name, None::<RemoveImageOptions>, None)
            .await;
        ignore_missing(removed.map(drop))
    }

    /// The digest of the version that the tag names in its registry now.
    pub async fn resolve_tag(
        &self,
        image: &str,
        account: Option<RegistryAccount>,
    ) -> Result<String, EngineError> {
        let image = tagged(image);
        let resolved = self
            .docker
            .inspect_registry_image(&image, account.map(Into::into))
            .await;
        let digest = resolved.map_err(classify_pull)?.descriptor.digest;
        Ok(digest.ok_or(HostReadError::Protocol)?)
    }

    /// Pulls an image, for `time` at most.
    pub async fn pull(
        &self,
        image: &str,
        account: Option<RegistryAccount>,
        time: Duration,
    ) -> Result<PullEnd, EngineError> {
        let image = tagged(image);
        let options = CreateImageOptionsBuilder::new().from_image(&image).build();
        let credentials = account.map(Into::into);
        let mut progress = self.docker.create_image(Some(options), None, credentials);
        let pull = async {
            while let Some(step) = timeout(STALL_TIMEOUT, progress.next())
                .await
                .map_err(|_: Elapsed| HostReadError::TimedOut)?
            {
                step.map_err(classify_pull)?;
            }
            // Some engines end a pull that failed without the error.
            if self.has_image(&image).await? {
                Ok(PullEnd::Complete)
            } else {
                Err(EngineError::new(EngineErrorReason::ImageMissing))
            }
        };
        timeout(time, pull).await.unwrap_or(Ok(PullEnd::Unfinished))
    }
}

fn local_image(entry: &Value) -> LocalImage {
    LocalImage {
        id: entry["Id"].as_str().unwrap_or_default().to_owned(),
        tags: names(&entry["RepoTags"]),
        digests: names(&entry["RepoDigests"]),
    }
}

/// Go writes null for a list that was never filled.
fn names(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten();
    let names = names.filter_map(Value::as_str);
    names
        .filter(|name| !name.contains(NO_NAME))
        .map(str::to_owned)
        .collect()
}
