//! The leases of refresh runs: at most one run at a time works on a shard, and one that has been overtaken caches nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::runtime::Outcome;
use dev::sim::{Health, Script};
use serde_json::json;
use shared::db::hosts::leases::{FleetLease, lease_is_held, lease_return, lease_take};
use shared::domain::ids::InvocationId;
use tests::simulated_world::SimulatedWorld;
use tests::suite::epoch;
use tests::{World, run};
use tokio::task::JoinSet;
use uuid::Uuid;

fn owner() -> InvocationId {
    InvocationId::new(Uuid::new_v4())
}

/// Takes the lease of a shard for a minute.
async fn take(
    world: &World,
    shard: i32,
    owner: InvocationId,
    at: DateTime<Utc>,
) -> Option<FleetLease> {
    let until = at + TimeDelta::minutes(1);
    let mut conn = world.database.statements();
    let taken = lease_take(&mut conn, shard, owner, at, until).await;
    taken.expect("Postgres answers")
}

#[test]
fn one_of_sixteen_simultaneous_runs_gets_the_lease_of_a_shard() {
    run(async {
        let world = World::new().await;
        for round in 0..4 {
            // Each round begins when the last lease has expired.
            let now = epoch() + TimeDelta::minutes(round);
            let mut racing = JoinSet::new();
            for n in 0..32 {
                let world = world.clone();
                racing.spawn(async move { take(&world, n % 2, owner(), now).await });
            }
            let taken = racing.join_all().await.into_iter().flatten();
            let mut shards: Vec<i32> = taken.map(|lease| lease.shard).collect();
            shards.sort_unstable();
            assert_eq!(shards, [0, 1], "round {round}");
            let late = now + TimeDelta::seconds(59);
            assert_eq!(take(&world, 0, owner(), late).await, None);
        }
    });
}

#[test]
fn only_its_owner_returns_a_lease_and_no_token_is_used_twice() {
    run(async {
        let world = World::new().await;
        let mut conn = world.database.statements();
        let first = take(&world, 0, owner(), epoch()).await.expect("a lease");
        lease_return(&mut conn, first).await.expect("returned");
        let second_owner = owner();
        let second = take(&world, 0, second_owner, epoch()).await;
        let second = second.expect("a lease");
        assert!(second.token > first.token);
        assert_eq!(lease_is_held(&mut conn, first).await.ok(), Some(false));
        // The first owner returns the lease again; it belongs to the second one now.
        lease_return(&mut conn, first).await.expect("no error");
        assert_eq!(take(&world, 0, owner(), epoch()).await, None);
        assert_eq!(lease_is_held(&mut conn, second).await.ok(), Some(true));
        // A call that got no answer is repeated, so the owner can take its own lease once more.
        let repeated = take(&world, 0, second_owner, epoch()).await;
        let repeated = repeated.expect("its own lease");
        assert!(repeated.token > second.token);
        lease_return(&mut conn, repeated).await.expect("returned");
        // Tokens grow even if the row is lost.
        world.execute("DELETE FROM cloud.fleet_leases").await;
        let later = epoch() + TimeDelta::seconds(1);
        let next = take(&world, 0, owner(), later).await.expect("a lease");
        assert!(next.token > repeated.token);
    });
}

#[test]
fn without_the_cache_one_run_at_a_time_inspects_hosts() {
    run(async {
        let fleet = SimulatedWorld::new(vec![Script::new("a")], 1, Health::Healthy).await;
        let other = "INSERT INTO cloud.fleet_leases (shard, token, owner, until)
            VALUES (0, 1, gen_random_uuid(), billing_clock() + interval '1 minute')";
        fleet.world.execute(other).await;
        let function = fleet
            .world
            .function("fleet-refresh")
            .with("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9");
        let instance = function.start().await;
        let outcome = instance.invoke(json!({}), Duration::from_mins(1)).await;
        assert!(
            matches!(&outcome, Outcome::Success(answer) if answer["outcome"] == json!("busy")),
            "{outcome:?}"
        );
        assert_eq!(fleet.sim.hosts()[0].counts().connections, 0);
    });
}

#[test]
fn a_run_that_outlived_its_lease_caches_nothing() {
    run(async {
        let fleet = SimulatedWorld::new(vec![Script::new("a")], 1, Health::Healthy).await;
        fleet
            .world
            .execute(
                "CREATE FUNCTION overtake() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                    UPDATE cloud.fleet_leases SET token = token + 1, owner = gen_random_uuid();
                    RETURN NULL;
                END$$;
                CREATE TRIGGER overtake AFTER UPDATE ON docker_nodes EXECUTE FUNCTION overtake()",
            )
            .await;
        assert_eq!(fleet.world.refresh().await["outcome"], json!("overtaken"));
        let cached = fleet.world.cache().snapshot(epoch()).await;
        assert!(cached.expect("a cache").is_none());
        // The lease is the other run's.
        assert_eq!(fleet.world.refresh().await["outcome"], json!("busy"));
    });
}
