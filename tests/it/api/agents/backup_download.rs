//! `GET /api/v1/milady/agents/{agentId}/backups/{backupId}/download`

use serde_json::json;
use tests::calls::agent_path;
use tests::object_store::ObjectStore;
use tests::{World, check_field_errors, check_problem, run};
use uuid::Uuid;

fn path(agent: Uuid, backup: Uuid) -> String {
    agent_path(agent, &format!("/backups/{backup}/download"))
}

/// Records that the state of a backup is in the bucket.
async fn move_to_bucket(world: &World, organization: Uuid, agent: Uuid, backup: Uuid) {
    sqlx::query(
        "INSERT INTO cloud.backup_objects (backup_id, organization_id, agent_id, created_at)
        VALUES ($1, $2, $3, billing_clock())",
    )
    .bind(backup)
    .bind(organization)
    .bind(agent)
    .execute(&world.pool)
    .await
    .expect("an object");
}

#[test]
fn a_backup_in_the_database_is_501_and_one_of_somebody_else_404() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "stopped").await;
        let sibling = world.agent(organization, "stopped").await;
        let backup = world.backup(agent, "auto").await;
        check_problem(
            &world.get(&key, &path(agent, backup)).await,
            501,
            "This backup is kept in the database, from which it cannot be downloaded; a deployment with a bucket for \
            backups keeps them there",
        );
        let (_, stranger) = world.tenant("5").await;
        for (key, agent, backup) in [
            (&stranger, agent, backup),
            (&key, sibling, backup),
            (&key, agent, Uuid::nil()),
        ] {
            let response = world.get(key, &path(agent, backup)).await;
            check_problem(&response, 404, "No backup found");
        }
        let no_id = agent_path(agent, "/backups/x/download");
        let response = world.get(&key, &no_id).await;
        let error = ("backupId", "must be a UUID");
        check_field_errors(&response, "backupId must be a UUID", &[error]);
    });
}

#[test]
fn whoever_handles_agents_gets_an_address_and_a_viewer_does_not() {
    run(async {
        let mut world = World::new().await;
        let store = ObjectStore::start().await;
        store.serve(&mut world);
        let level = ("LOG_LEVEL".to_owned(), "trace".to_owned());
        world.settings.extend([level]);
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "stopped").await;
        let backup = world.backup(agent, "auto").await;
        move_to_bucket(&world, organization, agent, backup).await;
        let response = world.get(&key, &path(agent, backup)).await;
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let data = response.json()["data"].clone();
        assert_eq!(data["expiresIn"], json!(300));
        let url = data["url"].as_str().expect("a URL");
        let object = format!("/backups/{organization}/{agent}/{backup}?");
        assert!(url.contains(&object), "{url}");
        assert!(url.contains(&format!("backup-{backup}.json")), "{url}");
        let audited = "SELECT count(*) FROM cloud.admin_audit_log WHERE action = 'backup.download'";
        assert_eq!(world.count(audited).await, 1);
        world
            .execute(
                "INSERT INTO users (organization_id, role, created_at)
                SELECT id, 'owner', '2020-01-01' FROM organizations;
                UPDATE users SET role = 'viewer' WHERE id IN (SELECT user_id FROM api_keys)",
            )
            .await;
        let refused = world.get(&key, &path(agent, backup)).await;
        let viewer = "Viewers may only read; ask an owner of the organization";
        check_problem(&refused, 403, viewer);
        assert_eq!(world.count(audited).await, 1);
        let signature = url.split("X-Amz-Signature=").nth(1);
        let signature = signature.expect("a signature");
        for line in world.logs("agent-backup-download").await {
            assert!(!line.contains(signature), "{line}");
        }
    });
}
