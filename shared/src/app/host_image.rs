//! An image on a host. Owns: that a tag stands for what its registry says now, and that a registry that does not answer
//! keeps no agent from starting with the image that its host has (F69). Does not own: which images agents may run.

use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::warn;

use super::host_access::{AccountsUnreadable, registry_account};
use crate::domain::fleet::HostReadError;
use crate::domain::image::{has_fixed_digest, pulled_digest, was_pulled_as};
use crate::failure::Failure;
use crate::hosts::{Engine, EngineError, PullEnd, RegistryAccount};
use crate::secrets::KeptSecret;

/// How long a registry may take to say which version a tag names. Every start asks.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a host does not have an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine did not pull the image.
    #[error(transparent)]
    Pull(EngineError),
    #[error(transparent)]
    Accounts(#[from] Failure<AccountsUnreadable>),
    #[error("no time is left to pull the image")]
    OutOfTime,
    #[error("the image was not pulled in time")]
    PullUnfinished,
}

/// How long a pull may take; `None` if there is no time for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullTime {
    /// Of an image that the host does not have in any version.
    pub(crate) missing: Option<Duration>,
    /// Of a newer version than the host has.
    pub(crate) newer: Option<Duration>,
}

/// Makes sure that a host has the version of an image that its registry has now, or any version if the registry does not
/// say, or if there is no time for a pull. Returns its digest; `None` if the image was made on the host.
pub(crate) async fn ensure_image(
    engine: &Engine,
    accounts: Option<&KeptSecret>,
    image: &str,
    time: PullTime,
) -> Result<Option<String>, ImageError> {
    let Some(present) = engine.find_image(image).await? else {
        let time = time.missing.ok_or(ImageError::OutOfTime)?;
        return pull_image(engine, accounts, image, time).await;
    };
    let Some(digest) = pulled_digest(image, &present.digests) else {
        return Ok(None);
    };
    let Some(time) = time.newer.filter(|_| !has_fixed_digest(image)) else {
        return Ok(Some(digest.to_owned()));
    };
    match ensure_newest(engine, accounts, image, &present.digests, time).await {
        Ok(newest) => Ok(Some(newest)),
        Err(error) => {
            warn!(%error, "the newest version of {image} was not pulled: {error}; the host's own is used");
            Ok(Some(digest.to_owned()))
        }
    }
}

/// Pulls an image, also if the host has it. Returns its digest.
pub(crate) async fn pull_image(
    engine: &Engine,
    accounts: Option<&KeptSecret>,
    image: &str,
    time: Duration,
) -> Result<Option<String>, ImageError> {
    let account = registry_account(accounts, image).await?;
    pull(engine, account, image, time).await?;
    let present = engine.find_image(image).await?;
    let digests = present.map(|present| present.digests).unwrap_or_default();
    Ok(pulled_digest(image, &digests).map(str::to_owned))
}

/// Pulls an image if its registry has another version than the host, which has those of `digests`. Returns the digest of the
/// registry's.
async fn ensure_newest(
    engine: &Engine,
    accounts: Option<&KeptSecret>,
    image: &str,
    digests: &[String],
    time: Duration,
) -> Result<String, ImageError> {
    let account = registry_account(accounts, image).await?;
    let resolve = engine.resolve_tag(image, account.clone());
    let newest = timeout(RESOLVE_TIMEOUT, resolve).await;
    let newest = newest.map_err(|_: Elapsed| EngineError::from(HostReadError::TimedOut))??;
    if !was_pulled_as(image, &newest, digests) {
        pull(engine, account, image, time).await?;
    }
    Ok(newest)
}

async fn pull(
    engine: &Engine,
    account: Option<RegistryAccount>,
    image: &str,
    time: Duration,
) -> Result<(), ImageError> {
    match engine.pull(image, account, time).await {
        Ok(PullEnd::Complete) => Ok(()),
        Ok(PullEnd::Unfinished) => Err(ImageError::PullUnfinished),
        Err(error) => Err(ImageError::Pull(error)),
    }
}
