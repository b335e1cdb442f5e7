//! What an owner is told of the future, compared with what billing then does.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use shared::app::credit::summary::{CreditSummary, credit_summary};
use shared::domain::ids::OrganizationId;
use tests::world::hours;
use tests::{World, audit, run};
use uuid::Uuid;

use super::storm::Dice;

/// Another seed makes other histories.
const SEED: u64 = 0x5eed_f04e_ca57;
/// Each in an organization of its own. They share the runs, so the test takes seconds.
const HISTORIES: usize = 200;
/// What happens in an organization ends a while after this hour. Then its owner asks.
const LAST_CHANGES: i64 = 8;
/// Forecasts are compared with the runs up to this hour.
const LAST_FORECAST: i64 = LAST_CHANGES + 26;
const GRACE_HOURS: i64 = 48;
/// Charges are rounded to millionths of a dollar, forecasts to seconds.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// An organization with one to three running agents. Two of three have a low-credit mark of their own.
async fn organization(world: &World, dice: &mut Dice) -> Uuid {
    let cents = 10 + dice.roll(150);
    let balance = format!("{}.{:02}", cents / 100, cents % 100);
    let organization = world.organization(&balance).await;
    sqlx::query(
        "INSERT INTO milady_sandboxes (organization_id, user_id, status, hourly_rate, created_at, updated_at)
        SELECT $1, u.id, 'running', 0.01 + $2 * 0.001, billing_clock(), billing_clock()
        FROM users u, generate_series(1, 1 + $2 % 3) WHERE u.organization_id = $1",
    )
    .bind(organization)
    .bind(small(dice.roll(40)))
    .execute(&world.pool)
    .await
    .expect("agents");
    if dice.roll(3) > 0 {
        write(world, SET_MARK, organization, "-", dice.roll(30)).await;
    }
    organization
}

const SET_STATUS: &str = "UPDATE milady_sandboxes SET status = $2,
        last_backup_at = CASE $2 WHEN 'stopped' THEN billing_clock() ELSE last_backup_at END
    WHERE id = (SELECT id FROM milady_sandboxes WHERE organization_id = $1 ORDER BY id OFFSET $3 % 3 LIMIT 1)";
const SET_RATE: &str = "UPDATE milady_sandboxes SET hourly_rate = 0.01 + $3 * 0.001
    WHERE organization_id = $1 AND $2 <> ''";
const TOP_UP: &str = "WITH credit AS (
        UPDATE organizations SET credit_balance = credit_balance + $3 * 0.01
        WHERE id = $1 AND $2 <> '' RETURNING id)
    INSERT INTO credit_transactions (organization_id, amount, type, created_at)
    SELECT id, $3 * 0.01, 'credit', billing_clock() AT TIME ZONE 'UTC' FROM credit";
const REFUND: &str = "UPDATE cloud.billing_accounts SET carried_debt = carried_debt + $3 * 0.002
    WHERE organization_id = $1 AND $2 <> ''";
const SET_MARK: &str = "INSERT INTO cloud.organization_settings (organization_id, low_credit_mark, updated_at, updated_by)
    SELECT $1, 0.05 + $3 * 0.02, billing_clock(), $1 WHERE $2 <> ''
    ON CONFLICT (organization_id) DO UPDATE SET low_credit_mark = excluded.low_credit_mark";

async fn write(world: &World, sql: &'static str, organization: Uuid, status: &str, number: u64) {
    sqlx::query(sql)
        .bind(organization)
        .bind(status)
        .bind(small(number))
        .execute(&world.pool)
        .await
        .expect(sql);
}

fn small(number: u64) -> i64 {
    i64::try_from(number).expect("small")
}

async fn change(world: &World, organization: Uuid, dice: &mut Dice) {
    let status = match dice.roll(6) {
        0..=2 => "running",
        3 => "stopped",
        4 => "error",
        _ => "disconnected",
    };
    let sql = match dice.roll(8) {
        0..=3 => SET_STATUS,
        4 => SET_RATE,
        5 => TOP_UP,
        6 => REFUND,
        _ => SET_MARK,
    };
    write(world, sql, organization, status, dice.roll(40)).await;
}

/// The first run after the question that found the credit low, or not enough.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    low: Option<DateTime<Utc>>,
    empty: Option<DateTime<Utc>>,
}

/// Whether a date is at most one run before what it forecasts.
fn agrees(forecast: Option<DateTime<Utc>>, reached: Option<DateTime<Utc>>) -> bool {
    match (forecast, reached) {
        (Some(at), Some(run)) => {
            (-TOLERANCE..=TimeDelta::hours(1) + TOLERANCE).contains(&(run - at))
        }
        (Some(at), None) => at > hours(LAST_FORECAST) - TOLERANCE,
        (None, reached) => reached.is_none(),
    }
}

/// The same for low credit, of which there is no forecast once it is low.
fn agrees_on_low(credit: &CreditSummary, reached: Option<DateTime<Utc>>) -> bool {
    let forecast = &credit.forecast;
    let next_run = Some(hours(LAST_CHANGES + 1));
    match forecast.low_at {
        Some(_) => agrees(forecast.low_at, reached),
        None if forecast.burn_per_hour.is_positive() => reached == next_run,
        None => reached.is_none() || reached == next_run,
    }
}

async fn credit(world: &World, organization: Uuid) -> CreditSummary {
    let id = OrganizationId::new(organization);
    let credit = credit_summary(&world.database, &world.prices, id).await;
    credit.expect("a database").expect("an organization")
}

/// Runs billing hour by hour. Returns when each organization was first found low or in debt.
async fn simulate(world: &World) -> HashMap<Uuid, Reached> {
    let mut first: HashMap<Uuid, Reached> = HashMap::new();
    for hour in LAST_CHANGES + 1..=LAST_FORECAST {
        world.run_billing(hour).await;
        world.mark_events_handed_over().await;
        let rows: Vec<(Uuid, bool, bool)> = sqlx::query_as(
            "SELECT a.organization_id, a.low_since IS NOT NULL, EXISTS (
                SELECT FROM milady_sandboxes s
                WHERE s.organization_id = a.organization_id AND s.scheduled_shutdown_at IS NOT NULL)
            FROM cloud.billing_accounts a",
        )
        .fetch_all(&world.pool)
        .await
        .expect("accounts");
        for (organization, is_low, is_in_debt) in rows {
            let reached = first.entry(organization).or_default();
            if is_low {
                reached.low.get_or_insert(hours(hour));
            }
            if is_in_debt {
                reached.empty.get_or_insert(hours(hour));
            }
        }
    }
    first
}

/// Runs billing over all shutdown dates. Returns when each agent was suspended.
async fn simulate_shutdowns(world: &World) -> HashMap<Uuid, DateTime<Utc>> {
    let mut suspended_at = HashMap::new();
    for hour in LAST_CHANGES + GRACE_HOURS..=LAST_FORECAST + GRACE_HOURS {
        world.run_billing(hour).await;
        let suspended: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM milady_sandboxes WHERE billing_status = 'suspended'",
        )
        .fetch_all(&world.pool)
        .await
        .expect("agents");
        for agent in suspended {
            suspended_at.entry(agent).or_insert(hours(hour));
        }
    }
    suspended_at
}

#[test]
fn the_forecast_equals_a_simulation_of_the_real_tick_within_one_run_over_200_random_histories() {
    run(async {
        let (world, mut dice) = (World::new().await, Dice(SEED));
        let mut organizations = Vec::new();
        for _ in 0..HISTORIES {
            organizations.push(organization(&world, &mut dice).await);
        }
        for hour in 0..=LAST_CHANGES {
            if hour > 0 {
                world.run_billing(hour).await;
            }
            for minute in [4, 11, 15] {
                let at = hours(hour) + TimeDelta::minutes(minute * 3 + small(dice.roll(9)));
                world.set_clock(at).await;
                for organization in &organizations {
                    if dice.roll(3) == 0 {
                        change(&world, *organization, &mut dice).await;
                    }
                }
            }
        }
        // A while after the last change.
        let now = hours(LAST_CHANGES) + TimeDelta::minutes(57);
        world.set_clock(now).await;
        let mut forecasts = Vec::new();
        for organization in &organizations {
            forecasts.push(credit(&world, *organization).await);
        }

        let reached = simulate(&world).await;
        let (mut ended, mut became_low) = (0, 0);
        for (organization, credit) in organizations.iter().zip(&forecasts) {
            let forecast = &credit.forecast;
            let reached = reached.get(organization).copied().unwrap_or_default();
            assert!(
                agrees_on_low(credit, reached.low),
                "{organization}: {forecast:?} {reached:?}"
            );
            // A debt that nothing adds to is no forecast.
            if forecast.burn_per_hour.is_positive() {
                assert!(
                    agrees(forecast.empty_at, reached.empty),
                    "{organization}: {forecast:?} {reached:?}"
                );
                ended += usize::from(reached.empty.is_some());
                became_low += usize::from(forecast.low_at.is_some() && reached.low.is_some());
            }
        }
        // Or the histories show nothing.
        assert!(ended >= 40 && became_low >= 20, "{ended} {became_low}");

        // Agents that got their date since then are suspended on it, to the hour.
        let mut dates = HashMap::new();
        for (organization, before) in organizations.iter().zip(&forecasts) {
            if before.forecast.owed.is_positive() || before.forecast.empty_at == Some(now) {
                continue;
            }
            for shutdown in credit(&world, *organization).await.scheduled_shutdowns {
                dates.insert(shutdown.agent_id.uuid(), shutdown.at);
            }
        }
        assert!(dates.len() >= 20, "{}", dates.len());
        let suspended_at = simulate_shutdowns(&world).await;
        for (agent, date) in dates {
            assert_eq!(suspended_at.get(&agent), Some(&date), "{agent}");
        }
        audit::check(&world.pool).await;
    });
}
