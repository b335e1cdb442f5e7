//! Laws of charging and dunning, checked on generated organizations.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};
use uuid::Uuid;

use super::*;
use crate::domain::agent::BillingStatus;
use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, OrganizationId, SpanId, UserId};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

const HOURS: i64 = 60;

fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_323_200, 0).expect("2026-03-01T00:00:00Z")
}

pub(super) fn hour(n: i64) -> Hour {
    Hour::containing(epoch() + TimeDelta::hours(n))
}

pub(super) fn usd(value: Decimal) -> Money {
    Money::rounded(value)
}

pub(super) fn span(
    agent: u128,
    kind: SpanKind,
    rate: Option<Decimal>,
    from: i64,
    to: Option<i64>,
) -> Span {
    let at = |microseconds| epoch() + TimeDelta::microseconds(microseconds);
    Span {
        id: SpanId::new(Uuid::from_u128(
            agent << 64 | u128::from(from.unsigned_abs()),
        )),
        agent_id: AgentId::new(Uuid::from_u128(agent)),
        agent_created_at: epoch() + TimeDelta::seconds(i64::try_from(agent % 3).expect("small")),
        user_id: UserId::new(Uuid::nil()),
        agent_name: None,
        kind,
        hourly_rate: rate,
        started_at: at(from),
        ended_at: to.map(at),
        billed_through: None,
    }
}

fn agent(id: u128) -> Agent {
    Agent {
        id: AgentId::new(Uuid::from_u128(id)),
        user_id: UserId::new(Uuid::nil()),
        name: Some(format!("agent {id}")),
        billing: BillingStatus::Active,
        expects_container: true,
        warned_at: None,
        shutdown_at: None,
        warning: WarningDelivery::Pending,
    }
}

pub(super) fn organization(balance: Decimal, spans: Vec<Span>) -> Organization {
    let ids: BTreeSet<AgentId> = spans.iter().map(|span| span.agent_id).collect();
    Organization {
        id: OrganizationId::new(Uuid::from_u128(99)),
        balance: usd(balance),
        low_since: None,
        agents: ids.iter().map(|id| agent(id.uuid().as_u128())).collect(),
        spans,
    }
}

pub(super) fn decide_at(organization: &Organization, at: i64) -> Decision {
    decide(
        organization,
        hour(at),
        hour(at).instant(),
        &Prices::default(),
    )
}

/// The organization as the database holds it after a decision.
pub(super) fn applied(mut organization: Organization, decision: &Decision) -> Organization {
    organization.balance = decision.balance;
    organization.low_since = decision.low_since;
    for progress in &decision.spans {
        let span = organization
            .spans
            .iter_mut()
            .find(|span| span.id == progress.id)
            .expect("progress of a span of the organization");
        assert_eq!(span.billed_through, progress.previous);
        span.billed_through = Some(progress.billed_through);
    }
    let settled: BTreeSet<SpanId> = decision
        .spans
        .iter()
        .filter(|span| span.settled)
        .map(|span| span.id)
        .collect();
    organization
        .spans
        .retain(|span| !settled.contains(&span.id));
    for update in &decision.updates {
        let agent = organization
            .agents
            .iter_mut()
            .find(|agent| agent.id == update.id)
            .expect("an update of an agent of the organization");
        agent.billing = update.billing;
        agent.warned_at = update.warned_at;
        agent.shutdown_at = update.shutdown_at;
    }
    organization
}

/// Ledger rows without the running balance: span, start, end, amount.
type Row = (SpanId, DateTime<Utc>, DateTime<Utc>, Money);

fn rows(organization: &Organization, decision: &Decision) -> Vec<Row> {
    let row = |charge: &Charge| {
        let slice = charge.slice;
        (
            organization.spans[charge.span_index].id,
            slice.start,
            slice.end,
            slice.amount,
        )
    };
    decision.charges.iter().map(row).collect()
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let limit = HOURS * 3_600_000_000;
    let rate = prop_oneof![
        Just(None),
        Just(Some(dec!(0))),
        (1i64..20_000).prop_map(|tenths| Some(Decimal::new(tenths, 4))),
    ];
    let one = (
        1u128..6,
        any::<bool>(),
        rate,
        0..limit,
        proptest::option::of(0..limit / 4),
    );
    // Spans of one agent do not overlap: each begins after the previous one ended.
    proptest::collection::vec(one, 0..14).prop_map(move |drawn| {
        let mut ends = std::collections::HashMap::new();
        let mut spans = Vec::new();
        for (agent, running, rate, from, length) in drawn {
            let kind = if running {
                SpanKind::Running
            } else {
                SpanKind::Idle
            };
            let start = from.max(ends.get(&agent).copied().unwrap_or(0));
            let Some(length) = length else { continue };
            ends.insert(agent, start + length + 1);
            spans.push(span(
                agent,
                kind,
                rate.filter(|_| running),
                start,
                Some(start + length),
            ));
        }
        for agent in 6..8 {
            spans.push(span(agent, SpanKind::Running, None, 1_800_000_000, None));
        }
        spans
    })
}

fn balance() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        (0i64..3_000_000).prop_map(|millionths| Decimal::new(millionths, 6)),
        Just(dec!(100_000)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn balances_never_go_below_zero_and_rows_chain(spans in spans(), balance in balance(), at in 0..HOURS) {
        let before = organization(balance, spans);
        let decision = decide_at(&before, at);
        let mut running = before.balance;
        for charge in &decision.charges {
            prop_assert_eq!(charge.balance_before, running);
            running -= charge.slice.amount;
            prop_assert_eq!(charge.balance_after, running);
            prop_assert!(running >= Money::ZERO);
        }
        prop_assert_eq!(decision.balance, running);
    }

    #[test]
    fn metered_time_is_charged_owed_or_written_off(
        spans in spans(), balance in balance(), at in 0..HOURS + 90 * 24
    ) {
        let before = organization(balance, spans);
        let decision = decide_at(&before, at);
        let through = hour(at).instant();
        let worth: Money = before.spans.iter()
            .map(|span| span.worth(span.unbilled_from(), through, &Prices::default())).sum();
        let written_off: Money = decision.write_offs.iter().map(|write_off| write_off.worth).sum();
        prop_assert_eq!(decision.charged + decision.owed + written_off, worth);
        prop_assert_eq!(decision.totals.iter().map(|total| total.amount).sum::<Money>(), decision.charged);
    }

    #[test]
    fn the_worth_of_a_span_is_the_sum_of_its_slices(spans in spans(), at in 0..HOURS) {
        let through = hour(at).instant();
        for span in spans {
            let mut sum = Money::ZERO;
            let mut from = span.unbilled_from();
            while let Some(slice) = span.slice_at(from, through, &Prices::default()) {
                prop_assert_eq!(slice.start, from);
                prop_assert!(slice.end <= slice.hour().next().instant() && slice.end > slice.start);
                sum += slice.amount;
                from = slice.end;
            }
            prop_assert_eq!(span.worth(span.unbilled_from(), through, &Prices::default()), sum);
        }
    }

    #[test]
    fn the_order_of_input_rows_makes_no_difference(
        spans in spans().prop_shuffle(), balance in balance(), at in 0..HOURS
    ) {
        let shuffled = organization(balance, spans);
        let mut sorted = shuffled.clone();
        sorted.spans.sort_by_key(|span| span.id);
        sorted.agents.reverse();
        let (a, b) = (decide_at(&shuffled, at), decide_at(&sorted, at));
        prop_assert_eq!(rows(&shuffled, &a), rows(&sorted, &b));
        prop_assert_eq!((a.owed, a.balance, a.updates, a.notices), (b.owed, b.balance, b.updates, b.notices));
    }

    #[test]
    fn more_money_never_charges_fewer_slices(spans in spans(), balance in balance(), more in balance(), at in 0..HOURS) {
        let poorer = organization(balance, spans.clone());
        let richer = organization(balance + more, spans);
        let (less, all) = (rows(&poorer, &decide_at(&poorer, at)), rows(&richer, &decide_at(&richer, at)));
        prop_assert!(all.starts_with(&less));
    }

    #[test]
    fn late_runs_write_the_rows_of_punctual_ones(
        spans in spans(), gaps in proptest::collection::vec(1i64..9, 1..20)
    ) {
        let start = organization(dec!(100_000), spans);
        let mut billed = start.clone();
        let (mut punctual, mut at) = (Vec::new(), 0);
        for gap in gaps {
            at += gap;
            let decision = decide_at(&billed, at);
            punctual.extend(rows(&billed, &decision));
            billed = applied(billed, &decision);
        }
        let once = decide_at(&start, at);
        prop_assert_eq!(punctual, rows(&start, &once));
        prop_assert_eq!(billed.balance, once.balance);
    }

    #[test]
    fn debt_is_paid_oldest_first_once_money_arrives(
        spans in spans(), balance in balance(), later in balance(), at in 1..HOURS
    ) {
        // In however many parts the money arrives, the same slices are charged in the same order.
        let start = organization(balance, spans);
        let first = decide_at(&start, at);
        let mut topped_up = applied(start.clone(), &first);
        topped_up.balance += usd(later);
        let second = decide_at(&topped_up, at);
        let mut in_steps = rows(&start, &first);
        in_steps.extend(rows(&topped_up, &second));
        let mut at_once = start.clone();
        at_once.balance += usd(later);
        prop_assert_eq!(in_steps, rows(&at_once, &decide_at(&at_once, at)));
    }
}
