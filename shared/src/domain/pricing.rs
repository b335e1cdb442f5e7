//! The price list. Owns: the prices and their defaults. Does not own: reading overrides (`lambda::config`).

use rust_decimal::{Decimal, dec};

use super::money::Money;

/// All amounts are in US dollars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Per hour of a running agent that has no rate of its own.
    pub running_hourly: Decimal,
    /// Per hour of a stopped agent whose backup is kept.
    pub idle_hourly: Decimal,
    /// The smallest balance, beyond the debt, with which an organization may start an agent.
    pub minimum_deposit: Money,
    /// The low-credit limit: below this balance, the owner is warned.
    pub low_credit: Money,
    /// Hours between the warning and the shutdown.
    pub grace_hours: i64,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            running_hourly: dec!(0.02),
            idle_hourly: dec!(0.0025),
            minimum_deposit: Money::rounded(dec!(5)),
            low_credit: Money::rounded(dec!(2)),
            grace_hours: 48,
        }
    }
}
