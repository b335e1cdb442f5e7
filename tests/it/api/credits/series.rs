//! `GET /api/v1/credits/series`

use serde_json::{Value, json};
use tests::problem::check_field_errors;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, run};

use super::SERIES;
use super::busy::{Busy, LAST_HOUR, decimal, state_day, sum};

const DAYS: &str = "step=day&from=2026-02-20&to=2026-03-10";
const HOURS: &str = "step=hour&from=2026-02-28&to=2026-03-10";

/// Checks that each step continues the one before it.
fn check_chain(steps: &[Value]) {
    for pair in steps.windows(2) {
        let step = &pair[1];
        let expected =
            decimal(&pair[0]["balance"]) - decimal(&step["charged"]) + decimal(&step["added"]);
        assert_eq!(decimal(&step["balance"]), expected, "{step}");
    }
}

#[test]
fn a_step_shows_the_balance_at_its_end_and_what_changed_it() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.run_billing(2).await;
        world.set_clock(minutes(130)).await;
        world.top_up(organization, "5").await;
        world.run_billing(26).await;
        world.set_clock(minutes(26 * 60 + 30)).await;
        world.top_up(organization, "1").await;
        let get = async |query: &str| {
            world.get(&key, &format!("{SERIES}?{query}")).await.json()["data"].take()
        };
        let step = |at: &str, balance: f64, charged: f64, added: f64| json!({"at": at, "balance": balance, "charged": charged, "added": added});
        assert_eq!(
            get(DAYS).await,
            json!([
                step("2026-03-01T00:00:00.000Z", 14.96, 0.04, 5.0),
                step("2026-03-02T00:00:00.000Z", 15.48, 0.48, 1.0),
            ])
        );
        assert_eq!(
            get("step=hour&from=2026-03-01T01:00:00Z&to=2026-03-01T03:00:00Z").await,
            json!([
                step("2026-03-01T01:00:00.000Z", 9.98, 0.02, 0.0),
                step("2026-03-01T02:00:00.000Z", 9.96, 0.02, 0.0),
            ])
        );
        assert_eq!(
            get("step=hour&from=2026-03-02T01:20:00Z").await,
            json!([
                step("2026-03-02T01:00:00.000Z", 9.96, 0.0, 0.0),
                step("2026-03-02T02:00:00.000Z", 15.48, 0.48, 6.0),
            ])
        );
        assert_eq!(get("").await, get(DAYS).await);
    });
}

#[test]
fn series_agree_with_the_ledger_before_and_after_each_statement() {
    run(async {
        let busy = Busy::new().await;
        let balance = busy.world.balance(busy.organization).await;
        let charged = busy
            .text("SELECT (-sum(amount))::text FROM ledger_entries WHERE organization_id = $1")
            .await;
        let read = async || {
            let mut answers = Vec::new();
            for query in [DAYS, HOURS] {
                let mut answer = busy.json(&format!("{SERIES}?{query}")).await;
                let steps = answer["data"].take().as_array().expect("steps").clone();
                check_chain(&steps);
                assert_eq!(decimal(&steps.last().expect("a step")["balance"]), balance);
                assert_eq!(sum(&steps, "charged"), charged.parse().expect("a number"));
                let first = &steps[0];
                let opening = decimal(&first["balance"]) + decimal(&first["charged"])
                    - decimal(&first["added"]);
                assert_eq!(opening.normalize().to_string(), "0.35", "{query}");
                answers.push(steps);
            }
            answers
        };
        let before = read().await;
        assert_eq!(
            (before[0].len(), before[1].len()),
            (2, usize::try_from(LAST_HOUR).expect("small"))
        );
        state_day(&busy, "2026-03-01").await;
        assert_eq!(read().await, before);
        // The second day is over when it is stated.
        busy.world.set_clock(minutes(48 * 60 + 70)).await;
        let later = busy.json(&format!("{SERIES}?{DAYS}")).await;
        state_day(&busy, "2026-03-02").await;
        assert_eq!(busy.json(&format!("{SERIES}?{DAYS}")).await, later);
        assert_eq!(later["data"].as_array().map(Vec::len), Some(3));
        // Days remain when the entries are dropped.
        busy.world
            .execute("DROP TABLE ledger_entries_2026_03")
            .await;
        assert_eq!(busy.json(&format!("{SERIES}?{DAYS}")).await, later);
    });
}

#[test]
fn without_anything_charged_only_the_present_balance_is_known() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        world.set_clock(minutes(5)).await;
        let data = world.get(&key, SERIES).await.json()["data"].take();
        assert_eq!(
            data,
            json!([{"at": "2026-03-01T00:00:00.000Z", "balance": 10.0, "charged": 0.0, "added": 0.0}])
        );
        assert_eq!(world.call(Request::new("GET", SERIES)).await.status(), 401);
    });
}

#[test]
fn invalid_parameters_are_named() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        for (query, field, message) in [
            ("step=week", "step", "must be hour or day"),
            (
                "from=x",
                "from",
                "must be a time like 2026-11-01T00:00:00Z or a day like 2026-11-01",
            ),
            (
                "from=2026-03-02&to=2026-03-01",
                "from",
                "must be before `to`",
            ),
            (
                "from=2025-01-01&to=2026-02-06",
                "to",
                "must be at most 400 days after `from`",
            ),
            (
                "step=hour&from=2026-01-01&to=2026-02-01T00:00:01Z",
                "to",
                "must be at most 31 days after `from` if a step is an hour",
            ),
        ] {
            let response = world.get(&key, &format!("{SERIES}?{query}")).await;
            check_field_errors(
                &response,
                &format!("{field} {message}"),
                &[(field, message)],
            );
        }
    });
}
