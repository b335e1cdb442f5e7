//! `GET /api/v1/credits/usage`

use serde_json::{Value, json};
use tests::problem::check_field_errors;
use tests::suite::Request;
use tests::world::hours;
use tests::{World, run};
use uuid::Uuid;

use super::USAGE;
use super::busy::{Busy, decimal, state_day, sum};

const PERIOD: &str = "from=2026-02-20&to=2026-03-10";

fn group(group: &str) -> String {
    format!("{USAGE}?group={group}&{PERIOD}")
}

#[test]
fn usage_is_grouped_by_the_time_of_use() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let running = world.agent(organization, "running").await;
        let stored = world.agent(organization, "stopped").await;
        world.run_billing(2).await;
        world.run_billing(26).await;
        let get = async |group: &str| {
            let target = format!("{USAGE}?group={group}&{PERIOD}");
            world.get(&key, &target).await.json()["data"].take()
        };
        let row = |at: Value, agent: Option<Uuid>, running: f64, idle: f64, amount: f64| {
            json!({"at": at, "agentId": agent, "agentName": agent.map(|_| "agent"), "runningSeconds": running,
                "idleSeconds": idle, "amount": amount})
        };
        assert_eq!(
            get("day").await,
            json!([
                row(
                    json!("2026-03-01T00:00:00.000Z"),
                    None,
                    86_400.0,
                    86_400.0,
                    0.54
                ),
                row(
                    json!("2026-03-02T00:00:00.000Z"),
                    None,
                    7_200.0,
                    7_200.0,
                    0.045
                ),
            ])
        );
        let mut agents = [
            (
                running,
                row(Value::Null, Some(running), 93_600.0, 0.0, 0.52),
            ),
            (stored, row(Value::Null, Some(stored), 0.0, 93_600.0, 0.065)),
        ];
        agents.sort_by_key(|(agent, _)| *agent);
        assert_eq!(get("agent").await, json!([agents[0].1, agents[1].1]));
        let by_hour = get("hour").await;
        assert_eq!(by_hour.as_array().map(Vec::len), Some(26));
        let last = row(
            json!("2026-03-02T01:00:00.000Z"),
            None,
            3_600.0,
            3_600.0,
            0.0225,
        );
        assert_eq!(by_hour[25], last);
        // Without parameters: the days of the last 30 days.
        assert_eq!(
            world.get(&key, USAGE).await.json()["data"],
            get("day").await
        );
    });
}

#[test]
fn all_groups_agree_with_the_charges_before_and_after_each_statement() {
    run(async {
        let busy = Busy::new().await;
        let charged = busy
            .text("SELECT (-sum(amount))::text FROM ledger_entries WHERE organization_id = $1")
            .await;
        let charged: rust_decimal::Decimal = charged.parse().expect("a number");
        let read = async || {
            let mut groups = Vec::new();
            for name in ["agent", "day", "hour"] {
                let rows = busy.walk(&group(name), "/data", 1_000).await;
                assert_eq!(sum(&rows, "amount"), charged, "{name}");
                for agent in [busy.running, busy.stored, busy.flipping, busy.deleted] {
                    let target = format!("{}&agentId={agent}", group(name));
                    let of_agent = busy.walk(&target, "/data", 1_000).await;
                    assert!(of_agent.iter().all(|row| row["agentId"] == json!(agent)));
                    groups.push(of_agent);
                }
                groups.push(rows);
            }
            groups
        };
        let before = read().await;
        let by_agent = &before[4];
        assert_eq!(by_agent.len(), 4);
        for (index, agent) in [busy.running, busy.stored, busy.flipping, busy.deleted]
            .iter()
            .enumerate()
        {
            let row = by_agent
                .iter()
                .find(|row| row["agentId"] == json!(agent))
                .expect("a row");
            for group in [0, 5, 10] {
                assert_eq!(
                    sum(&before[group + index], "amount"),
                    decimal(&row["amount"])
                );
                assert_eq!(
                    sum(&before[group + index], "runningSeconds"),
                    decimal(&row["runningSeconds"])
                );
                assert_eq!(
                    sum(&before[group + index], "idleSeconds"),
                    decimal(&row["idleSeconds"])
                );
            }
        }
        for day in ["2026-03-01", "2026-03-02"] {
            state_day(&busy, day).await;
            assert_eq!(read().await, before, "after the statement of {day}");
        }
    });
}

#[test]
fn days_stay_when_the_charges_are_dropped() {
    run(async {
        let busy = Busy::new().await;
        state_day(&busy, "2026-03-01").await;
        state_day(&busy, "2026-03-02").await;
        let before = busy.json(&group("day")).await["data"].take();
        busy.world
            .execute("DROP TABLE usage_charges_2026_03, ledger_entries_2026_03")
            .await;
        assert_eq!(busy.json(&group("day")).await["data"], before);
    });
}

#[test]
fn a_walk_gives_each_row_once() {
    run(async {
        let busy = Busy::new().await;
        for name in ["agent", "day", "hour"] {
            let whole = busy.walk(&group(name), "/data", 1_000).await;
            for limit in [1, 3] {
                assert_eq!(
                    busy.walk(&group(name), "/data", limit).await,
                    whole,
                    "{name} {limit}"
                );
            }
        }
    });
}

#[test]
fn a_period_is_rounded_to_whole_days_or_hours() {
    run(async {
        let busy = Busy::new().await;
        let inside = "from=2026-03-01T20:10:00Z&to=2026-03-01T20:20:00Z";
        let days = busy.json(&format!("{USAGE}?{inside}")).await["data"].take();
        assert_eq!(
            days,
            busy.json(&format!("{USAGE}?from=2026-03-01&to=2026-03-02"))
                .await["data"]
        );
        let hour = busy.json(&format!("{USAGE}?group=hour&{inside}")).await["data"].take();
        assert_eq!(hour.as_array().map(Vec::len), Some(1));
        assert_eq!(hour[0]["at"], json!("2026-03-01T20:00:00.000Z"));
    });
}

#[test]
fn another_organization_sees_none_of_it() {
    run(async {
        let busy = Busy::new().await;
        let (_, key) = busy.world.tenant("10").await;
        for name in ["agent", "day", "hour"] {
            for target in [
                group(name),
                format!("{}&agentId={}", group(name), busy.running),
            ] {
                assert_eq!(
                    busy.world.get(&key, &target).await.json()["data"],
                    json!([]),
                    "{target}"
                );
            }
        }
        assert_eq!(
            busy.world.call(Request::new("GET", USAGE)).await.status(),
            401
        );
    });
}

#[test]
fn an_agent_that_moved_to_another_organization_is_charged_to_each_for_its_time() {
    run(async {
        let world = World::new().await;
        let (first, first_key) = world.tenant("10").await;
        let (second, second_key) = world.tenant("10").await;
        let agent = world.agent(first, "running").await;
        world.set_clock(hours(2)).await;
        world.transfer(agent, second).await;
        world.run_billing(5).await;
        for (key, seconds) in [(first_key, 7_200), (second_key, 10_800)] {
            for name in ["agent", "day", "hour"] {
                let target = format!("{}&agentId={agent}", group(name));
                let rows = world.get(&key, &target).await.json()["data"].take();
                let rows = rows.as_array().expect("rows").clone();
                assert_eq!(sum(&rows, "runningSeconds"), seconds.into(), "{name}");
            }
        }
    });
}

#[test]
fn invalid_parameters_are_named() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        let cursor = "is not valid; start again without it";
        for (query, field, message) in [
            ("group=week", "group", "must be agent, day or hour"),
            ("agentId=x", "agentId", "must be a UUID"),
            ("limit=1001", "limit", "must be a number from 1 to 1000"),
            ("cursor=YS54", "cursor", cursor),
            ("group=agent&cursor=dC4w", "cursor", cursor),
            (
                "from=2026-03-02&to=2026-03-01",
                "from",
                "must be before `to`",
            ),
            ("from=2030-01-01", "from", "must be before `to`"),
            (
                "from=2025-01-01&to=2026-02-06",
                "to",
                "must be at most 400 days after `from`",
            ),
            (
                "group=agent&from=2025-01-01&to=2026-02-06",
                "to",
                "must be at most 400 days after `from`",
            ),
            (
                "group=hour&from=2026-01-01&to=2026-02-01T00:00:01Z",
                "to",
                "must be at most 31 days after `from` if hours are grouped",
            ),
        ] {
            let response = world.get(&key, &format!("{USAGE}?{query}")).await;
            check_field_errors(
                &response,
                &format!("{field} {message}"),
                &[(field, message)],
            );
        }
        for query in [
            "from=2025-01-01&to=2026-02-05",
            "group=hour&from=2026-01-01&to=2026-02-01",
        ] {
            assert_eq!(
                world.get(&key, &format!("{USAGE}?{query}")).await.status(),
                200,
                "{query}"
            );
        }
    });
}
