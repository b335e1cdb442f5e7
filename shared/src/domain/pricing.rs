//! What things cost. Owns: the prices and their defaults. Does not own: where an override comes
//! from (`lambda::config`).

use rust_decimal::{Decimal, dec};

use super::money::Money;

/// The price list. All money in US dollars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// A running agent, per hour, unless the agent has a rate of its own.
    pub running_hourly: Decimal,
    /// A stopped agent whose backup is kept, per hour.
    pub idle_hourly: Decimal,
    /// What an organization must hold, after its debt, before anything starts.
    pub minimum_deposit: Money,
    /// Below this balance the owner is told.
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
