//! The audit: a clean database gives no finding, and each corruption is found by its own kind.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::app::billing::audit::{AuditScope, audit_billing};
use shared::domain::billing::FindingKind;
use sqlx::AssertSqlSafe;
use tests::world::hours;
use tests::{World, run, suite};

use super::corruptions::{CORRUPTIONS, Corruption, corrupting_sql};
use super::statement::{assert_adds_up, at, rows, state};

/// The first hour of the days that [`eventful`] ends with: the 91st day.
const LATE: i64 = 91 * 24;

/// Three months with everything that changes money: debts, purchases, a write-off, deletions, changes of rates and
/// prices, and daily statements.
async fn eventful() -> World {
    let world = World::new().await;
    let poor = world.organization("0.05").await;
    let rich = world.organization("500").await;
    let gone = world.organization("3").await;
    let ended = world.agent(poor, "running").await;
    world.agent(poor, "stopped").await;
    let busy = world.agent(rich, "running").await;
    let deleted = world.agent(rich, "running").await;
    world.agent(rich, "stopped").await;
    world.agent(gone, "running").await;
    for hour in 1..=30 {
        world.set_clock(hours(hour) - TimeDelta::minutes(20)).await;
        match hour {
            5 => world.set_status(busy, "stopped").await,
            7 => world.set_status(busy, "running").await,
            9 => world.set_columns(busy, "hourly_rate = 0.0307").await,
            11 => world.delete(deleted).await,
            13 => {
                world.execute("DELETE FROM milady_sandboxes WHERE organization_id IN (SELECT id FROM organizations
                    WHERE credit_balance BETWEEN 2 AND 3)").await;
                world
                    .execute(
                        "DELETE FROM users WHERE organization_id IN (SELECT id FROM organizations
                    WHERE credit_balance BETWEEN 2 AND 3)",
                    )
                    .await;
                world
                    .execute("DELETE FROM organizations WHERE credit_balance BETWEEN 2 AND 3")
                    .await;
            }
            14 => world.set_status(ended, "pending").await,
            17 => world.top_up(poor, "0.03").await,
            _ => {}
        }
        world.run_billing(hour).await;
        if hour == 25 {
            state(&world).await;
        }
    }
    world
        .execute("INSERT INTO prices VALUES ('2026-03-03T00:00:00Z', 0.0213, 0.0031)")
        .await;
    world.mark_events_handed_over().await;
    // What the poor organization owes is written off after 90 days.
    for hour in LATE..LATE + 30 {
        world.run_billing(hour).await;
    }
    state(&world).await;
    world
        .set_clock(hours(LATE + 30) + TimeDelta::minutes(30))
        .await;
    world.top_up(poor, "7").await;
    world.run_billing(LATE + 31).await;
    world.run_billing(LATE + 32).await;
    world
        .execute("SELECT ensure_partitions(billing_clock())")
        .await;
    world
}

/// A copy of a world's database.
async fn copy(world: &World) -> World {
    static COPIES: AtomicU32 = AtomicU32::new(0);
    let (_, name) = world.url.rsplit_once('/').expect("a name");
    let copy = format!("{name}_copy_{}", COPIES.fetch_add(1, Ordering::Relaxed));
    let server = suite::server().await;
    let admin = suite::pool(&server.url("postgres"), 1);
    // A database is only copied while nobody uses it.
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
        .bind(name)
        .execute(&admin)
        .await
        .expect("an end of all sessions");
    server
        .create_database(&copy, Some(name))
        .await
        .expect("a copy");
    World::with_url(server.url(&copy))
}

#[test]
fn a_clean_database_gives_no_finding() {
    run(async {
        let world = eventful().await;
        // Everything that makes it worth auditing did happen.
        for (count, what) in [
            (world.count("SELECT count(*) FROM usage_spans WHERE closed_reason = 'written off'").await, "write-offs"),
            (world.count("SELECT count(*) FROM usage_spans WHERE closed_reason = 'organization gone'").await, "deletions"),
            (world.count("SELECT count(*) FROM usage_spans WHERE hourly_rate IN (0.0213, 0.0031)").await, "prices"),
            (world.count("SELECT count(*) FROM ledger_days WHERE external > 0").await, "purchases"),
            (world.count("SELECT count(*) FROM ledger_entries WHERE type = 'write_off'").await, "write-off entries"),
        ] {
            assert!(count > 0, "no {what}");
        }
        assert_adds_up(&world).await;
        state(&world).await;
        assert_adds_up(&world).await;
    });
}

/// The kinds of the open findings.
async fn found(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT DISTINCT kind FROM billing_findings WHERE resolved_at IS NULL ORDER BY 1",
    )
    .fetch_all(&world.pool)
    .await
    .expect("kinds")
}

#[test]
fn each_corruption_is_found_by_its_own_kind() {
    run(async {
        let world = eventful().await;
        let mut missed = Vec::new();
        for Corruption { kind, sql } in CORRUPTIONS {
            let corrupted = copy(&world).await;
            let corrupting = corrupting_sql(sql);
            sqlx::raw_sql(AssertSqlSafe(corrupting.as_str()))
                .execute(&corrupted.pool)
                .await
                .expect(sql);
            audit_billing(&corrupted.database, AuditScope::Recent)
                .await
                .expect(sql);
            let found = found(&corrupted).await;
            if !found.iter().any(|found| found == kind.as_str()) {
                missed.push((kind.as_str(), *sql, found));
            }
            corrupted.pool.close().await;
        }
        assert!(missed.is_empty(), "{missed:#?}");
        let planted: Vec<&str> = CORRUPTIONS
            .iter()
            .map(|planted| planted.kind.as_str())
            .collect();
        for kind in FindingKind::ALL {
            assert!(
                *kind == FindingKind::ExternalChange || planted.contains(&kind.as_str()),
                "no corruption for {kind:?}"
            );
        }
    });
}

#[test]
fn only_a_full_audit_finds_what_was_corrupted_long_ago() {
    run(async {
        let world = eventful().await;
        sqlx::raw_sql(AssertSqlSafe(corrupting_sql(
            "UPDATE usage_charges SET amount = amount + 0.000001 WHERE period_start = '2026-03-01 03:00:00+00'",
        )))
        .execute(&world.pool)
        .await
        .expect("a corruption");
        let recent = audit_billing(&world.database, AuditScope::Recent)
            .await
            .expect("an audit");
        assert!(recent.open.is_empty(), "{:?}", recent.open);
        let full = audit_billing(&world.database, AuditScope::Full)
            .await
            .expect("an audit");
        assert!(full.errors() > 0);
        // From now on it is in the window of every audit, and so it is resolved only when it is repaired.
        let recent = audit_billing(&world.database, AuditScope::Recent)
            .await
            .expect("an audit");
        assert_eq!((recent.errors(), recent.resolved), (full.errors(), 0));
        sqlx::raw_sql(AssertSqlSafe(corrupting_sql(
            "UPDATE usage_charges SET amount = amount - 0.000001 WHERE period_start = '2026-03-01 03:00:00+00'",
        )))
        .execute(&world.pool)
        .await
        .expect("a repair");
        let repaired = audit_billing(&world.database, AuditScope::Recent)
            .await
            .expect("an audit");
        assert_eq!(repaired.errors(), 0);
        assert_eq!(
            usize::try_from(repaired.resolved).expect("few"),
            full.errors()
        );
    });
}

#[test]
fn a_finding_keeps_its_first_time_until_it_is_resolved_and_then_opens_anew() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        let audit = async |hour| {
            world.set_clock(hours(hour)).await;
            audit_billing(&world.database, AuditScope::Recent)
                .await
                .expect("an audit");
            rows(&world, "SELECT kind, found_at, last_seen_at, resolved_at FROM billing_findings ORDER BY id").await
        };
        assert_eq!(audit(1).await, [Value::Null; 0]);
        world.set_columns(agent, "total_billed = 5").await;
        let time = |hour: i64| format!("2026-03-01T{hour:02}:00:00+00:00");
        let finding = |found: i64, seen: i64, resolved: Option<i64>| {
            json!({"kind": "total_billed_differs", "found_at": time(found), "last_seen_at": time(seen),
                "resolved_at": resolved.map(time)})
        };
        assert_eq!(audit(2).await, [finding(2, 2, None)]);
        assert_eq!(audit(3).await, [finding(2, 3, None)]);
        world.set_columns(agent, "total_billed = 0").await;
        assert_eq!(audit(4).await, [finding(2, 3, Some(4))]);
        world.set_columns(agent, "total_billed = 5").await;
        assert_eq!(
            audit(5).await,
            [finding(2, 3, Some(4)), finding(5, 5, None)]
        );
    });
}

#[test]
fn a_change_of_a_balance_that_no_row_explains_is_reported_and_is_no_error() {
    run(async {
        let world = World::new().await;
        let (explained, unexplained) = (
            world.organization("10").await,
            world.organization("10").await,
        );
        for organization in [explained, unexplained] {
            world.agent(organization, "running").await;
        }
        world.run_billing(1).await;
        world.set_clock(hours(2)).await;
        world.top_up(explained, "5").await;
        sqlx::query("UPDATE organizations SET credit_balance = credit_balance - 1.5 WHERE id = $1")
            .bind(unexplained)
            .execute(&world.pool)
            .await
            .expect("a debit");
        world.run_billing(3).await;
        world.set_clock(hours(25)).await;
        state(&world).await;
        let report = audit_billing(&world.database, AuditScope::Recent)
            .await
            .expect("an audit");
        assert_eq!(report.errors(), 0);
        assert_eq!(
            rows(
                &world,
                "SELECT kind, subject, organization_id, detail FROM billing_findings"
            )
            .await,
            [
                json!({"kind": "external_change", "subject": format!("day 2026-03-01 of organization {unexplained}"),
                "organization_id": unexplained,
                "detail": {"external": -1.5, "explained": 0, "at": "2026-03-01T00:00:00Z"}})
            ]
        );
        // It is shown as long as its day is in the window.
        world.set_clock(at("2026-03-06T01:10:00Z")).await;
        let report = audit_billing(&world.database, AuditScope::Recent)
            .await
            .expect("an audit");
        assert_eq!(report.resolved, 1);
    });
}

#[test]
fn findings_ring_and_are_an_incident_of_the_fleet_without_names_of_tenants() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        world.set_columns(agent, "total_billed = 5").await;
        let instance = world.function("billing-audit").start().await;
        let outcome = instance
            .invoke(json!({}), std::time::Duration::from_mins(1))
            .await;
        let dev::runtime::Outcome::Success(answer) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(answer["findings"], 1);
        tests::wait_until("the audit has written its lines", async || {
            let lines = instance.logs().join("");
            lines.contains("billing does not add up") && lines.contains("CloudWatchMetrics")
        })
        .await;
        let lines = instance.logs();
        let line = |text: &str| lines.iter().find(|line| line.contains(text)).cloned();
        let error = line("billing does not add up").expect("an error line");
        assert!(
            error.contains("1 total_billed_differs") && error.contains("ERROR"),
            "{error}"
        );
        let metric = line("CloudWatchMetrics").expect("a metric");
        let metric: Value = serde_json::from_str(&metric).expect("JSON");
        assert_eq!(metric["Findings"], 1);
        assert_eq!(
            metric["_aws"]["CloudWatchMetrics"][0]["Namespace"],
            "Milady/Billing"
        );
        world.refresh().await;
        let fleet = world.cached_fleet().await;
        let incidents = fleet["incidents"].as_array().expect("incidents");
        let incident = incidents
            .iter()
            .find(|incident| incident["code"] == "billing_findings")
            .expect("an incident");
        assert_eq!(incident["severity"], "critical");
        assert_eq!(incident["scope"], "cluster");
        assert_eq!(incident["title"], "Billing does not add up");
        assert_eq!(incident["detail"], "Open findings: 1 total_billed_differs");
        world.set_columns(agent, "total_billed = 0").await;
        let outcome = instance
            .invoke(json!({}), std::time::Duration::from_mins(1))
            .await;
        assert!(
            matches!(outcome, dev::runtime::Outcome::Success(answer) if answer["findings"] == 0)
        );
        world.refresh().await;
        let fleet = world.cached_fleet().await.to_string();
        assert!(!fleet.contains("billing_findings"), "{fleet}");
    });
}
