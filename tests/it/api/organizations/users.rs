//! `GET|POST /api/v1/admin/organizations/{organizationId}/users`

use serde_json::json;
use tests::{World, run};

use super::{AGENTS, id_in, new_key, post, text_in, users_path};

#[test]
fn users_are_listed_with_the_keys_that_they_can_use() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, _) = world.tenant("0").await;
        let (_, stranger) = world.tenant("0").await;
        world
            .execute(
                "UPDATE users SET created_at = '2020-01-01';
                UPDATE api_keys SET name = 'first', last_used_at = '2020-01-02'",
            )
            .await;
        let body = json!({"email": "bob@acme.example", "name": "Bob", "role": "viewer"});
        let added = post(&world, &operator, &users_path(organization), &body).await;
        let bob = id_in(&added.json()["data"]["id"]);
        assert_eq!(
            (added.status(), added.json()["data"].clone()),
            (201, json!({"id": bob}))
        );
        let (id, key) = new_key(&world, &operator, organization, bob).await;
        for state in [
            "is_active = false",
            "expires_at = billing_clock() AT TIME ZONE 'UTC'",
        ] {
            let (other, _) = new_key(&world, &operator, organization, bob).await;
            let sql = format!("UPDATE api_keys SET {state} WHERE id = $1");
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(other)
                .execute(&world.pool)
                .await
                .expect(state);
        }
        let page = world.get(&operator, &users_path(organization)).await.json();
        let listed = page["data"].as_array().expect("users");
        assert_eq!(listed.len(), 2, "{page}");
        let created_at = &listed[0]["apiKeys"][0]["createdAt"];
        assert_eq!(
            listed[0],
            json!({
                "id": bob, "name": "Bob", "email": "b***@a***.example", "role": "viewer", "superAdmin": false,
                "active": true, "createdAt": listed[0]["createdAt"],
                "apiKeys": [{
                    "id": id, "name": "new", "prefix": key[..12], "permissions": ["read", "agents", "billing"],
                    "expiresAt": null, "lastUsedAt": null, "createdAt": created_at,
                }],
            })
        );
        assert_eq!(listed[1]["apiKeys"][0]["name"], json!("first"));
        assert_eq!(
            listed[1]["apiKeys"][0]["lastUsedAt"],
            json!("2020-01-02T00:00:00.000Z")
        );
        let first = world
            .get(&operator, &format!("{}?limit=1", users_path(organization)))
            .await
            .json();
        let cursor = text_in(&first["nextCursor"]);
        let rest = world
            .get(
                &operator,
                &format!("{}?cursor={cursor}", users_path(organization)),
            )
            .await
            .json();
        assert_eq!(
            (&first["data"][0], &rest["data"][0]),
            (&listed[0], &listed[1])
        );
        assert_eq!(rest.get("nextCursor"), None);
        // A viewer's key reads, and no more.
        assert_eq!(world.get(&key, AGENTS).await.status(), 200);
        let create = json!({"agentName": "a"});
        assert_eq!(world.post_json(&key, AGENTS, &create).await.status(), 403);
        assert_eq!(
            world
                .get(&stranger, &users_path(organization))
                .await
                .status(),
            403
        );
    });
}
