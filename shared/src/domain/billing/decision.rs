//! One billing run's decision about one organization: charges first, then their consequences.

use chrono::{DateTime, Utc};

use super::account::Organization;
use super::dunning::{Assessment, BillingUpdate, Notice};
use super::planner::{AgentTotal, Charge, Charging, SpanProgress, WriteOff};
use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Everything that one billing run does to one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Ledger rows in the order of charging.
    pub charges: Vec<Charge>,
    /// Ledger rows after the charges.
    pub write_offs: Vec<WriteOff>,
    pub spans: Vec<SpanProgress>,
    /// Sums per agent, in the order of their first charge.
    pub totals: Vec<AgentTotal>,
    /// The sum of all charges.
    pub charged: Money,
    /// The debt that remains.
    pub owed: Money,
    /// The balance after the charges.
    pub balance: Money,
    /// Since when the balance has been below the warning mark.
    pub low_since: Option<DateTime<Utc>>,
    /// Agents whose billing status or shutdown date changes.
    pub updates: Vec<BillingUpdate>,
    pub notices: Vec<Notice>,
}

/// Decides about one organization for the run that charges up to `period_end`. `now` is billing's clock and only sets
/// new shutdown dates. The order of the input rows makes no difference.
#[must_use]
pub fn decide(
    organization: &Organization,
    period_end: Hour,
    now: DateTime<Utc>,
    prices: &Prices,
) -> Decision {
    let mut charging = Charging::new(organization);
    charging.charge(period_end, prices);
    let write_offs = charging.write_off(period_end, prices);
    let debts = charging.debts(period_end, prices);
    let balance = charging.balance;
    let dunning = Assessment {
        organization,
        debts: &debts,
        balance,
        period_end,
        now,
        prices,
    }
    .apply();
    Decision {
        charged: organization.balance - balance,
        owed: debts.values().copied().sum(),
        write_offs,
        balance,
        spans: charging.progress(period_end),
        totals: charging.totals(),
        charges: charging.charges,
        low_since: dunning.low_since,
        updates: dunning.updates,
        notices: dunning.notices,
    }
}
