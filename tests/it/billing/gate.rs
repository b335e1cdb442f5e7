//! The credit gate with the database's rows.

use rust_decimal::dec;
use tests::suite::Response;
use tests::{World, run};
use uuid::Uuid;

/// The `requiredBalance` of a refusal.
fn required(answer: &Response) -> rust_decimal::Decimal {
    assert_eq!(answer.status(), 402, "{answer:?}");
    let required = answer.json()["requiredBalance"].to_string();
    required.parse().expect("an amount")
}

#[test]
fn the_gate_counts_running_starting_and_disconnected_agents() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("5.27").await;
        for status in ["running", "provisioning", "disconnected"] {
            for _ in 0..3 {
                world.agent(organization, status).await;
            }
        }
        // Agents in these states commit the organization to nothing.
        for status in ["stopped", "pending", "error"] {
            world.agent(organization, status).await;
        }
        let tenth = world.agent(organization, "pending").await;
        assert_eq!(world.start(organization, tenth).await.status(), 202);
        assert_eq!(world.start(organization, tenth).await.status(), 409);
        let eleventh = world.agent(organization, "pending").await;
        assert_eq!(
            required(&world.start(organization, eleventh).await),
            dec!(5.28)
        );
        world.top_up(organization, "0.01").await;
        assert_eq!(world.start(organization, eleventh).await.status(), 202);
    });
}

#[test]
fn exempt_agents_start_without_a_balance_and_do_not_count() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let exempt = world.agent(organization, "pending").await;
        let other = world.agent(organization, "pending").await;
        sqlx::query(
            "UPDATE milady_sandboxes SET billing_status = 'exempt', hourly_rate = 99 WHERE id = $1",
        )
        .bind(exempt)
        .execute(&world.pool)
        .await
        .expect("exempt");
        assert_eq!(world.start(organization, exempt).await.status(), 202);
        assert_eq!(required(&world.start(organization, other).await), dec!(5));
    });
}

#[test]
fn another_tenants_agent_is_not_found() {
    run(async {
        let world = World::new().await;
        let (own, foreign) = (world.organization("9").await, world.organization("9").await);
        let agent = world.agent(foreign, "pending").await;
        for agent in [agent, Uuid::new_v4()] {
            assert_eq!(world.start(own, agent).await.status(), 404);
        }
    });
}

#[test]
fn a_start_job_of_the_older_web_app_counts_as_a_starting_agent() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("5").await;
        let older_apps = world.agent(organization, "pending").await;
        let first = world.agent(organization, "pending").await;
        sqlx::query("UPDATE milady_sandboxes SET hourly_rate = 0.3 WHERE id = $1")
            .bind(older_apps)
            .execute(&world.pool)
            .await
            .expect("a rate");
        assert_eq!(world.start(organization, first).await.status(), 202);
        sqlx::query(
            "INSERT INTO jobs (type, organization_id, data)
            VALUES ('milady_provision', $1, jsonb_build_object('agentId', $2::uuid))",
        )
        .bind(organization)
        .bind(older_apps)
        .execute(&world.pool)
        .await
        .expect("a job");
        let third = world.agent(organization, "pending").await;
        assert_eq!(
            required(&world.start(organization, third).await),
            dec!(8.16)
        );
    });
}
