//! `GET /api/v1/admin/billing/findings`

use expect_test::expect;
use serde_json::Value;
use tests::suite::Request;
use tests::{World, check, run};

const LIST: &str = "/api/v1/admin/billing/findings";

/// Six findings, of which those with even numbers are resolved.
async fn findings(world: &World) {
    world
        .execute(
            "INSERT INTO billing_findings (kind, subject, organization_id, detail, found_at, last_seen_at, resolved_at)
            SELECT 'charge_amount', 'charge ' || n, '11111111-2222-4333-8444-555555555555',
                '{\"amount\": 0.02, \"at\": \"2026-03-01T00:00:00Z\"}', billing_clock(), billing_clock(),
                CASE WHEN n % 2 = 0 THEN billing_clock() + interval '1 day' END
            FROM generate_series(1, 6) AS n",
        )
        .await;
}

fn subjects(page: &Value) -> Vec<&str> {
    let rows = page["data"].as_array().expect("a list");
    rows.iter()
        .map(|row| row["subject"].as_str().expect("a subject"))
        .collect()
}

#[test]
fn a_finding_is_listed_with_what_the_row_says() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        findings(&world).await;
        check(
            &world.get(&key, &format!("{LIST}?limit=1")).await,
            expect![[r#"
                200 application/json
                {
                  "data": [
                    {
                      "detail": {
                        "amount": 0.02,
                        "at": "2026-03-01T00:00:00Z"
                      },
                      "foundAt": "2026-03-01T00:00:00.000Z",
                      "id": "5",
                      "kind": "charge_amount",
                      "lastSeenAt": "2026-03-01T00:00:00.000Z",
                      "organizationId": "<1>",
                      "resolvedAt": null,
                      "subject": "charge 5"
                    }
                  ],
                  "nextCursor": "b3Blbi41",
                  "success": true
                }
            "#]],
        );
    });
}

#[test]
fn open_findings_come_first_and_pages_hold_each_once() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        findings(&world).await;
        for (query, expected) in [
            ("", vec![5, 3, 1, 6, 4, 2]),
            ("?state=all", vec![5, 3, 1, 6, 4, 2]),
            ("?state=open", vec![5, 3, 1]),
            ("?state=resolved", vec![6, 4, 2]),
        ] {
            let expected: Vec<String> = expected.iter().map(|n| format!("charge {n}")).collect();
            let page = world.get(&key, &format!("{LIST}{query}")).await.json();
            assert_eq!(subjects(&page), expected, "{query}");
            let (mut listed, mut cursor) = (Vec::new(), String::new());
            let separator = if query.is_empty() { "?" } else { "&" };
            loop {
                let path = format!("{LIST}{query}{separator}limit=2{cursor}");
                let page = world.get(&key, &path).await.json();
                listed.extend(subjects(&page).into_iter().map(str::to_owned));
                let Some(next) = page["nextCursor"].as_str() else {
                    break;
                };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(listed, expected, "{query}");
        }
    });
}

#[test]
fn invalid_parameters_are_refused_with_the_reason() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        for (query, field, message) in [
            ("state=closed", "state", "must be open, resolved or all"),
            ("state=", "state", "must be open, resolved or all"),
            ("limit=0", "limit", "must be a number from 1 to 200"),
            (
                "cursor=b3Blbg",
                "cursor",
                "is not valid; start again without it",
            ),
            (
                "cursor=b3Blbi54",
                "cursor",
                "is not valid; start again without it",
            ),
            ("cursor=!", "cursor", "is not valid; start again without it"),
        ] {
            let answer = world.get(&key, &format!("{LIST}?{query}")).await;
            assert_eq!(answer.status(), 400, "{query}");
            assert!(
                answer.text().contains(field) && answer.text().contains(message),
                "{query}: {answer:?}"
            );
        }
    });
}

#[test]
fn only_super_admins_see_findings() {
    run(async {
        let world = World::new().await;
        let (_, walletless) = world.tenant("0").await;
        let (moderator, moderators_key) = world.tenant("0").await;
        world.make_admin(moderator, "moderator").await;
        assert_eq!(world.call(Request::new("GET", LIST)).await.status(), 401);
        for (key, status) in [(walletless, 403), (moderators_key, 403)] {
            assert_eq!(world.get(&key, LIST).await.status(), status);
        }
    });
}
