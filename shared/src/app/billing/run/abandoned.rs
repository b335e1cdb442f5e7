//! What deleted organizations have not paid. Owns: that it is counted once and charged to nobody.

use chrono::{DateTime, Utc};

use super::write::PartError;
use crate::db;
use crate::db::Connection;
use crate::db::billing::accounts::BillingAccount;
use crate::db::billing::spans::SpanCut;
use crate::domain::billing::Span;
use crate::domain::money::Money;

#[derive(Default)]
pub(super) struct Abandoned {
    pub(super) spans: Vec<Span>,
    /// Accounts with carried debt.
    pub(super) accounts: Vec<BillingAccount>,
}

impl Abandoned {
    /// Closes it. Returns how much it was.
    pub(super) async fn close(
        &self,
        conn: &mut Connection,
        billed_until: DateTime<Utc>,
    ) -> Result<Money, PartError> {
        let mut uncollected = Money::ZERO;
        let mut indebted = Vec::new();
        for account in &self.accounts {
            uncollected += account.carried_debt;
            indebted.push(account.organization_id);
        }
        if !indebted.is_empty() {
            db::billing::accounts::carried_debts_clear(conn, &indebted).await?;
        }
        let mut cuts = Vec::new();
        for span in self
            .spans
            .iter()
            .filter(|span| span.mark < span.end(billed_until))
        {
            uncollected += span.uncharged(billed_until);
            cuts.push(SpanCut {
                id: span.id,
                start: span.mark,
                end: span.end(billed_until),
            });
        }
        if cuts.is_empty() {
            return Ok(uncollected);
        }
        let cut =
            db::billing::spans::spans_cut_of_any_organization(conn, &cuts, "organization gone")
                .await?;
        if cut == cuts.len() {
            Ok(uncollected)
        } else {
            Err(PartError::SpanMoved)
        }
    }
}
