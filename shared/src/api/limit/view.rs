//! The limits of one organization as super admins see them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::limit::usage::{LimitUsage, OrganizationUsage};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::limits::LimitName;
use crate::domain::timestamp::Timestamp;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OrganizationLimits")]
pub(super) struct OrganizationLimitsJson {
    organization_id: OrganizationId,
    limits: Vec<OrganizationLimitJson>,
    /// When an operator last changed one; null if nobody has.
    updated_at: Option<Timestamp>,
    updated_by: Option<UserId>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OrganizationLimit")]
struct OrganizationLimitJson {
    limit: LimitName,
    /// What holds for organizations for which operators have set nothing else.
    default: i32,
    /// What an operator has set for this organization; null if nothing.
    #[serde(rename = "override")]
    value: Option<i32>,
    /// What holds for this organization.
    allowed: i32,
    /// Of a limit per agent: by the agent that uses most of it.
    used: i64,
    /// The least that an operator can set.
    minimum: i32,
    maximum: i32,
}

impl From<OrganizationUsage> for OrganizationLimitsJson {
    fn from(usage: OrganizationUsage) -> Self {
        let change = usage.last_change;
        Self {
            organization_id: usage.organization_id,
            limits: usage.limits.into_iter().map(Into::into).collect(),
            updated_at: change.map(|change| Timestamp(change.updated_at)),
            updated_by: change.map(|change| change.updated_by),
        }
    }
}

impl From<LimitUsage> for OrganizationLimitJson {
    fn from(usage: LimitUsage) -> Self {
        let bounds = usage.limit.bounds();
        Self {
            limit: usage.limit,
            default: usage.limit.default_value(),
            value: usage.value,
            allowed: usage.allowed,
            used: usage.used,
            minimum: *bounds.start(),
            maximum: *bounds.end(),
        }
    }
}
