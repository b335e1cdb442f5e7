//! The credit gate with the database's rows.

use rust_decimal::{Decimal, dec};
use tests::suite::Response;
use tests::{World, run};
use uuid::Uuid;

/// The `requiredBalance` of a refusal.
fn required(answer: &Response) -> Decimal {
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

/// An agent as the gate counts it.
#[derive(sqlx::FromRow)]
struct CountedAgent {
    id: Uuid,
    status: String,
    billing_status: String,
    hourly_rate: Option<Decimal>,
}

/// A job as the gate counts it.
#[derive(sqlx::FromRow)]
struct CountedJob {
    kind: String,
    status: String,
    agent_id: Option<Uuid>,
    named_agent: Option<String>,
}

impl CountedJob {
    fn starts(&self, agent: Uuid) -> bool {
        let is_named = self.agent_id == Some(agent)
            || self
                .named_agent
                .as_ref()
                .is_some_and(|name| *name == agent.to_string());
        is_named
            && ["milady_provision", "milady_restore"].contains(&self.kind.as_str())
            && ["pending", "in_progress"].contains(&self.status.as_str())
    }
}

#[test]
fn f59_the_gate_counts_thousands_of_agents_as_a_search_for_each_one_would() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0").await;
        let asking = world.agent(organization, "pending").await;
        sqlx::query(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, billing_status, hourly_rate)
            SELECT $1, u.id, 'agent',
                (ARRAY['running', 'stopped', 'pending', 'error', 'disconnected', 'provisioning', 'pending'])[1 + n % 7],
                CASE WHEN n % 10 = 0 THEN 'exempt' ELSE 'active' END,
                CASE WHEN n % 3 = 0 THEN 0.0001 * (n % 100) END
            FROM generate_series(1, 5000) n, users u WHERE u.organization_id = $1",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("agents");
        // A quarter is from the older web app, which names the agent in `data` only.
        sqlx::query(
            "INSERT INTO jobs (type, class, organization_id, agent_id, data, status)
            SELECT (ARRAY['milady_provision', 'milady_restore', 'milady_suspend'])[1 + n % 3],
                CASE WHEN n % 3 < 2 THEN 'start' ELSE 'stop' END, $1, CASE WHEN n % 4 > 0 THEN id END,
                jsonb_build_object('agentId', id),
                (ARRAY['pending', 'in_progress', 'completed', 'failed', 'pending'])[1 + n % 5]
            FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM milady_sandboxes
                WHERE organization_id = $1 AND id <> $2 ORDER BY id LIMIT 500) a",
        )
        .bind(organization)
        .bind(asking)
        .execute(&world.pool)
        .await
        .expect("jobs");
        let agents: Vec<CountedAgent> = sqlx::query_as(
            "SELECT id, status, billing_status, hourly_rate FROM milady_sandboxes WHERE organization_id = $1",
        )
        .bind(organization)
        .fetch_all(&world.pool)
        .await
        .expect("agents");
        let jobs: Vec<CountedJob> = sqlx::query_as(
            "SELECT type AS kind, status, agent_id, data ->> 'agentId' AS named_agent FROM jobs",
        )
        .fetch_all(&world.pool)
        .await
        .expect("jobs");
        assert_eq!((agents.len(), jobs.len()), (5_001, 500));
        world.set_limit(organization, "active_starts", 1_000).await;
        let commits = |agent: &&CountedAgent| {
            agent.billing_status != "exempt"
                && (agent.id == asking
                    || ["running", "provisioning", "disconnected"].contains(&agent.status.as_str())
                    || jobs.iter().any(|job| job.starts(agent.id)))
        };
        let hourly: Decimal = agents
            .iter()
            .filter(commits)
            .map(|agent| agent.hourly_rate.unwrap_or(dec!(0.02)))
            .sum();
        let refused = world.start(organization, asking).await;
        assert_eq!(
            required(&refused).normalize(),
            (hourly * dec!(24)).normalize()
        );
    });
}
