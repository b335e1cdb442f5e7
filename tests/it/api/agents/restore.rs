//! `GET /api/v1/milady/agents/{agentId}/backups` and `POST /api/v1/milady/agents/{agentId}/restore`

use expect_test::expect;
use serde_json::json;
use shared::db::agents::backups::{BackupState, DAILY, MANUAL, PRE_SHUTDOWN, backup_insert};
use shared::domain::ids::{AgentId, AgentRef, OrganizationId};
use tests::calls::agent_path;
use tests::world::minutes;
use tests::{World, check, check_problem, run};

#[test]
fn the_newest_twenty_backups_are_listed_newest_first() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "stopped").await;
        check(
            &world.get(&key, &agent_path(agent, "/backups")).await,
            expect![[r#"
                200 application/json
                {
                  "data": [],
                  "success": true
                }
            "#]],
        );
        for minute in 0..22 {
            world.set_clock(minutes(minute)).await;
            world
                .backup(agent, if minute == 21 { "pre-shutdown" } else { "auto" })
                .await;
        }
        let answer = world.get(&key, &agent_path(agent, "/backups")).await.json();
        let rows = answer["data"].as_array().expect("rows");
        assert_eq!(rows.len(), 20);
        assert_eq!(rows[19]["createdAt"], "2026-03-01T00:02:00.000Z");
        let mut newest = rows[0].clone();
        newest["id"] = json!(null);
        assert_eq!(
            newest,
            json!({"id": null, "snapshotType": "pre-shutdown", "sizeBytes": 16,
                "vercelSnapshotId": null, "createdAt": "2026-03-01T00:21:00.000Z"})
        );
        let (_, stranger) = world.tenant("5").await;
        check_problem(
            &world.get(&stranger, &agent_path(agent, "/backups")).await,
            404,
            "Agent not found",
        );
    });
}

#[test]
fn three_manual_and_seven_daily_backups_and_the_newest_of_a_stop_are_kept() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let id = world.agent(organization, "running").await;
        let other = world.agent(organization, "running").await;
        world.backup(other, "manual").await;
        let agent = AgentRef {
            organization_id: OrganizationId::new(organization),
            agent_id: AgentId::new(id),
        };
        let kinds = async |n: usize| {
            let listed = world.get(&key, &agent_path(id, "/backups")).await.json();
            let rows = listed["data"].as_array().expect("rows").clone();
            let kinds = rows.iter().map(|row| row["snapshotType"].clone());
            let kinds: Vec<_> = kinds.collect();
            assert_eq!(kinds.len(), n, "{kinds:?}");
            [MANUAL, DAILY, PRE_SHUTDOWN]
                .map(|kind| kinds.iter().filter(|k| **k == json!(kind)).count())
        };
        let insert = async |minute: i64, kind: &str| {
            let mut tx = world.database.begin().await.expect("begin");
            let state = BackupState::Json(r#"{"memories": []}"#);
            backup_insert(&mut tx, agent, kind, state, 16, minutes(minute))
                .await
                .expect("a backup");
            tx.commit().await.expect("commit");
        };
        for minute in 0..9 {
            insert(minute, DAILY).await;
            insert(minute, PRE_SHUTDOWN).await;
        }
        assert_eq!(kinds(8).await, [0, 7, 1]);
        for minute in 10..15 {
            insert(minute, MANUAL).await;
        }
        insert(90, DAILY).await;
        assert_eq!(kinds(11).await, [3, 7, 1]);
        assert_eq!(
            world
                .count("SELECT count(*) FROM milady_sandbox_backups")
                .await,
            12
        );
    });
}

#[test]
fn a_stopped_agent_restores_its_newest_backup_and_a_running_agent_any_of_its_own() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let stopped = world.agent(organization, "stopped").await;
        let old = world.backup(stopped, "manual").await;
        world.set_clock(minutes(1)).await;
        let new = world.backup(stopped, "auto").await;
        let path = agent_path(stopped, "/restore");
        check_problem(
            &world
                .post_json(&key, &path, &json!({"backupId": old}))
                .await,
            409,
            "Stopped agents can only restore the latest backup",
        );
        let taken = world.post(&key, &path).await;
        assert_eq!(taken.json()["data"]["restoredFromBackupId"], json!(new));
        check(
            &taken,
            expect![[r#"
                202 application/json
                {
                  "data": {
                    "createdAt": "2026-03-01T00:01:00.000Z",
                    "jobId": "<1>",
                    "restoredFromBackupId": "<2>",
                    "snapshotType": "auto"
                  },
                  "message": "The backup will be restored as soon as the agent's host answers",
                  "polling": {
                    "endpoint": "/api/v1/jobs/<1>",
                    "expectedDurationMs": 90000,
                    "intervalMs": 1000
                  },
                  "success": true
                }
            "#]],
        );
        let repeated = world
            .post_json(&key, &path, &json!({"backupId": new}))
            .await;
        check_problem(&repeated, 409, "Agent provisioning is in progress");
        let running = world.agent(organization, "running").await;
        let old = world.backup(running, "manual").await;
        world.set_clock(minutes(2)).await;
        world.backup(running, "auto").await;
        let path = agent_path(running, "/restore");
        let taken = world
            .post_json(&key, &path, &json!({"backupId": old}))
            .await;
        assert_eq!(
            (
                taken.status(),
                &taken.json()["data"]["restoredFromBackupId"]
            ),
            (202, &json!(old))
        );
        assert_eq!(world.jobs_of(running).await[0]["type"], "milady_restore");
    });
}

#[test]
fn f12_a_backup_of_another_agent_is_not_found() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "stopped").await;
        let sibling = world.agent(organization, "stopped").await;
        let of_sibling = world.backup(sibling, "manual").await;
        let other_organization = world.organization("5").await;
        let foreign_agent = world.agent(other_organization, "stopped").await;
        let of_theirs = world.backup(foreign_agent, "manual").await;
        let path = agent_path(agent, "/restore");
        check_problem(&world.post(&key, &path).await, 404, "No backup found");
        world.backup(agent, "auto").await;
        for backup in [of_sibling, of_theirs] {
            let answer = world
                .post_json(&key, &path, &json!({"backupId": backup}))
                .await;
            check_problem(&answer, 404, "No backup found");
        }
        // Neither through an agent of the other organization; and an unknown agent is reported before an unknown backup.
        let path = agent_path(foreign_agent, "/restore");
        let answer = world
            .post_json(&key, &path, &json!({"backupId": of_theirs}))
            .await;
        check_problem(&answer, 404, "Agent not found");
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
    });
}

#[test]
fn a_restore_is_refused_because_of_the_state_the_body_or_the_credit() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        for (status, reason) in [
            ("pending", "Agent has not been started yet"),
            ("provisioning", "Agent provisioning is in progress"),
            ("disconnected", "The agent's host cannot be reached"),
        ] {
            let agent = world.agent(organization, status).await;
            world.backup(agent, "auto").await;
            let answer = world.post(&key, &agent_path(agent, "/restore")).await;
            assert_eq!(
                (answer.status(), &answer.json()["error"]),
                (409, &json!(reason))
            );
        }
        let agent = world.agent(organization, "stopped").await;
        world.backup(agent, "auto").await;
        let path = agent_path(agent, "/restore");
        for body in [json!({"backupId": "x"}), json!({"backupId": 1}), json!([])] {
            assert_eq!(
                world.post_json(&key, &path, &body).await.status(),
                400,
                "{body}"
            );
        }
        world
            .execute("UPDATE organizations SET credit_balance = 4.99")
            .await;
        check(
            &world.post(&key, &path).await,
            expect![[r#"
            402 application/json
            {
              "currentBalance": 4.99,
              "error": "Insufficient credits: $5 required, $4.99 available",
              "requiredBalance": 5.0,
              "success": false
            }
        "#]],
        );
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
    });
}
