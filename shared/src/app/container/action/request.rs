//! What an action needs, what it is asked to do, and what it returns.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::app::agent::logs::LogPart;
use crate::db::Database;
use crate::domain::fleet::{ContainerAction, ContainerDetail};
use crate::domain::ids::UserId;
use crate::domain::image::Images;
use crate::hosts::HostClient;
use crate::secrets::KeptSecret;

/// How long an action that pulls an image may take.
pub(super) const PULL_TIMEOUT: Duration = Duration::from_secs(25);

#[derive(Clone, Copy, Debug)]
pub struct ActionDeps<'a> {
    pub pool: &'a Database,
    pub hosts: &'a HostClient,
    /// The images that agents may run.
    pub images: &'a Images,
    /// Our accounts at registries.
    pub registries: Option<&'a KeptSecret>,
}

#[derive(Clone, Debug)]
pub struct ActionRequest {
    pub admin_id: UserId,
    pub action: ContainerAction,
    pub node_id: String,
    pub container_name: String,
    /// If given, the container of this name must have this id.
    pub container_id: Option<String>,
    /// For [`ContainerAction::Logs`].
    pub log_part: LogPart,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionOutcome {
    /// Docker's id of the container.
    pub container_id: String,
    pub result: ActionResult,
    pub performed_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ActionResult {
    /// The action returns nothing else.
    Done,
    Logs(String),
    Detail(Box<ContainerDetail>),
    /// The image that was pulled.
    PulledImage(String),
}
