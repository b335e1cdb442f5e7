//! `POST /api/v1/admin/organizations/{organizationId}/api-keys` and `DELETE .../api-keys/{keyId}`

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::suite::{ORIGIN, Request};
use tests::{World, check_problem, run, wait_until};
use uuid::Uuid;

use super::{
    AGENTS, ORGANIZATIONS, begin_session, id_in, keys_path, new_key, owner, post, revoke, text_in,
    users_path,
};

#[test]
fn a_key_is_stored_as_its_digest_and_appears_in_no_other_answer_nor_in_a_log() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let body = json!({"name": "Acme", "ownerEmail": "canary@acme.example"});
        let created = post(&world, &operator, ORGANIZATIONS, &body).await.json();
        let organization = id_in(&created["data"]["id"]);
        let owner = id_in(&created["data"]["ownerId"]);
        let (id, key) = new_key(&world, &operator, organization, owner).await;
        let row: (String, String, String, Value, bool) = sqlx::query_as(
            "SELECT key, key_hash, key_prefix, permissions, is_active FROM api_keys WHERE id = $1",
        )
        .bind(id)
        .fetch_one(&world.pool)
        .await
        .expect("a key");
        assert!(!row.0.contains(&key[..12]), "{row:?}");
        assert_eq!(row.1, hex::encode(Sha256::digest(&key)));
        assert_eq!(row.2, key[..12]);
        assert_eq!((row.3, row.4), (json!(["read", "agents", "billing"]), true));
        let page = world.get(&operator, &users_path(organization)).await;
        revoke(&world, &operator, organization, id).await;
        let kept: String = sqlx::query_scalar(
            "SELECT concat((SELECT string_agg(a::text, ' ') FROM admin_audit_log a),
                (SELECT string_agg(k::text, ' ') FROM idempotency_keys k))",
        )
        .fetch_one(&world.pool)
        .await
        .expect("what is kept");
        let mut texts = vec![page.text().to_owned(), kept];
        for function in [
            "organization-create",
            "organization-users",
            "organization-key-create",
            "organization-key-revoke",
        ] {
            texts.extend(world.logs(function).await);
        }
        for text in texts {
            assert!(!text.contains(&key[12..]), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        let actions: Vec<String> = sqlx::query_scalar(
            "SELECT action FROM admin_audit_log WHERE subject = $1::text ORDER BY id",
        )
        .bind(organization)
        .fetch_all(&world.pool)
        .await
        .expect("entries");
        let expected = ["organization.create", "api_key.create", "api_key.revoke"];
        assert_eq!(actions, expected);
    });
}

#[test]
fn only_the_key_of_a_super_admin_can_permit_admin() {
    run(async {
        let world = World::new().await;
        let (operators, operator) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        let admin = owner(&world, operators).await;
        let (organization, _) = world.tenant("0").await;
        let user = owner(&world, organization).await;
        let body = |user: Uuid| json!({"userId": user, "name": "k", "permissions": ["admin"]});
        let path = keys_path(organization);
        let refused = world.post_json(&operator, &path, &body(user)).await;
        check_problem(
            &refused,
            409,
            "Only the key of a super admin can permit admin",
        );
        let path = keys_path(operators);
        let created = world.post_json(&operator, &path, &body(admin)).await.json();
        let second = text_in(&created["data"]["apiKey"]);
        assert_eq!(world.get(&second, ORGANIZATIONS).await.status(), 200);
        let list = world.get(&second, &users_path(operators)).await.json();
        assert_eq!(list["data"][0]["superAdmin"], json!(true));
        // Without `admin`, the key of a super admin opens nothing of operators'.
        let (_, plain) = new_key(&world, &operator, operators, admin).await;
        assert_eq!(world.get(&plain, ORGANIZATIONS).await.status(), 403);
    });
}

#[test]
fn a_revoked_key_and_its_sessions_end_at_once() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        let (organization, _) = world.tenant("0").await;
        let (others, _) = world.tenant("0").await;
        let user = owner(&world, organization).await;
        let (id, key) = new_key(&world, &operator, organization, user).await;
        let session = begin_session(&world, &key).await;
        let cookie = session.header("set-cookie").expect("a cookie").to_owned();
        let cookie = cookie.split(';').next().expect("the cookie");
        let by_session = || Request::new("GET", AGENTS).header("cookie", cookie);
        assert_eq!(world.call(by_session()).await.status(), 200);
        let not_found = "API key not found";
        let refused = revoke(&world, &operator, others, id).await;
        check_problem(&refused, 404, not_found);
        assert_eq!(world.get(&key, AGENTS).await.status(), 200);
        let revoked = revoke(&world, &operator, organization, id).await;
        assert_eq!(
            (revoked.status(), revoked.json()),
            (200, json!({"success": true}))
        );
        assert_eq!(world.get(&key, AGENTS).await.status(), 401);
        assert_eq!(world.call(by_session()).await.status(), 401);
        let again = revoke(&world, &operator, organization, id).await;
        check_problem(&again, 404, not_found);
        let entries = "SELECT count(*) FROM admin_audit_log WHERE action = 'api_key.revoke'";
        assert_eq!(world.count(entries).await, 1);
    });
}

#[test]
fn an_operator_cannot_revoke_the_key_in_use() {
    run(async {
        let world = World::new().await;
        let (operators, operator) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        let id: Uuid = sqlx::query_scalar("SELECT id FROM api_keys")
            .fetch_one(&world.pool)
            .await
            .expect("a key");
        let in_use = "You are using this API key; revoke it with another one";
        let refused = revoke(&world, &operator, operators, id).await;
        check_problem(&refused, 409, in_use);
        let session = begin_session(&world, &operator).await;
        let cookie = session.header("set-cookie").expect("a cookie");
        let path = format!("{}/{id}", keys_path(operators));
        let by_session = Request::new("DELETE", &path)
            .header("cookie", cookie.split(';').next().expect("the cookie"))
            .header("origin", ORIGIN);
        check_problem(&world.call(by_session).await, 409, in_use);
        assert_eq!(world.get(&operator, ORGANIZATIONS).await.status(), 200);
    });
}

#[test]
fn of_two_keys_that_revoke_each_other_at_the_same_time_one_is_left() {
    run(async {
        let world = World::new().await;
        let (operators, first) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        let admin = owner(&world, operators).await;
        let first_id: Uuid = sqlx::query_scalar("SELECT id FROM api_keys")
            .fetch_one(&world.pool)
            .await
            .expect("a key");
        let body = json!({"userId": admin, "name": "second", "permissions": ["admin"]});
        let created = world.post_json(&first, &keys_path(operators), &body).await;
        let data = &created.json()["data"];
        let (second_id, second) = (id_in(&data["id"]), text_in(&data["apiKey"]));
        // Both requests are authenticated before either revokes a key.
        let mut lock = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM api_keys FOR UPDATE")
            .execute(&mut *lock)
            .await
            .expect("a lock");
        let revoke_with = async |key: String, id: Uuid| {
            let path = format!("{}/{id}", keys_path(operators));
            let request = Request::new("DELETE", &path).key(&key);
            world.call_on_new_instance(request).await
        };
        let release = async {
            wait_until("both requests are blocked", async || {
                world.blocked_sessions().await == 2
            })
            .await;
            lock.rollback().await.expect("rollback");
        };
        let (one, other, ()) = tokio::join!(
            revoke_with(first, second_id),
            revoke_with(second, first_id),
            release
        );
        let (succeeded, refused) = if one.status() == 200 {
            (one, other)
        } else {
            (other, one)
        };
        assert_eq!(succeeded.status(), 200, "{succeeded:?}");
        let text = "The API key that you are using has been revoked";
        check_problem(&refused, 409, text);
        let active = "SELECT count(*) FROM api_keys WHERE is_active";
        assert_eq!(world.count(active).await, 1);
        let entries = "SELECT count(*) FROM admin_audit_log WHERE action = 'api_key.revoke'";
        assert_eq!(world.count(entries).await, 1);
    });
}
