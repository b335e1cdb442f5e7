//! Who counts as a super admin.

use serde_json::json;
use tests::{World, check_problem, run};
use uuid::Uuid;

const ONLY_OPERATORS: &str = "Only operators may do this";

#[test]
fn f46_a_wallet_makes_a_super_admin_only_if_it_is_verified_or_its_user_is_linked() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        world.make_admin(organization, "super_admin").await;
        let nodes = || world.get(&key, "/api/v1/admin/docker-nodes");
        assert_eq!(nodes().await.status(), 200);
        world
            .execute("UPDATE users SET wallet_verified = false")
            .await;
        check_problem(&nodes().await, 403, ONLY_OPERATORS);
        // Somebody else registers the admin's wallet as a text, in another case.
        let (_, thief) = world.tenant("5").await;
        world
            .execute("UPDATE api_keys SET permissions = '[\"admin\"]'")
            .await;
        world
            .execute(
                "UPDATE users SET wallet_address = (SELECT lower(wallet_address) FROM admin_users LIMIT 1)
                WHERE wallet_address IS NULL",
            )
            .await;
        let by_thief = || world.get(&thief, "/api/v1/admin/docker-nodes");
        assert_eq!(by_thief().await.status(), 403);
        sqlx::query(
            "UPDATE admin_users SET user_id = (SELECT id FROM users WHERE organization_id = $1)",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("a link");
        assert_eq!(nodes().await.status(), 200);
        assert_eq!(by_thief().await.status(), 403);
        // Of two rows, the one with the higher role counts.
        world
            .execute(
                "INSERT INTO admin_users (user_id, wallet_address, role)
                SELECT user_id, 'another', 'viewer' FROM admin_users",
            )
            .await;
        assert_eq!(nodes().await.status(), 200);
    });
}

#[test]
fn f46_db_migrate_shows_super_admins_who_would_not_be_recognized_and_links_them_on_request() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("5").await;
        world.make_admin(organization, "super_admin").await;
        let migrate = world.function("db-migrate");
        let plain = migrate.invoke_ok(json!({})).await;
        assert_eq!(plain.get("unrecognizedSuperAdmins"), None);
        world
            .execute("UPDATE users SET wallet_verified = false")
            .await;
        let admin: String = sqlx::query_scalar("SELECT wallet_address FROM admin_users")
            .fetch_one(&world.pool)
            .await
            .expect("an admin");
        let user: Uuid = sqlx::query_scalar("SELECT id FROM users")
            .fetch_one(&world.pool)
            .await
            .expect("a user");
        let shown = migrate.invoke_ok(json!({})).await;
        assert_eq!(
            shown["unrecognizedSuperAdmins"],
            json!([{"walletAddress": admin, "userId": user}])
        );
        world
            .execute("UPDATE cloud.billing_adoption SET required = true, adopted_at = NULL")
            .await;
        let error = migrate.invoke_error(json!({"adopt": true})).await;
        assert!(
            error.contains("nobody would be recognized as a super admin"),
            "{error}"
        );
        let adopted = migrate
            .invoke_ok(json!({"adopt": true, "linkSuperAdmins": true}))
            .await;
        assert_eq!(
            adopted["superAdminsLinked"],
            shown["unrecognizedSuperAdmins"]
        );
        assert_eq!(adopted["adoption"]["alreadyAdopted"], json!(false));
        assert_eq!(adopted.get("unrecognizedSuperAdmins"), None);
        // Two users with the same text: nobody knows whose it is.
        world.execute("UPDATE admin_users SET user_id = NULL").await;
        world.tenant("5").await;
        world
            .execute(
                "UPDATE users SET wallet_address = (SELECT lower(wallet_address) FROM admin_users)
                WHERE wallet_address IS NULL",
            )
            .await;
        let ambiguous = migrate.invoke_ok(json!({"linkSuperAdmins": true})).await;
        assert_eq!(ambiguous["superAdminsLinked"], json!([]));
        assert_eq!(
            ambiguous["unrecognizedSuperAdmins"],
            json!([{"walletAddress": admin, "userId": null}])
        );
    });
}
