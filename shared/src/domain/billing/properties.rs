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

pub(super) fn span(agent: u128, rate: Decimal, from: i64, to: Option<i64>) -> Span {
    let at = |microseconds| epoch() + TimeDelta::microseconds(microseconds);
    let number = i64::try_from(agent).expect("small");
    Span {
        id: SpanId::new(number << 44 | from),
        agent_id: AgentId::new(Uuid::from_u128(agent)),
        agent_created_at: epoch() + TimeDelta::seconds(i64::try_from(agent % 3).expect("small")),
        hourly_rate: rate,
        started_at: at(from),
        ended_at: to.map(at),
        billed_through: None,
        caught_up: false,
        mark: at(from),
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
        warned_ceiling: None,
    }
}

pub(super) fn organization(balance: Decimal, spans: Vec<Span>) -> Organization {
    let ids: BTreeSet<AgentId> = spans.iter().map(|span| span.agent_id).collect();
    Organization {
        id: OrganizationId::new(Uuid::from_u128(99)),
        balance: usd(balance),
        carried_debt: Money::ZERO,
        charged_through: None,
        low_since: None,
        low_notice: LowCreditNotice::default(),
        own_low_credit_mark: None,
        agents: ids.iter().map(|id| agent(id.uuid().as_u128())).collect(),
        spans,
    }
}

pub(super) fn decide_at(organization: &Organization, at: i64) -> Decision {
    decide_part(organization, at, usize::MAX)
}

pub(super) fn decide_part(organization: &Organization, at: i64, max_charges: usize) -> Decision {
    let terms = Terms {
        period_end: hour(at),
        now: hour(at).instant(),
        prices: &Prices::default(),
        max_charges,
    };
    decide(organization, &terms)
}

/// The organization as the database holds it after a decision.
pub(super) fn applied(mut organization: Organization, decision: &Decision) -> Organization {
    organization.balance = decision.balance;
    organization.carried_debt = decision.carried_debt;
    assert!(organization.charged_through <= Some(decision.charged_through));
    organization.charged_through = Some(decision.charged_through);
    for progress in &decision.span_progress {
        let span = organization
            .spans
            .iter_mut()
            .find(|span| span.id == progress.id)
            .expect("progress of a span of the organization");
        assert_eq!(span.billed_through, progress.previous);
        assert!(progress.caught_up || !span.caught_up);
        span.billed_through = progress.billed_through;
        span.caught_up = progress.caught_up;
    }
    // The charged part and the part that is written off are not needed any more.
    for write_off in &decision.write_offs {
        let span = &mut organization.spans[write_off.span_index];
        span.started_at = write_off.end;
        span.billed_through = None;
        span.caught_up = false;
    }
    for span in &mut organization.spans {
        span.mark = span.mark_at(Some(decision.charged_through));
    }
    let consequences = decision.consequences.clone().unwrap_or_default();
    organization.low_since = consequences.low_since;
    organization.low_notice = consequences.low_notice;
    for update in &consequences.updates {
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
        Just(dec!(0.02)),
        Just(dec!(0.0025)),
        Just(dec!(0)),
        (1i64..20_000).prop_map(|tenths| Decimal::new(tenths, 4)),
    ];
    let one = (1u128..6, rate, 0..limit, 0..limit / 4);
    // Spans of one agent do not overlap: each begins after the previous one ended.
    proptest::collection::vec(one, 0..14).prop_map(move |drawn| {
        let mut ends = std::collections::HashMap::new();
        let mut spans = Vec::new();
        for (agent, rate, from, length) in drawn {
            let start = from.max(ends.get(&agent).copied().unwrap_or(0));
            ends.insert(agent, start + length + 1);
            spans.push(span(agent, rate, start, Some(start + length)));
        }
        for agent in 6..8 {
            spans.push(span(agent, dec!(0.02), 1_800_000_000, None));
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
    fn balances_never_go_below_zero_and_charges_are_in_order(spans in spans(), balance in balance(), at in 0..HOURS) {
        let before = organization(balance, spans);
        let decision = decide_at(&before, at);
        let charged: Money = decision.charges.iter().map(|charge| charge.slice.amount).sum();
        prop_assert_eq!(decision.charged, charged);
        prop_assert_eq!(decision.balance + decision.charged, before.balance);
        prop_assert!(decision.balance >= Money::ZERO);
        prop_assert!(decision.charges.is_sorted_by_key(|charge| charge.slice.hour()));
    }

    #[test]
    fn metered_time_is_charged_owed_or_written_off(
        spans in spans(), balance in balance(), at in 0..HOURS + 90 * 24
    ) {
        let before = organization(balance, spans);
        let decision = decide_at(&before, at);
        let through = hour(at).instant();
        let worth: Money = before.spans.iter().map(|span| span.uncharged(through)).sum();
        let written_off: Money = decision.write_offs.iter().map(|write_off| write_off.worth).sum();
        prop_assert_eq!(decision.charged + decision.owed + written_off, worth);
    }

    #[test]
    fn the_worth_of_a_span_is_the_sum_of_its_slices(spans in spans(), at in 0..HOURS) {
        let through = hour(at).instant();
        for span in spans {
            let mut sum = Money::ZERO;
            let mut from = span.mark;
            while let Some(slice) = span.slice_at(from, through) {
                prop_assert_eq!(slice.start, from);
                prop_assert!(slice.end <= slice.hour().next().instant() && slice.end > slice.start);
                sum += slice.amount;
                from = slice.end;
            }
            prop_assert_eq!(span.uncharged(through), sum);
        }
    }

    #[test]
    fn marks_say_what_is_charged(
        spans in spans(), balance in balance(), later in balance(), at in 1..HOURS, hidden in any::<u16>()
    ) {
        // Spans that the first run does not see, because their writers have not committed.
        let mut all = organization(balance, spans);
        let (mut seen, mut unseen) = (all.clone(), Vec::new());
        seen.spans.clear();
        for (index, span) in all.spans.drain(..).enumerate() {
            if hidden >> (index % 16) & 1 == 1 { unseen.push(span) } else { seen.spans.push(span) }
        }
        let decision = decide_at(&seen, at);
        let mut charged = seen.spans.clone();
        let after = applied(seen, &decision);
        for charge in &decision.charges {
            charged[charge.span_index].mark = charge.slice.end;
        }
        let marks = |spans: &[Span]| spans.iter().map(|span| span.mark).collect::<Vec<_>>();
        prop_assert_eq!(marks(&charged), marks(&after.spans));
        // Nothing of the late ones passes for charged.
        let mut second = after;
        for mut span in unseen {
            span.mark = span.mark_at(second.charged_through);
            prop_assert_eq!(span.mark, span.started_at);
            second.spans.push(span);
        }
        second.balance += usd(later);
        let decision = decide_at(&second, at + 1);
        let mut charged = second.spans.clone();
        let after = applied(second, &decision);
        for charge in &decision.charges {
            charged[charge.span_index].mark = charge.slice.end;
        }
        prop_assert_eq!(marks(&charged), marks(&after.spans));
    }

    #[test]
    fn parts_write_the_charges_of_one_decision(
        spans in spans(), balance in balance(), at in 0..HOURS, max_charges in 1usize..20
    ) {
        let start = organization(balance, spans);
        let whole = decide_at(&start, at);
        let (mut in_parts, mut organization) = (Vec::new(), start.clone());
        let last = loop {
            let decision = decide_part(&organization, at, max_charges);
            in_parts.extend(rows(&organization, &decision));
            organization = applied(organization, &decision);
            if decision.consequences.is_some() {
                break decision;
            }
            prop_assert!(decision.charges.len() >= max_charges);
        };
        prop_assert_eq!(in_parts, rows(&start, &whole));
        prop_assert_eq!(last.consequences, whole.consequences);
        prop_assert_eq!((last.owed, last.balance, last.charged_through), (whole.owed, whole.balance, whole.charged_through));
    }

    #[test]
    fn carried_debt_is_paid_before_any_charge(
        spans in spans(), balance in balance(), debt in balance(), at in 0..HOURS
    ) {
        let mut start = organization(balance, spans.clone());
        start.carried_debt = usd(debt);
        let decision = decide_at(&start, at);
        prop_assert_eq!(decision.carried_debt_payment + decision.carried_debt, start.carried_debt);
        prop_assert_eq!(decision.balance + decision.charged + decision.carried_debt_payment, start.balance);
        let without = organization((start.balance - decision.carried_debt_payment).to_decimal(), spans);
        let expected = if decision.carried_debt.is_positive() {
            Vec::new()
        } else {
            rows(&without, &decide_at(&without, at))
        };
        prop_assert_eq!(rows(&start, &decision), expected);
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
        prop_assert_eq!((a.owed, a.balance, a.consequences), (b.owed, b.balance, b.consequences));
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
