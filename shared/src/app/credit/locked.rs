//! An organization's credit under its lock. Owns: what every operator's change of it begins with.

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::db;
use crate::db::Connection;
use crate::db::billing::debts::AccountOpening;
use crate::domain::agent::StatusConflict;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

#[derive(Clone, Copy, Debug)]
pub(super) struct LockedCredit {
    pub(super) organization_id: OrganizationId,
    pub(super) balance: Money,
    /// Billing's clock, read under the lock.
    pub(super) now: DateTime<Utc>,
}

impl LockedCredit {
    /// Locks the organization.
    pub(super) async fn take(
        conn: &mut Connection,
        organization_id: OrganizationId,
    ) -> Result<Self, RequestError> {
        let locked =
            db::identity::organizations::organizations_lock(conn, &[organization_id]).await?;
        let organization = locked.first().ok_or(RequestError::ORGANIZATION_NOT_FOUND)?;
        let balance = organization.balance.ok_or(StatusConflict(
            "The organization's balance is not a valid amount",
        ))?;
        Ok(Self {
            organization_id,
            balance,
            now: db::clock::billing_clock(conn).await?,
        })
    }

    pub(super) fn opening(self) -> AccountOpening {
        AccountOpening {
            organization_id: self.organization_id,
            balance: self.balance,
            now: self.now,
        }
    }
}
