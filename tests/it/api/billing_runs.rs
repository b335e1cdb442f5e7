//! `GET /api/v1/admin/billing/runs`

use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::{World, check, run};

const RUNS: &str = "/api/v1/admin/billing/runs";

#[test]
fn run_is_listed_with_its_figures_and_with_who_could_not_be_decided() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        let broken = world.organization("10").await;
        world.agent(broken, "running").await;
        world.run_billing(1).await;
        sqlx::query(
            "UPDATE billing_runs SET complete = false, errors = 2, oldest_undecided = '2026-03-01T00:00:00Z',
                failures = jsonb_build_array(
                    jsonb_build_object('organizationId', $1::uuid, 'reason', 'timeout'),
                    jsonb_build_object('organizationId', '99999999-8888-4777-8666-555555555555', 'reason', 'x'))",
        )
        .bind(broken)
        .execute(&world.pool)
        .await
        .expect("a run");
        check(
            &world.get(&key, RUNS).await,
            expect![[r#"
            200 application/json
            {
              "data": [
                {
                  "agentsBilled": 2,
                  "agentsProcessed": 2,
                  "charged": 0.04,
                  "charges": 2,
                  "complete": false,
                  "errors": 2,
                  "failures": [
                    {
                      "organizationId": "<1>",
                      "organizationName": "Test",
                      "reason": "timeout"
                    },
                    {
                      "organizationId": "<2>",
                      "organizationName": null,
                      "reason": "x"
                    }
                  ],
                  "finishedAt": "2026-03-01T01:00:00.000Z",
                  "hour": "2026-03-01T01:00:00.000Z",
                  "id": "1",
                  "oldestUndecided": "2026-03-01T00:00:00.000Z",
                  "organizations": 2,
                  "owed": 0.0,
                  "repairedSpans": 0,
                  "source": "test",
                  "startedAt": "2026-03-01T01:00:00.000Z",
                  "suspended": 0,
                  "uncollected": 0.0,
                  "warned": 0,
                  "writtenOff": 0.0
                }
              ],
              "success": true
            }
        "#]],
        );
        sqlx::query("UPDATE billing_runs SET failures = '{\"odd\": 1}', finished_at = NULL")
            .execute(&world.pool)
            .await
            .expect("a run");
        let odd = world.get(&key, RUNS).await.json();
        assert_eq!(odd["data"][0]["failures"], json!([]));
        assert_eq!(odd["data"][0]["finishedAt"], json!(null));
    });
}

#[test]
fn runs_are_listed_newest_first_in_pages() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        world
            .execute(
                "INSERT INTO billing_runs (period_end, source, started_at)
                SELECT billing_clock() + n * interval '1 hour', 'schedule', billing_clock()
                FROM generate_series(1, 5) AS n",
            )
            .await;
        let (mut hours, mut cursor): (Vec<Value>, String) = (Vec::new(), String::new());
        loop {
            let page = world.get(&key, &format!("{RUNS}?limit=2{cursor}")).await;
            let page = page.json();
            let rows = page["data"].as_array().expect("runs");
            hours.extend(rows.iter().map(|run| run["hour"].clone()));
            let Some(next) = page["nextCursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        let expected: Vec<Value> = (1..=5)
            .rev()
            .map(|hour| json!(format!("2026-03-01T0{hour}:00:00.000Z")))
            .collect();
        assert_eq!(hours, expected);
        for query in ["limit=0", "cursor=!", "cursor=eA"] {
            let refused = world.get(&key, &format!("{RUNS}?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
        }
    });
}

#[test]
fn only_super_admins_see_runs() {
    run(async {
        let world = World::new().await;
        let (_, owner) = world.tenant("0").await;
        let (moderators, moderator) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        assert_eq!(world.call(Request::new("GET", RUNS)).await.status(), 401);
        for key in [owner, moderator] {
            assert_eq!(world.get(&key, RUNS).await.status(), 403);
        }
    });
}
