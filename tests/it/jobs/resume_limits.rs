//! How many agents a sweep starts again, and that the owner learns what the others need.

use serde_json::json;
use tests::calls::agent_path;
use tests::world::hours;
use tests::{World, run};

use super::automatic_resume::{complete_starts, resumed, starts_of, stopped_agent, told};
use super::{seconds, set_balance, start_bus};

#[test]
fn f49_starts_after_a_top_up_stay_within_the_organizations_limit() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("100").await;
        world.set_limit(organization, "active_starts", 2).await;
        for _ in 0..3 {
            stopped_agent(&world, organization).await;
        }
        assert_eq!(resumed(&world, &bus).await, 2);
        assert_eq!(resumed(&world, &bus).await, 0);
        complete_starts(&world, organization).await;
        // The limit said how long a start takes.
        world.set_clock(seconds(89)).await;
        assert_eq!(resumed(&world, &bus).await, 0);
        world.set_clock(seconds(90)).await;
        assert_eq!(resumed(&world, &bus).await, 1);
    });
}

#[test]
fn a_sweep_starts_twenty_agents_of_an_organization_and_those_of_all_others() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let large = world.organization("100").await;
        sqlx::query(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, billing_status, stop_reason)
            SELECT organization_id, id, 'n' || n, 'stopped', 'suspended', 'billing'
            FROM users, generate_series(1, 21) AS n WHERE organization_id = $1",
        )
        .bind(large)
        .execute(&world.pool)
        .await
        .expect("agents");
        let small = world.organization("100").await;
        let agent = stopped_agent(&world, small).await;
        assert_eq!(resumed(&world, &bus).await, 21);
        assert_eq!(starts_of(&world, agent).await, 1);
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(resumed(&world, &bus).await, 0);
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 22);
    });
}

#[test]
fn an_owner_whose_top_up_is_too_small_is_told_what_is_needed_once_a_day() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("1").await;
        let agent = stopped_agent(&world, organization).await;
        // Nobody has paid yet.
        assert_eq!(resumed(&world, &bus).await, 0);
        assert!(told(&world, organization).await.is_empty());
        let reason = "Insufficient credits: $5 required, $3 available";
        let payload =
            json!({"agents": [{"id": agent, "name": "agent"}], "agentCount": 1, "reason": reason});
        for balance in ["3", "3.5", "2", "4"] {
            set_balance(&world, organization, balance).await;
            assert_eq!(resumed(&world, &bus).await, 0);
            assert_eq!(
                told(&world, organization).await,
                [("agent.start_failed".to_owned(), payload.clone())]
            );
        }
        world.set_clock(hours(24)).await;
        set_balance(&world, organization, "4.5").await;
        assert_eq!(resumed(&world, &bus).await, 0);
        assert_eq!(told(&world, organization).await.len(), 2);
    });
}

#[test]
fn an_owner_who_stops_an_agent_before_it_is_started_again_is_told_nothing() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("10").await;
        let agent = stopped_agent(&world, organization).await;
        assert_eq!(resumed(&world, &bus).await, 1);
        let stopped = world.post(&key, &agent_path(agent, "/suspend")).await;
        assert_eq!(stopped.status(), 200, "{stopped:?}");
        assert_eq!(resumed(&world, &bus).await, 0);
        assert!(told(&world, organization).await.is_empty());
        // A top-up does not start it either.
        set_balance(&world, organization, "20").await;
        assert_eq!(resumed(&world, &bus).await, 0);
        assert_eq!(starts_of(&world, agent).await, 1);
    });
}
