//! The credit gate. Owns: who may start compute, and the only way to make a [`Clearance`]. Does not
//! own: reading the figures (`app::billing::gate`).

use rust_decimal::Decimal;
use uuid::Uuid;

use super::money::Money;
use super::pricing::Prices;

/// Hours of everything that runs, and of the agent that asks, which the credit must cover.
const COVERED_HOURS: i64 = 24;

/// What the gate looks at, read under the organization's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who pays.
    pub organization_id: Uuid,
    /// What is to start.
    pub agent_id: Uuid,
    /// The agent is an operator's gift.
    pub exempt: bool,
    /// The organization's credit.
    pub balance: Money,
    /// What ticks could not charge.
    pub owed: Money,
    /// Dollars per hour of every non-exempt agent that runs or is about to, this one included.
    pub committed_hourly: Decimal,
}

/// Proof that the gate let this agent pass. Nothing else can make one, and whatever starts compute
/// takes one, so forgetting the gate does not compile:
///
/// ```compile_fail,E0451
/// let id = uuid::Uuid::nil();
/// let forged = shared::domain::credit_gate::Clearance { organization_id: id, agent_id: id };
/// ```
#[derive(Debug)]
pub struct Clearance {
    organization_id: Uuid,
    agent_id: Uuid,
}

impl Clearance {
    /// Who pays.
    #[must_use]
    pub fn organization_id(&self) -> Uuid {
        self.organization_id
    }

    /// What may start.
    #[must_use]
    pub fn agent_id(&self) -> Uuid {
        self.agent_id
    }
}

/// Not enough credit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Insufficient credits: ${required} required, ${balance} available")]
pub struct Refusal {
    /// What the balance must be.
    pub required: Money,
    /// What it is.
    pub balance: Money,
    /// The part of `required` that is debt.
    pub owed: Money,
}

/// The balance an organization needs: its debt, and the larger of the minimum deposit and a day of
/// all it has committed to.
#[must_use]
pub fn required(owed: Money, committed_hourly: Decimal, prices: &Prices) -> Money {
    let day = Money::rounded(committed_hourly * Decimal::from(COVERED_HOURS));
    owed + prices.minimum_deposit.max(day)
}

/// Stands before every path that ends with a running container.
///
/// # Errors
/// [`Refusal`] when the balance does not cover what is [`required`].
pub fn check(request: &Request, prices: &Prices) -> Result<Clearance, Refusal> {
    let required = required(request.owed, request.committed_hourly, prices);
    if !request.exempt && request.balance < required {
        return Err(Refusal {
            required,
            balance: request.balance,
            owed: request.owed,
        });
    }
    Ok(Clearance {
        organization_id: request.organization_id,
        agent_id: request.agent_id,
    })
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn ask(balance: Decimal, owed: Decimal, agents: i64, exempt: bool) -> Result<(), Money> {
        let request = Request {
            organization_id: Uuid::nil(),
            agent_id: Uuid::nil(),
            exempt,
            balance: Money::rounded(balance),
            owed: Money::rounded(owed),
            committed_hourly: dec!(0.02) * Decimal::from(agents),
        };
        check(&request, &Prices::default())
            .map(|_| ())
            .map_err(|refusal| refusal.required)
    }

    #[test]
    fn the_gate_asks_for_debt_and_the_larger_of_deposit_and_a_day() {
        for (balance, owed, agents, exempt, answer) in [
            (dec!(5), dec!(0), 1, false, Ok(())),
            (dec!(4.999999), dec!(0), 1, false, Err(dec!(5))),
            (dec!(5), dec!(0), 10, false, Ok(())),
            (dec!(5), dec!(0), 11, false, Err(dec!(5.28))),
            (dec!(5.28), dec!(0), 11, false, Ok(())),
            (dec!(5), dec!(0.000001), 1, false, Err(dec!(5.000001))),
            (dec!(7), dec!(1.72), 11, false, Ok(())),
            (dec!(0), dec!(9), 200, true, Ok(())),
        ] {
            assert_eq!(
                ask(balance, owed, agents, exempt),
                answer.map_err(Money::rounded)
            );
        }
    }
}
