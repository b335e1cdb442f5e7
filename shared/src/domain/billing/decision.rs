//! One billing run's decision about one organization: charges first, then their consequences.

use chrono::{DateTime, Utc};

use super::account::Organization;
use super::charging::{Charge, Charging, SpanProgress, WriteOff};
use super::dunning::{Assessment, Consequences};
use super::terms::Terms;
use crate::domain::money::Money;

/// Everything that one part of a billing run does to one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is paid of the carried debt, before the charges.
    pub carried_debt_payment: Money,
    /// In the order of charging.
    pub charges: Vec<Charge>,
    /// The sum of all charges.
    pub charged: Money,
    /// After the charges. Empty unless this is the last part.
    pub write_offs: Vec<WriteOff>,
    pub span_progress: Vec<SpanProgress>,
    /// The hour up to which everything is charged.
    pub charged_through: DateTime<Utc>,
    pub carried_debt: Money,
    /// The balance after the charges.
    pub balance: Money,
    /// The debt that remains. Of the last part only.
    pub owed: Money,
    /// `None` if another part follows, because this one is full.
    pub consequences: Option<Consequences>,
}

/// Decides about one organization. The order of the input rows makes no difference.
#[must_use]
pub fn decide(organization: &Organization, terms: &Terms<'_>) -> Decision {
    let mut charging = Charging::new(organization, terms.period_end);
    let carried_debt_payment = charging.pay_carried_debt();
    let before_charges = charging.balance;
    charging.charge(terms.max_charges);
    let mut write_offs = Vec::new();
    let mut owed = Money::ZERO;
    let mut consequences = None;
    if !charging.is_full {
        write_offs = charging.write_off();
        let debts = charging.debts();
        owed = charging.carried_debt + debts.values().copied().sum();
        let assessment = Assessment {
            organization,
            debts: &debts,
            owed,
            balance: charging.balance,
            terms,
        };
        consequences = Some(assessment.consequences());
    }
    Decision {
        carried_debt_payment,
        charged: before_charges - charging.balance,
        span_progress: charging.progress(&write_offs),
        write_offs,
        charged_through: charging.charged_through(),
        carried_debt: charging.carried_debt,
        balance: charging.balance,
        owed,
        consequences,
        charges: charging.charges,
    }
}
