//! What exactly happens at each limit. The laws in `properties` and the cases in `cases` do not depend on these.

use chrono::{DateTime, Utc};
use rust_decimal::dec;

use super::properties::{decide_at, decide_part, hour, organization, span, usd};
use super::*;
use crate::domain::agent::BillingStatus;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

const HOUR: i64 = 3_600_000_000;

fn running(agent: u128) -> Span {
    span(agent, dec!(0.02), 0, None)
}

fn consequences(decision: &Decision) -> &Consequences {
    decision.consequences.as_ref().expect("the last part")
}

#[test]
fn an_organization_stays_above_the_low_credit_mark_if_that_much_is_left_after_all_that_is_due() {
    for (balance, carried, low_credit, stays) in [
        (dec!(2.10), dec!(0), dec!(2), true),
        (dec!(2.099999), dec!(0), dec!(2), false),
        (dec!(0.2), dec!(0), dec!(2), false),
        (dec!(3.10), dec!(1), dec!(2), true),
        (dec!(3.099999), dec!(1), dec!(2), false),
        (dec!(0.1), dec!(0), dec!(0), true),
        // No low-credit mark allows a debt.
        (dec!(0.09), dec!(0), dec!(-1), false),
    ] {
        let mut organization = organization(balance, vec![running(1)]);
        organization.carried_debt = usd(carried);
        organization.own_low_credit_mark = Some(usd(low_credit));
        let is_above = organization.stays_above_low_credit(hour(5), &Prices::default());
        assert_eq!(is_above, stays, "{balance} {carried} {low_credit}");
    }
}

#[test]
fn a_balance_at_the_low_credit_limit_is_not_low() {
    for (balance, is_low) in [(dec!(2.02), false), (dec!(2.019999), true)] {
        let decision = decide_at(&organization(balance, vec![running(1)]), 1);
        let low_since = consequences(&decision).low_since;
        assert_eq!(low_since, is_low.then(|| hour(1).instant()), "{balance}");
    }
}

#[test]
fn only_a_complete_warning_of_a_pending_shutdown_stands() {
    let (warned, shutdown) = (Some(hour(2).instant()), Some(hour(50).instant()));
    for (billing, warned_at, shutdown_at, is_warned_anew) in [
        (BillingStatus::ShutdownPending, warned, shutdown, false),
        (BillingStatus::ShutdownPending, warned, None, true),
        (BillingStatus::ShutdownPending, None, shutdown, true),
        (BillingStatus::Active, None, None, true),
        (BillingStatus::Warning, warned, shutdown, true),
    ] {
        let mut organization = organization(dec!(0), vec![running(1)]);
        organization.agents[0].billing = billing;
        organization.agents[0].warned_at = warned_at;
        organization.agents[0].shutdown_at = shutdown_at;
        let decision = decide_at(&organization, 5);
        let updates = &consequences(&decision).updates;
        let case = format!("{billing:?} {warned_at:?} {shutdown_at:?}");
        assert_eq!(updates.len(), usize::from(is_warned_anew), "{case}");
        for update in updates {
            assert_eq!(update.warned_at, Some(hour(5).instant()), "{case}");
            assert_eq!(update.shutdown_at, Some(hour(53).instant()), "{case}");
            assert_eq!(update.stop, None, "{case}");
        }
    }
}

#[test]
fn a_warning_of_another_organization_is_none() {
    // Whatever is owed, and however long ago the other one was warned.
    for (rate, at) in [(dec!(0.02), 5), (dec!(0.02), 400), (dec!(400), 400)] {
        let mut organization = warned(vec![span(1, rate, 0, None)]);
        organization.agents[0].warning = WarningDelivery::Unwritten;
        let decision = decide_at(&organization, at);
        let [update] = consequences(&decision).updates.as_slice() else {
            panic!("{rate} {at}: {decision:?}")
        };
        assert_eq!(
            update.billing,
            BillingStatus::ShutdownPending,
            "{rate} {at}"
        );
        assert_eq!(update.warned_at, Some(hour(at).instant()), "{rate} {at}");
        assert_eq!(
            update.shutdown_at,
            Some(hour(at + 48).instant()),
            "{rate} {at}"
        );
        let notices = &consequences(&decision).notices;
        let kinds: Vec<&str> = notices.iter().map(Notice::event_type).collect();
        assert_eq!(kinds, ["agent.shutdown_scheduled"], "{rate} {at}");
    }
}

#[test]
fn an_agent_without_debt_loses_what_is_left_of_a_warning() {
    let (warned, shutdown) = (Some(hour(2).instant()), Some(hour(50).instant()));
    for (billing, warned_at, shutdown_at) in [
        (BillingStatus::Active, warned, None),
        (BillingStatus::Active, None, shutdown),
        (BillingStatus::Warning, None, None),
    ] {
        let mut organization = organization(dec!(50), vec![running(1)]);
        organization.agents[0].billing = billing;
        organization.agents[0].warned_at = warned_at;
        organization.agents[0].shutdown_at = shutdown_at;
        let decision = decide_at(&organization, 5);
        let [update] = consequences(&decision).updates.as_slice() else {
            panic!("{billing:?} {warned_at:?} {shutdown_at:?}: {decision:?}")
        };
        let kept = (update.billing, update.warned_at, update.shutdown_at);
        assert_eq!(kept, (BillingStatus::Active, None, None));
    }
}

/// An organization with an agent that was warned at hour 2 with the shutdown date at hour 50.
fn warned(spans: Vec<Span>) -> Organization {
    let mut organization = organization(dec!(0), spans);
    let agent = &mut organization.agents[0];
    agent.billing = BillingStatus::ShutdownPending;
    agent.warned_at = Some(hour(2).instant());
    agent.shutdown_at = Some(hour(50).instant());
    agent.warning = WarningDelivery::HandedOver(hour(2).instant());
    organization
}

#[test]
fn a_debt_as_large_as_the_ceiling_waits_for_the_shutdown_date() {
    // Nothing was spent at hour 2, so the ceiling is five dollars.
    for (rate, is_suspended) in [(dec!(1), false), (dec!(1.0001), true)] {
        let decision = decide_at(&warned(vec![span(1, rate, 3 * HOUR, None)]), 8);
        let updates = &consequences(&decision).updates;
        assert_eq!(updates.len(), usize::from(is_suspended), "{rate}");
    }
}

#[test]
fn the_ceiling_is_the_one_that_the_warning_names() {
    // Six dollars are owed, and nothing is known any more of what was metered at hour 2.
    for (named, is_suspended) in [
        (Some(dec!(6)), false),
        (Some(dec!(5.999999)), true),
        (None, true),
    ] {
        let mut organization = warned(vec![span(1, dec!(1.2), 3 * HOUR, None)]);
        organization.agents[0].warned_ceiling = named.map(usd);
        let decision = decide_at(&organization, 8);
        let updates = &consequences(&decision).updates;
        assert_eq!(updates.len(), usize::from(is_suspended), "{named:?}");
    }
}

#[test]
fn a_warning_that_names_no_ceiling_has_that_of_what_was_metered_when_it_was_written() {
    // A dollar an hour makes the ceiling 72 dollars; without it, the seven or eight that are owed are above five.
    for (ended_at, is_suspended) in [(2 * HOUR, true), (2 * HOUR + 1, false), (HOUR, true)] {
        let earlier = span(1, dec!(1), 0, Some(ended_at));
        let spans = vec![earlier, span(1, dec!(1.2), 3 * HOUR, None)];
        let decision = decide_at(&warned(spans), 8);
        let updates = &consequences(&decision).updates;
        assert_eq!(updates.len(), usize::from(is_suspended), "{ended_at}");
    }
}

#[test]
fn a_suspended_agent_is_stopped_only_if_it_may_have_a_container() {
    for expects_container in [true, false] {
        let mut organization = warned(vec![span(1, dec!(400), 3 * HOUR, None)]);
        organization.agents[0].expects_container = expects_container;
        let decision = decide_at(&organization, 8);
        let [update] = consequences(&decision).updates.as_slice() else {
            panic!("{decision:?}")
        };
        assert_eq!(update.billing, BillingStatus::Suspended);
        assert_eq!(update.stop.is_some(), expects_container);
    }
}

#[test]
fn a_notice_lists_the_agents_by_name() {
    let decision = decide_at(&organization(dec!(0), vec![running(1), running(2)]), 3);
    let Some(Notice::ShutdownScheduled { agents, .. }) = consequences(&decision).notices.first()
    else {
        panic!("{decision:?}")
    };
    let names: Vec<Option<&str>> = agents.iter().map(|agent| agent.name.as_deref()).collect();
    assert_eq!(names, [Some("agent 1"), Some("agent 2")]);
}

#[test]
fn carried_debt_is_paid_first_and_counts_as_spent() {
    for (balance, paid, charged) in [
        (dec!(10), dec!(3), dec!(0.02)),
        (dec!(3), dec!(3), dec!(0)),
        (dec!(1), dec!(1), dec!(0)),
    ] {
        let mut organization = organization(balance, vec![running(1)]);
        organization.carried_debt = usd(dec!(3));
        let decision = decide_at(&organization, 1);
        assert_eq!(decision.carried_debt_payment, usd(paid), "{balance}");
        assert_eq!(decision.carried_debt, usd(dec!(3) - paid), "{balance}");
        assert_eq!(decision.charged, usd(charged), "{balance}");
    }
    let position = Position {
        balance: usd(dec!(7)),
        carried_debt: usd(dec!(3)),
        own_low_credit_mark: None,
        spans: &[running(1)],
        decided_through: None,
    };
    let forecast = forecast(&position, hour(0).instant(), &Prices::default());
    assert_eq!(forecast.hours_left, Some(dec!(200)));
}

#[test]
fn a_balance_at_the_low_credit_limit_has_no_time_left_until_it_is_low() {
    for (balance, is_known) in [(dec!(2), false), (dec!(2.02), true)] {
        let position = Position {
            balance: usd(balance),
            carried_debt: Money::ZERO,
            own_low_credit_mark: None,
            spans: &[running(1)],
            decided_through: None,
        };
        let forecast = forecast(&position, hour(0).instant(), &Prices::default());
        assert_eq!(forecast.low_at.is_some(), is_known, "{balance}");
    }
}

#[test]
fn a_balance_that_lasts_beyond_the_year_9999_is_shown_to_last_until_its_end() {
    let end: Option<DateTime<Utc>> = "9999-12-31T23:59:59Z".parse().ok();
    for balance in [dec!(200_000), dec!(1_000_000), dec!(9_999_999_999)] {
        let position = Position {
            balance: usd(balance),
            carried_debt: Money::ZERO,
            own_low_credit_mark: None,
            spans: &[span(1, dec!(0.0001), 0, None)],
            decided_through: None,
        };
        let forecast = forecast(&position, hour(0).instant(), &Prices::default());
        let dates = (forecast.low_at, forecast.empty_at);
        assert_eq!(dates, (end, end), "{balance}");
    }
}

#[test]
fn a_full_part_completes_its_hour() {
    let spans = vec![running(1), running(2)];
    for (max_charges, charges, is_last) in [
        (1, 2, false),
        (2, 2, false),
        (3, 4, false),
        (5, 6, true),
        (6, 6, true),
        (7, 6, true),
    ] {
        let decision = decide_part(&organization(dec!(5), spans.clone()), 3, max_charges);
        assert_eq!(decision.charges.len(), charges, "{max_charges}");
        assert_eq!(decision.consequences.is_some(), is_last, "{max_charges}");
    }
}

#[test]
fn a_span_that_ended_and_is_charged_does_not_hold_the_account_back() {
    let mut ended = span(1, dec!(0.02), 0, Some(HOUR / 2));
    ended.mark = ended.ended_at.expect("an end");
    let decision = decide_at(&organization(dec!(5), vec![ended, running(2)]), 3);
    assert_eq!(decision.charged_through, hour(3).instant());
}

#[test]
fn a_span_that_has_caught_up_is_not_written_again() {
    let mut open = running(1);
    open.caught_up = true;
    open.mark = hour(2).instant();
    let mut organization = organization(dec!(5), vec![open]);
    organization.charged_through = Some(hour(2).instant());
    let decision = decide_at(&organization, 3);
    assert_eq!(decision.charges.len(), 1);
    assert_eq!(decision.span_progress, []);
}

#[test]
fn open_findings_are_summed_up_for_people() {
    let open = |kind: &str, count| OpenFindings {
        kind: kind.to_owned(),
        count,
    };
    let summary = OpenFindings::summary(&[open("gap", 2), open("overlap", 1)]);
    assert_eq!(summary, "2 gap, 1 overlap");
}

#[test]
fn unpaid_backups_are_kept_for_37_days_after_the_agents_oldest_debt() {
    let ended = |agent, from, to| span(agent, dec!(0.0025), from, Some(to));
    let day = 24;
    for (spans, unpaid_since) in [
        (vec![running(1)], Some(0)),
        (
            vec![ended(1, 3 * HOUR, 4 * HOUR), ended(1, HOUR, 2 * HOUR)],
            Some(1),
        ),
        // Another agent's debt, time that no run has decided, and none at all.
        (vec![running(2)], None),
        (vec![span(1, dec!(0.02), 9 * HOUR, None)], None),
        (vec![ended(1, HOUR, HOUR)], None),
    ] {
        let agent = running(1).agent_id;
        let dates = unpaid_backups(agent, &spans, hour(9).instant());
        let expected = unpaid_since.map(|since| UnpaidBackups {
            unpaid_since: hour(since).instant(),
            notice_at: hour(since + 30 * day).instant(),
            deletion_at: hour(since + 37 * day).instant(),
        });
        assert_eq!(dates, expected, "{spans:?}");
    }
}
