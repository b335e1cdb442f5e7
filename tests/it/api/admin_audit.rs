//! `GET /api/v1/admin/audit`

use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::{World, check, run};
use uuid::Uuid;

const AUDIT: &str = "/api/v1/admin/audit";

/// An entry of each hour from 1 to 6, by two users in turn.
async fn entries(world: &World) -> [Uuid; 2] {
    let mut users = [Uuid::nil(); 2];
    for (index, name) in ["Grace", "grace@mail.example"].into_iter().enumerate() {
        let organization = world.organization("0").await;
        users[index] = sqlx::query_scalar(
            "UPDATE users SET name = $2 WHERE organization_id = $1 RETURNING id",
        )
        .bind(organization)
        .bind(name)
        .fetch_one(&world.pool)
        .await
        .expect("a user");
    }
    sqlx::query(
        "INSERT INTO admin_audit_log (user_id, action, subject, details, result, created_at)
        SELECT CASE WHEN n % 2 = 1 THEN $1 ELSE $2 END,
            CASE WHEN n <= 4 THEN 'node.update' ELSE 'credit.grant' END, 'subject ' || n % 3,
            jsonb_build_object('n', n), 'begun', billing_clock() + n * interval '1 hour'
        FROM generate_series(1, 6) AS n",
    )
    .bind(users[0])
    .bind(users[1])
    .execute(&world.pool)
    .await
    .expect("entries");
    users
}

fn numbers(page: &Value) -> Vec<i64> {
    let rows = page["data"].as_array().expect("entries");
    rows.iter()
        .map(|row| row["details"]["n"].as_i64().expect("a number"))
        .collect()
}

#[test]
fn entry_says_who_did_what_and_shows_no_mail_address() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        entries(&world).await;
        check(
            &world.get(&key, &format!("{AUDIT}?limit=2")).await,
            expect![[r#"
                200 application/json
                {
                  "data": [
                    {
                      "action": "credit.grant",
                      "actorId": "<1>",
                      "actorName": null,
                      "at": "2026-03-01T06:00:00.000Z",
                      "details": {
                        "n": 6
                      },
                      "id": "6",
                      "result": "begun",
                      "subject": "subject 0"
                    },
                    {
                      "action": "credit.grant",
                      "actorId": "<2>",
                      "actorName": "Grace",
                      "at": "2026-03-01T05:00:00.000Z",
                      "details": {
                        "n": 5
                      },
                      "id": "5",
                      "result": "begun",
                      "subject": "subject 2"
                    }
                  ],
                  "nextCursor": "NQ",
                  "success": true
                }
            "#]],
        );
        world
            .execute("DELETE FROM users WHERE name = 'Grace'")
            .await;
        let page = world.get(&key, AUDIT).await.json();
        assert_eq!(page["data"][1]["actorName"], json!(null));
    });
}

#[test]
fn filters_select_entries_and_pages_hold_each_once() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let [one, _] = entries(&world).await;
        for (query, expected) in [
            (String::new(), vec![6, 5, 4, 3, 2, 1]),
            (format!("actor={one}"), vec![5, 3, 1]),
            (format!("actor={}", Uuid::nil()), vec![]),
            ("action=node.update".to_owned(), vec![4, 3, 2, 1]),
            ("subject=subject%200".to_owned(), vec![6, 3]),
            (
                "from=2026-03-01T03:00:00Z&to=2026-03-01T05:00:00Z".to_owned(),
                vec![4, 3],
            ),
            (format!("action=node.update&actor={one}"), vec![3, 1]),
        ] {
            let mut listed = Vec::new();
            let mut cursor = String::new();
            loop {
                let path = format!("{AUDIT}?limit=2&{query}{cursor}");
                let page = world.get(&key, &path).await.json();
                listed.extend(numbers(&page));
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
fn invalid_filters_are_refused_and_only_super_admins_see_entries() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        for (query, field) in [
            ("actor=x", "actor"),
            ("action=", "action"),
            ("subject=a%00", "subject"),
            ("from=x", "from"),
            ("from=2026-03-02&to=2026-03-01", "from"),
            ("limit=201", "limit"),
            ("cursor=!", "cursor"),
        ] {
            let refused = world.get(&key, &format!("{AUDIT}?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
            assert_eq!(refused.json()["details"][0]["field"], json!(field));
        }
        let (_, owner) = world.tenant("0").await;
        let (moderators, moderator) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        assert_eq!(world.call(Request::new("GET", AUDIT)).await.status(), 401);
        for key in [owner, moderator] {
            assert_eq!(world.get(&key, AUDIT).await.status(), 403);
        }
    });
}
