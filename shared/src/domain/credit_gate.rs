//! The credit gate. Owns: whether an organization may start an agent, and the only way to make a [`Clearance`]. Does
//! not own: reading the figures (`app::billing::gate`).

use rust_decimal::Decimal;

use super::agent::{BillingStatus, StatusConflict};
use super::ids::{AgentId, AgentRef, OrganizationId};
use super::money::Money;
use super::pricing::Prices;

/// The balance must cover this many hours of everything that runs, including the agent to be started.
const COVERED_HOURS: i64 = 24;

/// The figures, read under the organization's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub organization_id: OrganizationId,
    pub agent_id: AgentId,
    /// Whether an operator exempted the agent from billing.
    pub exempt: bool,
    pub balance: Money,
    /// What is due up to the current full hour and not paid.
    pub owed: Money,
    /// Dollars per hour of every non-exempt agent that runs or is being started, including this one.
    pub committed_hourly: Decimal,
}

/// Proof that the gate admitted this agent. Only the gate makes one, and every function that starts compute takes one,
/// so code that forgets the gate does not compile:
///
/// ```compile_fail,E0451
/// use shared::domain::ids::{AgentId, OrganizationId};
///
/// let forged = shared::domain::credit_gate::Clearance {
///     organization_id: OrganizationId::new(uuid::Uuid::nil()),
///     agent_id: AgentId::new(uuid::Uuid::nil()),
/// };
/// ```
#[derive(Debug)]
pub struct Clearance {
    organization_id: OrganizationId,
    agent_id: AgentId,
}

impl Clearance {
    #[must_use]
    pub fn organization_id(&self) -> OrganizationId {
        self.organization_id
    }

    #[must_use]
    pub fn agent_id(&self) -> AgentId {
        self.agent_id
    }
}

/// The balance is too low.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Insufficient credits: ${required} required, ${balance} available")]
pub struct Refusal {
    /// The balance that is needed.
    pub required: Money,
    pub balance: Money,
    /// The part of `required` that is debt.
    pub owed: Money,
}

/// The balance that an organization needs: its debt plus the larger of the minimum deposit and one day of everything it
/// is committed to.
#[must_use]
pub fn required(owed: Money, committed_hourly: Decimal, prices: &Prices) -> Money {
    let day = Money::rounded(committed_hourly * Decimal::from(COVERED_HOURS));
    owed + prices.minimum_deposit.max(day)
}

/// Admits an agent if the balance covers what is [`required`].
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

/// Admits an agent that an operator moves to another host. It ran until then and was metered, so it needs no more credit
/// than to go on running: like an agent that is not moved, it is refused only after billing has suspended it. Only an
/// operator can begin a move.
pub fn check_move(
    agent: AgentRef,
    billing: Option<BillingStatus>,
) -> Result<Clearance, StatusConflict> {
    if billing == Some(BillingStatus::Suspended) {
        return Err(StatusConflict("The agent is suspended because of its debt"));
    }
    Ok(Clearance {
        organization_id: agent.organization_id,
        agent_id: agent.agent_id,
    })
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn required_for(
        balance: Decimal,
        owed: Decimal,
        agents: i64,
        exempt: bool,
    ) -> Result<(), Money> {
        let request = Request {
            organization_id: OrganizationId::new(uuid::Uuid::nil()),
            agent_id: AgentId::new(uuid::Uuid::nil()),
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
    fn the_gate_requires_the_debt_and_the_larger_of_the_deposit_and_a_day() {
        for (balance, owed, agents, exempt, expected) in [
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
                required_for(balance, owed, agents, exempt),
                expected.map_err(Money::rounded)
            );
        }
    }
}
