//! What two refresh runs in a row observe and must not be is repaired: containers of stopped agents, and agents on no known
//! host.

use chrono::{DateTime, TimeDelta, Utc};
use dev::sim::{Health, Script};
use serde_json::json;
use shared::db::hosts::discrepancies::discrepancies_record_of_any_organization;
use shared::domain::fleet::{Discrepancy, DiscrepancyKind, Shard};
use shared::domain::ids::{AgentId, AgentRef, OrganizationId};
use tests::simulated_world::SimulatedWorld;
use tests::world::minutes;
use tests::{World, run};
use uuid::Uuid;

/// A host with this many running agents.
async fn fleet_of(agents: usize) -> SimulatedWorld {
    SimulatedWorld::new(vec![Script::new("n1")], agents, Health::Healthy).await
}

async fn refresh_at(world: &World, minute: i64) {
    world.set_clock(minutes(minute)).await;
    assert_eq!(world.refresh().await["outcome"], json!("done"));
}

async fn status(world: &World, agent: Uuid) -> (String, Option<String>) {
    sqlx::query_as("SELECT status, error_message FROM milady_sandboxes WHERE id = $1")
        .bind(agent)
        .fetch_one(&world.pool)
        .await
        .expect("an agent")
}

/// The results of the entries of the audit log about this agent.
async fn audited(world: &World, action: &str, agent: Uuid) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT result FROM admin_audit_log WHERE action = $1 AND subject = $2 ORDER BY id",
    )
    .bind(action)
    .bind(agent.to_string())
    .fetch_all(&world.pool)
    .await
    .expect("entries")
}

async fn has_incident(world: &World, agent: Uuid) -> bool {
    let fleet = world.cached_fleet().await;
    let incidents = fleet["incidents"].as_array().expect("incidents");
    incidents
        .iter()
        .any(|incident| incident["containerId"] == json!(agent))
}

async fn only_job(world: &World, agent: Uuid) -> Uuid {
    sqlx::query_scalar("SELECT id FROM jobs WHERE agent_id = $1")
        .bind(agent)
        .fetch_one(&world.pool)
        .await
        .expect("one job")
}

fn has_container(fleet: &SimulatedWorld, agent: Uuid) -> bool {
    let script = fleet.sim.hosts()[0].script();
    script.find(&format!("milady-{agent}")).is_some()
}

#[test]
fn f78_the_container_of_a_stopped_agent_is_removed_after_two_observations() {
    run(async {
        const ACTION: &str = "agent.surplus_container";
        const AS_STOPPED: &str =
            "status = 'stopped', container_name = NULL, bridge_port = NULL, web_ui_port = NULL";
        let fleet = fleet_of(3).await;
        let world = &fleet.world;
        let [stopped, started_again, running] = fleet.agents[0][..] else {
            panic!("three agents");
        };
        for agent in [stopped, started_again] {
            world.set_columns(agent, AS_STOPPED).await;
        }
        refresh_at(world, 1).await;
        assert!(has_incident(world, stopped).await);
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
        refresh_at(world, 2).await;
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 2);
        assert_eq!(audited(world, ACTION, stopped).await, ["begun"]);
        // Another run enqueues no second job.
        refresh_at(world, 3).await;
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 2);

        // Another application starts it before the job begins.
        let columns = "status = 'running', container_name = 'milady-' || id";
        world.set_columns(started_again, columns).await;
        for agent in [stopped, started_again] {
            let job = only_job(world, agent).await;
            assert_eq!(world.run_job(job).await["outcome"], json!("completed"));
        }
        assert!(!has_container(&fleet, stopped));
        assert!(has_container(&fleet, started_again) && has_container(&fleet, running));
        assert_eq!(audited(world, ACTION, stopped).await, ["ok"]);
        assert_eq!(audited(world, ACTION, started_again).await, ["not needed"]);
        assert_eq!(status(world, stopped).await, ("stopped".to_owned(), None));
        assert_eq!(status(world, started_again).await.0, "running");
        // The volume stays, and may hold more than the last backup.
        let unsaved = "SELECT count(*) FROM milady_sandboxes WHERE unsaved_since IS NOT NULL";
        assert_eq!(world.count(unsaved).await, 1);
        let requests = fleet.sim.hosts()[0].counts().requests;
        let removed_volume = |request: &&String| request.starts_with("DELETE /volumes");
        assert_eq!(requests.keys().find(removed_volume), None);
        refresh_at(world, 4).await;
        assert!(!has_incident(world, stopped).await);
    });
}

#[test]
fn f78_a_container_that_docker_started_again_is_removed_and_its_agent_stays_in_error() {
    run(async {
        const ACTION: &str = "agent.surplus_container";
        const IN_ERROR: &str = "status = 'error', error_message = 'why', container_name = NULL,
            bridge_port = NULL, web_ui_port = NULL, unsaved_since = NULL";
        let fleet = fleet_of(1).await;
        let world = &fleet.world;
        let agent = fleet.agents[0][0];
        world.set_columns(agent, IN_ERROR).await;
        refresh_at(world, 1).await;
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
        refresh_at(world, 2).await;
        assert_eq!(audited(world, ACTION, agent).await, ["begun"]);
        let job = only_job(world, agent).await;
        assert_eq!(world.run_job(job).await["outcome"], json!("completed"));
        assert!(!has_container(&fleet, agent));
        assert_eq!(audited(world, ACTION, agent).await, ["ok"]);
        let in_error = ("error".to_owned(), Some("why".to_owned()));
        assert_eq!(status(world, agent).await, in_error);
        refresh_at(world, 3).await;
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 1);
    });
}

#[test]
fn f93_an_agent_on_no_known_host_is_in_error_and_charged_up_to_its_last_heartbeat() {
    run(async {
        const ACTION: &str = "agent.no_host";
        let fleet = fleet_of(3).await;
        let world = &fleet.world;
        let [without_host, not_registered, running] = fleet.agents[0][..] else {
            panic!("three agents");
        };
        world.set_clock(minutes(5)).await;
        let now = "last_heartbeat_at = billing_clock()";
        for agent in [without_host, not_registered] {
            world.set_columns(agent, now).await;
        }
        world.set_columns(without_host, "node_id = NULL").await;
        world.set_columns(not_registered, "node_id = 'gone'").await;
        refresh_at(world, 20).await;
        for agent in [without_host, not_registered] {
            assert_eq!(status(world, agent).await, ("running".to_owned(), None));
            assert!(has_incident(world, agent).await);
        }
        refresh_at(world, 21).await;
        for (agent, reason) in [
            (without_host, "The agent's host is not known"),
            (not_registered, "The agent's host is no longer registered"),
        ] {
            let in_error = ("error".to_owned(), Some(reason.to_owned()));
            assert_eq!(status(world, agent).await, in_error);
            assert_eq!(audited(world, ACTION, agent).await, ["ok"]);
            assert!(has_incident(world, agent).await);
            let ends: Vec<Option<DateTime<Utc>>> =
                sqlx::query_scalar("SELECT ended_at FROM usage_spans WHERE agent_id = $1")
                    .bind(agent)
                    .fetch_all(&world.pool)
                    .await
                    .expect("spans");
            assert_eq!(ends, [Some(minutes(5))]);
        }
        assert_eq!(status(world, running).await.0, "running");
        let open = "SELECT count(*) FROM usage_spans WHERE ended_at IS NULL";
        assert_eq!(world.count(open).await, 1);
        refresh_at(world, 22).await;
        assert_eq!(audited(world, ACTION, without_host).await, ["ok"]);
    });
}

#[test]
fn f93_time_that_is_charged_already_stays_charged() {
    run(async {
        let fleet = fleet_of(1).await;
        let world = &fleet.world;
        let agent = fleet.agents[0][0];
        world.set_columns(agent, "node_id = 'gone'").await;
        world.run_billing(2).await;
        refresh_at(world, 130).await;
        refresh_at(world, 131).await;
        assert_eq!(status(world, agent).await.0, "error");
        let end: DateTime<Utc> = sqlx::query_scalar("SELECT ended_at FROM usage_spans")
            .fetch_one(&world.pool)
            .await
            .expect("a span");
        assert_eq!(end, minutes(120));
    });
}

#[test]
fn an_agent_that_a_job_works_on_is_not_repaired() {
    run(async {
        let fleet = fleet_of(1).await;
        let world = &fleet.world;
        let agent = fleet.agents[0][0];
        world.set_columns(agent, "node_id = 'gone'").await;
        sqlx::query(
            "INSERT INTO jobs (type, class, organization_id, agent_id, data)
            VALUES ('milady_suspend', 'stop', $1, $2, '{}')",
        )
        .bind(fleet.organization)
        .bind(agent)
        .execute(&world.pool)
        .await
        .expect("a job");
        for minute in 1..4 {
            refresh_at(world, minute).await;
        }
        assert_eq!(status(world, agent).await, ("running".to_owned(), None));
    });
}

#[test]
fn only_two_observations_of_the_same_in_a_row_confirm_a_discrepancy() {
    run(async {
        let world = World::new().await;
        let discrepancy = |container_id: &str| Discrepancy {
            kind: DiscrepancyKind::SurplusContainer,
            agent: AgentRef {
                organization_id: OrganizationId::new(Uuid::from_u128(1)),
                agent_id: AgentId::new(Uuid::from_u128(2)),
            },
            node_id: Some("n1".to_owned()),
            container_id: Some(container_id.to_owned()),
        };
        let at = |minute| minutes(minute) + TimeDelta::seconds(1);
        for (found, at, is_confirmed) in [
            (vec![discrepancy("a")], at(0), false),
            (vec![discrepancy("a")], at(1), true),
            // Another container.
            (vec![discrepancy("b")], at(2), false),
            (vec![discrepancy("b")], at(3), true),
            // A run that did not observe it.
            (vec![], at(4), false),
            (vec![discrepancy("b")], at(5), false),
            // The run before is too long ago.
            (vec![discrepancy("b")], at(16), false),
            (vec![discrepancy("b")], at(26), true),
        ] {
            let mut tx = world.database.begin().await.expect("begin");
            let confirmed =
                discrepancies_record_of_any_organization(&mut tx, &Shard::default(), &found, at)
                    .await
                    .expect("the discrepancies")
                    .len();
            tx.commit().await.expect("commit");
            assert_eq!(confirmed, usize::from(is_confirmed), "{at} {found:?}");
        }
    });
}
