//! What holds for every organization: the planner's laws, checked on generated ones; and the cases
//! that owners and operators ask about, worked out by hand.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};
use uuid::Uuid;

use super::*;
use crate::domain::agent::BillingStatus;
use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

const HOURS: i64 = 60;

fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_323_200, 0).expect("2026-03-01T00:00:00Z")
}

fn hour(n: i64) -> Hour {
    Hour::containing(epoch() + TimeDelta::hours(n))
}

fn usd(value: Decimal) -> Money {
    Money::rounded(value)
}

fn span(agent: u128, kind: Kind, rate: Option<Decimal>, from: i64, to: Option<i64>) -> Span {
    let at = |microseconds| epoch() + TimeDelta::microseconds(microseconds);
    Span {
        id: Uuid::from_u128(agent << 64 | u128::from(from.unsigned_abs())),
        agent_id: Uuid::from_u128(agent),
        agent_created_at: epoch() + TimeDelta::seconds(i64::try_from(agent % 3).expect("small")),
        user_id: Uuid::nil(),
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
        id: Uuid::from_u128(id),
        name: Some(format!("agent {id}")),
        billing: BillingStatus::Active,
        expects_container: true,
        warned_at: None,
        shutdown_at: None,
        warning: Handover::Pending,
    }
}

fn organization(balance: Decimal, spans: Vec<Span>) -> Organization {
    let ids: BTreeSet<Uuid> = spans.iter().map(|span| span.agent_id).collect();
    Organization {
        id: Uuid::from_u128(99),
        balance: usd(balance),
        low_since: None,
        agents: ids.iter().map(|id| agent(id.as_u128())).collect(),
        spans,
    }
}

fn tick(organization: &Organization, at: i64) -> Decision {
    decide(organization, hour(at), hour(at).start(), &Prices::default())
}

/// What the database holds after a decision.
fn applied(mut organization: Organization, decision: &Decision) -> Organization {
    organization.balance = decision.balance;
    organization.low_since = decision.low_since;
    for moved in &decision.spans {
        let span = organization
            .spans
            .iter_mut()
            .find(|span| span.id == moved.id)
            .expect("a span");
        assert_eq!(span.billed_through, moved.was);
        span.billed_through = Some(moved.billed_through);
    }
    let settled: BTreeSet<Uuid> = decision
        .spans
        .iter()
        .filter(|span| span.settled)
        .map(|span| span.id)
        .collect();
    organization
        .spans
        .retain(|span| !settled.contains(&span.id));
    for standing in &decision.standings {
        let agent = organization
            .agents
            .iter_mut()
            .find(|agent| agent.id == standing.id)
            .expect("an agent");
        agent.billing = standing.billing;
        agent.warned_at = standing.warned_at;
        agent.shutdown_at = standing.shutdown_at;
    }
    organization
}

/// Ledger rows without the running balance: span, start, end, amount.
type Row = (Uuid, DateTime<Utc>, DateTime<Utc>, Money);

fn rows(organization: &Organization, decision: &Decision) -> Vec<Row> {
    let row = |charge: &Charge| {
        let slice = charge.slice;
        (
            organization.spans[charge.span].id,
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
    // Spans of one agent do not overlap: each agent's lengths are laid one after the other.
    proptest::collection::vec(one, 0..14).prop_map(move |drawn| {
        let mut ends = std::collections::HashMap::new();
        let mut spans = Vec::new();
        for (agent, running, rate, from, length) in drawn {
            let kind = if running { Kind::Running } else { Kind::Idle };
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
            spans.push(span(agent, Kind::Running, None, 1_800_000_000, None));
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
        let decision = tick(&before, at);
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
    fn what_was_metered_is_charged_or_owed(spans in spans(), balance in balance(), at in 0..HOURS) {
        let before = organization(balance, spans);
        let decision = tick(&before, at);
        let through = hour(at).start();
        let worth: Money = before.spans.iter()
            .map(|span| span.worth(span.unbilled_from(), through, &Prices::default())).sum();
        prop_assert_eq!(decision.charged + decision.owed, worth);
        prop_assert_eq!(decision.totals.iter().map(|total| total.amount).sum::<Money>(), decision.charged);
    }

    #[test]
    fn a_spans_worth_is_the_sum_of_its_slices(spans in spans(), at in 0..HOURS) {
        let through = hour(at).start();
        for span in spans {
            let mut sum = Money::ZERO;
            let mut from = span.unbilled_from();
            while let Some(slice) = span.slice_at(from, through, &Prices::default()) {
                prop_assert_eq!(slice.start, from);
                prop_assert!(slice.end <= slice.hour().next().start() && slice.end > slice.start);
                sum += slice.amount;
                from = slice.end;
            }
            prop_assert_eq!(span.worth(span.unbilled_from(), through, &Prices::default()), sum);
        }
    }

    #[test]
    fn the_order_of_rows_read_makes_no_difference(
        spans in spans().prop_shuffle(), balance in balance(), at in 0..HOURS
    ) {
        let shuffled = organization(balance, spans);
        let mut sorted = shuffled.clone();
        sorted.spans.sort_by_key(|span| span.id);
        sorted.agents.reverse();
        let (a, b) = (tick(&shuffled, at), tick(&sorted, at));
        prop_assert_eq!(rows(&shuffled, &a), rows(&sorted, &b));
        prop_assert_eq!((a.owed, a.balance, a.standings, a.notices), (b.owed, b.balance, b.standings, b.notices));
    }

    #[test]
    fn more_money_never_charges_less(spans in spans(), balance in balance(), more in balance(), at in 0..HOURS) {
        let poorer = organization(balance, spans.clone());
        let richer = organization(balance + more, spans);
        let (less, all) = (rows(&poorer, &tick(&poorer, at)), rows(&richer, &tick(&richer, at)));
        prop_assert!(all.starts_with(&less));
    }

    #[test]
    fn late_ticks_write_the_rows_of_punctual_ones(
        spans in spans(), gaps in proptest::collection::vec(1i64..9, 1..20)
    ) {
        let start = organization(dec!(100_000), spans);
        let mut ticked = start.clone();
        let (mut punctual, mut at) = (Vec::new(), 0);
        for gap in gaps {
            at += gap;
            let decision = tick(&ticked, at);
            punctual.extend(rows(&ticked, &decision));
            ticked = applied(ticked, &decision);
        }
        let once = tick(&start, at);
        prop_assert_eq!(punctual, rows(&start, &once));
        prop_assert_eq!(ticked.balance, once.balance);
    }

    #[test]
    fn debt_is_paid_oldest_first_once_money_arrives(
        spans in spans(), balance in balance(), later in balance(), at in 1..HOURS
    ) {
        // However the money comes in, in the end the same slices are charged in the same order.
        let start = organization(balance, spans);
        let first = tick(&start, at);
        let mut topped_up = applied(start.clone(), &first);
        topped_up.balance += usd(later);
        let second = tick(&topped_up, at);
        let mut in_steps = rows(&start, &first);
        in_steps.extend(rows(&topped_up, &second));
        let mut at_once = start.clone();
        at_once.balance += usd(later);
        prop_assert_eq!(in_steps, rows(&at_once, &tick(&at_once, at)));
    }
}

fn running(agent: u128) -> Span {
    span(agent, Kind::Running, None, 0, None)
}

fn minutes(n: i64) -> i64 {
    n * 60_000_000
}

#[test]
fn twenty_minutes_cost_0_006667() {
    let twenty = span(1, Kind::Running, None, minutes(40), Some(minutes(60)));
    let decision = tick(&organization(dec!(10), vec![twenty]), 1);
    assert_eq!(decision.charged, usd(dec!(0.006667)));
    assert_eq!(decision.charges[0].slice.seconds(), dec!(1200.000000));
    assert!(decision.spans[0].settled);
}

#[test]
fn ten_agents_owing_47_hours_pay_the_oldest_debt_to_the_last_whole_slice() {
    let poor = organization(dec!(0), (1..=10).map(running).collect());
    let decision = tick(&poor, 47);
    assert_eq!(
        (decision.charged, decision.owed),
        (Money::ZERO, usd(dec!(9.40)))
    );
    let mut paid = applied(poor, &decision);
    paid.balance = usd(dec!(5.00));
    let decision = tick(&paid, 47);
    assert_eq!(decision.charges.len(), 250);
    assert!(
        decision
            .charges
            .iter()
            .all(|charge| charge.slice.hour() < hour(25))
    );
    assert!(decision.balance < usd(dec!(0.02)));
    assert_eq!(decision.owed, usd(dec!(4.40)));
}

#[test]
fn three_missed_hours_are_paid_oldest_first_for_both_agents() {
    let decision = tick(&organization(dec!(0.04), vec![running(1), running(2)]), 3);
    let hours: Vec<Hour> = decision
        .charges
        .iter()
        .map(|charge| charge.slice.hour())
        .collect();
    assert_eq!(hours, [hour(0), hour(0)]);
    assert_eq!(decision.totals.len(), 2);
    assert_eq!(decision.owed, usd(dec!(0.08)));
    assert!(
        decision
            .standings
            .iter()
            .all(|s| s.billing == BillingStatus::ShutdownPending)
    );
}

#[test]
fn a_rounded_down_slice_still_gets_its_row() {
    let blink = span(1, Kind::Idle, None, 0, Some(1));
    let decision = tick(&organization(dec!(0), vec![blink]), 1);
    assert_eq!(decision.charges.len(), 1);
    assert_eq!(decision.charges[0].slice.amount, Money::ZERO);
}

#[test]
fn a_span_without_length_is_settled_without_a_row() {
    let nothing = span(1, Kind::Running, None, 5, Some(5));
    let decision = tick(&organization(dec!(1), vec![nothing]), 1);
    assert!(decision.charges.is_empty());
    assert!(decision.spans[0].settled);
}

/// One agent in `shutdown_pending` since hour 2, due at hour 50, owing; what becomes of it at `at`.
fn due(warning: Handover, balance: Decimal, at: i64) -> Decision {
    let mut organization = organization(balance, vec![running(1)]);
    organization.low_since = Some(hour(1).start());
    let agent = &mut organization.agents[0];
    agent.billing = BillingStatus::ShutdownPending;
    agent.warned_at = Some(hour(2).start());
    agent.shutdown_at = Some(hour(50).start());
    agent.warning = warning;
    tick(&organization, at)
}

#[test]
fn nobody_unwarned_is_suspended() {
    let handed_over = |at| Handover::HandedOver(hour(at).start());
    for (warning, at, suspended) in [
        (handed_over(2), 49, false),
        (handed_over(2), 50, true),
        (handed_over(26), 50, true),
        (handed_over(27), 50, false),
        (handed_over(27), 51, true),
        (Handover::Pending, 50, false),
        (Handover::Pending, 2 + 7 * 24 - 1, false),
        (Handover::Pending, 2 + 7 * 24, true),
        (Handover::Undeliverable, 49, false),
        (Handover::Undeliverable, 50, true),
    ] {
        let decision = due(warning, dec!(0), at);
        let now_suspended = decision
            .standings
            .first()
            .is_some_and(|s| s.billing == BillingStatus::Suspended);
        assert_eq!(now_suspended, suspended, "{warning:?} at hour {at}");
        assert_eq!(
            decision.standings.first().is_some_and(|s| s.stop),
            suspended
        );
    }
}

#[test]
fn money_that_arrived_before_the_deadline_saves_the_agent() {
    let decision = due(Handover::HandedOver(hour(2).start()), dec!(50), 50);
    assert_eq!(decision.standings[0].billing, BillingStatus::Active);
    assert_eq!(decision.standings[0].shutdown_at, None);
    assert_eq!(decision.owed, Money::ZERO);
}

#[test]
fn low_credit_is_told_once_and_again_after_a_recovery() {
    let told = |decision: &Decision| {
        decision
            .notices
            .iter()
            .map(Notice::event_type)
            .collect::<Vec<_>>()
    };
    let mut organization = organization(dec!(2.01), vec![running(1)]);
    let mut at = 0;
    let mut next = |organization: &mut Organization| {
        at += 1;
        let decision = tick(organization, at);
        *organization = applied(organization.clone(), &decision);
        told(&decision)
    };
    assert_eq!(next(&mut organization), ["credit.low"]);
    assert_eq!(organization.agents[0].billing, BillingStatus::Warning);
    assert!(next(&mut organization).is_empty());
    organization.balance = usd(dec!(30));
    assert!(next(&mut organization).is_empty());
    assert_eq!(organization.agents[0].billing, BillingStatus::Active);
    organization.balance = usd(dec!(0.01));
    assert_eq!(next(&mut organization), ["agent.shutdown_scheduled"]);
    assert!(next(&mut organization).is_empty());
}

#[test]
fn exempt_and_suspended_agents_are_left_alone() {
    for status in [BillingStatus::Exempt, BillingStatus::Suspended] {
        let mut organization = organization(dec!(0), vec![running(1)]);
        organization.agents[0].billing = status;
        let decision = tick(&organization, 5);
        assert!(decision.standings.is_empty() && decision.owed.is_positive());
    }
}

#[test]
fn the_warning_says_what_is_owed_now_and_at_the_deadline() {
    let decision = tick(&organization(dec!(0), vec![running(1), running(2)]), 3);
    let Some(Notice::ShutdownScheduled {
        owed,
        owed_at_deadline,
        agent_count,
        ..
    }) = decision.notices.first()
    else {
        panic!("no warning: {:?}", decision.notices)
    };
    assert_eq!((*agent_count, *owed), (2, usd(dec!(0.12))));
    assert_eq!(
        *owed_at_deadline,
        usd(dec!(0.12)) + usd(dec!(0.04) * dec!(48))
    );
}

#[test]
fn the_forecast_knows_when_the_money_ends() {
    let now = hour(1).start();
    let outlook = |balance| {
        forecast(
            usd(balance),
            &[running(1)],
            Some(now),
            now,
            &Prices::default(),
        )
    };
    let funded = outlook(dec!(4.02));
    assert_eq!(funded.owed, usd(dec!(0.02)));
    assert_eq!(funded.burn_per_hour, usd(dec!(0.02)));
    assert_eq!(funded.hours_left, Some(dec!(200)));
    assert_eq!(funded.low_at, Some(hour(101).start()));
    assert_eq!(funded.empty_at, Some(hour(201).start()));
    let broke = outlook(dec!(0));
    assert_eq!(
        (broke.hours_left, broke.low_at, broke.empty_at),
        (Some(dec!(0)), None, Some(now))
    );
    let still = forecast(usd(dec!(3)), &[], None, now, &Prices::default());
    assert_eq!(
        (still.hours_left, still.low_at, still.empty_at),
        (None, None, None)
    );
}
