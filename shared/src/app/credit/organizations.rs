//! The organizations and their credit, for operators. Only reads.

use std::collections::HashMap;

use crate::db;
use crate::db::Database;
use crate::db::billing::accounts::{BillingAccount, BillingAccounts};
use crate::db::identity::organizations::{
    OrganizationRecord, organizations_page_of_any_organization,
};
use crate::db::page::PagePosition;
use crate::domain::billing::{Position, Span};
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

#[derive(Clone, Debug)]
pub struct OrganizationCredit {
    pub record: OrganizationRecord,
    /// Debt that the hourly runs could not charge.
    pub owed: Money,
}

/// One page of organizations, newest first, after a position.
pub async fn organizations_page(
    pool: &Database,
    search: Option<&str>,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<OrganizationCredit>> {
    let mut tx = pool.begin().await?;
    // One snapshot for all reads, as for the credit of one organization.
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *tx)
        .await?;
    let records = organizations_page_of_any_organization(&mut tx, search, after, limit).await?;
    let ids: Vec<OrganizationId> = records.iter().map(|record| record.id).collect();
    let BillingAccounts { now, accounts } =
        db::billing::accounts::accounts_read(&mut tx, &ids).await?;
    let owned = db::billing::spans::spans_uncharged(&mut tx, &ids, &accounts, now).await?;
    tx.commit().await?;
    let accounts: HashMap<OrganizationId, BillingAccount> = accounts
        .into_iter()
        .map(|account| (account.organization_id, account))
        .collect();
    let mut spans: HashMap<OrganizationId, Vec<Span>> = HashMap::new();
    for span in owned {
        spans
            .entry(span.organization_id)
            .or_default()
            .push(span.span);
    }
    let organizations = records.into_iter().map(|record| {
        let account = accounts.get(&record.id);
        let position = Position {
            balance: Money::rounded(record.balance.unwrap_or_default()),
            carried_debt: account.map_or(Money::ZERO, |account| account.carried_debt),
            // What is owed does not depend on it.
            own_low_credit_mark: None,
            spans: spans.get(&record.id).map_or(&[], Vec::as_slice),
            decided_through: account.and_then(|account| account.decided_through),
        };
        OrganizationCredit {
            owed: position.owed(),
            record,
        }
    });
    Ok(organizations.collect())
}
