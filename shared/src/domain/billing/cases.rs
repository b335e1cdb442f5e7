//! Cases that owners and operators ask about, calculated by hand.

use rust_decimal::{Decimal, dec};

use super::properties::{applied, decide_at, hour, organization, span, usd};
use super::*;
use crate::domain::agent::BillingStatus;
use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

fn running(agent: u128) -> Span {
    span(agent, dec!(0.02), 0, None)
}

fn updates(decision: &Decision) -> &[BillingUpdate] {
    &decision
        .consequences
        .as_ref()
        .expect("the last part")
        .updates
}

fn notices(decision: &Decision) -> &[Notice] {
    &decision
        .consequences
        .as_ref()
        .expect("the last part")
        .notices
}

fn minutes(n: i64) -> i64 {
    n * 60_000_000
}

#[test]
fn twenty_minutes_cost_0_006667() {
    let twenty = span(1, dec!(0.02), minutes(40), Some(minutes(60)));
    let decision = decide_at(&organization(dec!(10), vec![twenty]), 1);
    assert_eq!(decision.charged, usd(dec!(0.006667)));
    assert!(decision.span_progress[0].caught_up);
}

#[test]
fn ten_agents_owing_47_hours_pay_the_oldest_debt_to_the_last_whole_slice() {
    let poor = organization(dec!(0), (1..=10).map(running).collect());
    let decision = decide_at(&poor, 47);
    assert_eq!(
        (decision.charged, decision.owed),
        (Money::ZERO, usd(dec!(9.40)))
    );
    let mut paid = applied(poor, &decision);
    paid.balance = usd(dec!(5.00));
    let decision = decide_at(&paid, 47);
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
    let decision = decide_at(&organization(dec!(0.04), vec![running(1), running(2)]), 3);
    let hours: Vec<Hour> = decision
        .charges
        .iter()
        .map(|charge| charge.slice.hour())
        .collect();
    assert_eq!(hours, [hour(0), hour(0)]);
    assert_eq!(decision.owed, usd(dec!(0.08)));
    assert!(
        updates(&decision)
            .iter()
            .all(|update| update.billing == BillingStatus::ShutdownPending)
    );
}

#[test]
fn debt_is_written_off_ninety_days_after_it_fell_due_and_not_before() {
    let poor = organization(dec!(0), vec![span(1, dec!(0.02), 0, Some(minutes(90)))]);
    let due = |days: i64, hours: i64| decide_at(&poor, days * 24 + hours);
    assert!(due(90, 0).write_offs.is_empty());
    let first = due(90, 1);
    assert_eq!(first.write_offs.len(), 1);
    assert_eq!(
        (first.write_offs[0].worth, first.owed),
        (usd(dec!(0.02)), usd(dec!(0.01)))
    );
    assert_eq!(first.write_offs[0].end, hour(1).instant());
    let rest = decide_at(&applied(poor.clone(), &first), 90 * 24 + 2);
    assert_eq!(
        (rest.write_offs[0].worth, rest.owed),
        (usd(dec!(0.01)), Money::ZERO)
    );
    // The balance is charged before anything is written off.
    let mut paid = poor;
    paid.balance = usd(dec!(0.02));
    let decision = decide_at(&paid, 100 * 24);
    assert_eq!(
        (decision.charged, decision.write_offs[0].worth),
        (usd(dec!(0.02)), usd(dec!(0.01)))
    );
}

#[test]
fn a_slice_that_rounds_to_zero_is_still_charged() {
    let microsecond = span(1, dec!(0.0025), 0, Some(1));
    let decision = decide_at(&organization(dec!(0), vec![microsecond]), 1);
    assert_eq!(decision.charges.len(), 1);
    assert_eq!(decision.charges[0].slice.amount, Money::ZERO);
}

#[test]
fn a_span_of_length_zero_has_caught_up_without_a_charge() {
    let empty = span(1, dec!(0.02), 5, Some(5));
    let decision = decide_at(&organization(dec!(1), vec![empty]), 1);
    assert!(decision.charges.is_empty());
    assert!(decision.span_progress[0].caught_up);
}

/// The decision at hour `at` about one agent in debt, in `shutdown_pending` since hour 2 with the shutdown date at hour
/// 50.
fn decide_pending_shutdown(warning: WarningDelivery, balance: Decimal, at: i64) -> Decision {
    let mut organization = organization(balance, vec![running(1)]);
    organization.low_since = Some(hour(1).instant());
    let agent = &mut organization.agents[0];
    agent.billing = BillingStatus::ShutdownPending;
    agent.warned_at = Some(hour(2).instant());
    agent.shutdown_at = Some(hour(50).instant());
    agent.warning = warning;
    decide_at(&organization, at)
}

#[test]
fn an_agent_is_suspended_only_after_its_warning_was_handed_over_for_a_day() {
    let handed_over = |at| WarningDelivery::HandedOver(hour(at).instant());
    for (warning, at, suspended) in [
        (handed_over(2), 49, false),
        (handed_over(2), 50, true),
        (handed_over(26), 50, true),
        (handed_over(27), 50, false),
        (handed_over(27), 51, true),
        (WarningDelivery::Pending, 50, false),
        (WarningDelivery::Pending, 2 + 7 * 24 - 1, false),
        (WarningDelivery::Pending, 2 + 7 * 24, true),
        (WarningDelivery::Undeliverable, 49, false),
        (WarningDelivery::Undeliverable, 50, true),
    ] {
        let decision = decide_pending_shutdown(warning, dec!(0), at);
        let now_suspended = updates(&decision)
            .first()
            .is_some_and(|update| update.billing == BillingStatus::Suspended);
        assert_eq!(now_suspended, suspended, "{warning:?} at hour {at}");
        assert_eq!(
            updates(&decision)
                .first()
                .is_some_and(|update| update.stop.is_some()),
            suspended
        );
    }
}

#[test]
fn money_that_arrived_before_the_deadline_saves_the_agent() {
    let decision =
        decide_pending_shutdown(WarningDelivery::HandedOver(hour(2).instant()), dec!(50), 50);
    assert_eq!(updates(&decision)[0].billing, BillingStatus::Active);
    assert_eq!(updates(&decision)[0].shutdown_at, None);
    assert_eq!(decision.owed, Money::ZERO);
}

#[test]
fn low_credit_is_announced_once_and_again_after_a_recovery() {
    let announced = |decision: &Decision| {
        notices(decision)
            .iter()
            .map(Notice::event_type)
            .collect::<Vec<_>>()
    };
    let mut organization = organization(dec!(2.01), vec![running(1)]);
    let mut at = 0;
    let mut next = |organization: &mut Organization| {
        at += 1;
        let decision = decide_at(organization, at);
        *organization = applied(organization.clone(), &decision);
        announced(&decision)
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
        let decision = decide_at(&organization, 5);
        assert!(updates(&decision).is_empty() && decision.owed.is_positive());
    }
}

#[test]
fn the_warning_states_the_debt_now_and_at_the_shutdown_date() {
    let decision = decide_at(&organization(dec!(0), vec![running(1), running(2)]), 3);
    let Some(Notice::ShutdownScheduled {
        owed,
        owed_at_shutdown,
        agent_count,
        ..
    }) = notices(&decision).first()
    else {
        panic!("no warning: {:?}", notices(&decision))
    };
    assert_eq!((*agent_count, *owed), (2, Some(usd(dec!(0.12)))));
    assert_eq!(
        *owed_at_shutdown,
        Some(usd(dec!(0.12)) + usd(dec!(0.04) * dec!(48)))
    );
}

#[test]
fn the_forecast_says_when_the_balance_is_low_and_empty() {
    let now = hour(1).instant();
    let forecast_of = |balance, spans: &[Span], decided_through| {
        let position = Position {
            balance: usd(balance),
            carried_debt: Money::ZERO,
            own_low_credit_mark: None,
            spans,
            decided_through,
        };
        forecast(&position, now, &Prices::default())
    };
    let forecast_for = |balance| forecast_of(balance, &[running(1)], Some(now));
    let funded = forecast_for(dec!(4.02));
    assert_eq!(funded.owed, usd(dec!(0.02)));
    assert_eq!(funded.burn_per_hour, usd(dec!(0.02)));
    assert_eq!(funded.hours_left, Some(dec!(200)));
    assert_eq!(funded.low_at, Some(hour(101).instant()));
    assert_eq!(funded.empty_at, Some(hour(201).instant()));
    let broke = forecast_for(dec!(0));
    assert_eq!(
        (broke.hours_left, broke.low_at, broke.empty_at),
        (Some(dec!(0)), None, Some(now))
    );
    let idle = forecast_of(dec!(3), &[], None);
    assert_eq!(
        (idle.hours_left, idle.low_at, idle.empty_at),
        (None, None, None)
    );
}

/// Whether two agents are suspended at hour `at`. They were warned at hour 2, when they spent 0.02 dollars an hour, with
/// the shutdown date at hour 50; half an hour later one began to cost 400 dollars an hour.
fn is_suspended_above_the_ceiling(warning: WarningDelivery, at: i64) -> bool {
    let mut organization = organization(
        dec!(0),
        vec![
            span(1, dec!(0.02), minutes(60), None),
            span(2, dec!(400), minutes(150), None),
        ],
    );
    for agent in &mut organization.agents {
        agent.billing = BillingStatus::ShutdownPending;
        agent.warned_at = Some(hour(2).instant());
        agent.shutdown_at = Some(hour(50).instant());
        agent.warning = warning;
    }
    let decision = decide_at(&organization, at);
    let updates = updates(&decision);
    assert!(updates.is_empty() || updates.len() == 2, "{updates:?}");
    assert!(
        updates
            .iter()
            .all(|update| update.is_unwarned != matches!(warning, WarningDelivery::HandedOver(_)))
    );
    !updates.is_empty()
}

#[test]
fn a_debt_above_the_ceiling_does_not_wait_for_the_shutdown_date() {
    let handed_over = |at| WarningDelivery::HandedOver(hour(at).instant());
    for (warning, at, suspended) in [
        (handed_over(2), 3, false),
        (handed_over(2), 7, false),
        (handed_over(2), 8, true),
        (handed_over(30), 35, false),
        (handed_over(30), 36, true),
        (WarningDelivery::Pending, 2 + 95, false),
        (WarningDelivery::Pending, 2 + 96, true),
        (WarningDelivery::Undeliverable, 49, false),
        (WarningDelivery::Undeliverable, 50, true),
    ] {
        let is_suspended = is_suspended_above_the_ceiling(warning, at);
        assert_eq!(is_suspended, suspended, "{warning:?} at hour {at}");
    }
}

#[test]
fn the_ceiling_is_five_dollars_or_three_days_of_what_was_spent() {
    for (rate, ceiling) in [
        (dec!(0.02), dec!(5)),
        (dec!(0.0695), dec!(5.004)),
        (dec!(1), dec!(72)),
    ] {
        let decision = decide_at(&organization(dec!(0), vec![span(1, rate, 0, None)]), 3);
        let Some(Notice::ShutdownScheduled { debt_ceiling, .. }) = notices(&decision).first()
        else {
            panic!("no warning: {decision:?}")
        };
        assert_eq!(*debt_ceiling, Some(usd(ceiling)), "{rate}");
    }
}
