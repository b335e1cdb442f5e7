//! Events for product analytics: what a billing run writes, and how they reach the bus.

use std::collections::BTreeSet;

use dev::events::EventBus;
use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::world::hours;
use tests::{World, run};
use uuid::Uuid;

use super::{start_bus, sweep, try_sweep};

const HOURLY: &str = "milady_hourly_billed";

/// The product events that the bus received, each batch as the body that the rule makes of it.
fn received(bus: &EventBus) -> Vec<Vec<Value>> {
    let events = bus.received().into_iter();
    let batches = events.filter(|event| event["detail-type"] == "product.events");
    batches
        .map(|event| {
            assert_eq!(event["source"], "milady.control-plane");
            let detail = event["detail"].as_object().expect("an object");
            assert_eq!(detail.len(), 1, "{detail:?}");
            detail["batch"].as_array().expect("a list").clone()
        })
        .collect()
}

/// The stored events, oldest first.
async fn stored(world: &World) -> Vec<Value> {
    let batches: Vec<Value> =
        sqlx::query_scalar("SELECT batch FROM cloud.product_event_batches ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .expect("batches");
    let batches = batches.iter();
    batches
        .flat_map(|batch| batch.as_array().expect("a list").clone())
        .collect()
}

async fn batch_count(world: &World) -> i64 {
    let count = "SELECT count(*) FROM cloud.product_event_batches";
    world.count(count).await
}

fn names(events: &[Value]) -> Vec<&str> {
    let names = events.iter().map(|event| event["event"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

#[test]
fn a_run_writes_one_event_per_charged_organization_in_few_rows() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let mut organizations = BTreeSet::new();
        for _ in 0..60 {
            let organization = world.organization("5").await;
            world.agent(organization, "running").await;
            organizations.insert(organization.to_string());
        }
        // Nothing of it is charged.
        let idle = world.organization("5").await;
        world.agent(idle, "pending").await;
        world.run_billing(1).await;
        world.run_billing_at_current_time(1).await;
        assert_eq!(batch_count(&world).await, 2);

        assert_eq!(sweep(&world, &bus).await["batches"], json!(2));
        let batches = received(&bus);
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [50, 10]);
        let events = batches.concat();
        let ids = events.iter().map(|event| {
            assert_eq!(event["event"], HOURLY);
            assert_eq!(event["timestamp"], "2026-03-01T01:00:00.000Z");
            let properties = &event["properties"];
            assert_eq!(properties["$groups"]["organization"], event["distinct_id"]);
            let figures = ["agents", "amount", "new_balance", "owed"];
            assert_eq!(
                figures.map(|name| properties[name].clone()),
                [json!(1), json!(0.02), json!(4.98), json!(0.0)]
            );
            event["distinct_id"].as_str().expect("an id").to_owned()
        });
        assert_eq!(ids.collect::<BTreeSet<String>>(), organizations);
        // Published once.
        assert_eq!(batch_count(&world).await, 0);
        assert_eq!(sweep(&world, &bus).await["batches"], json!(0));
    });
}

#[test]
fn an_organization_that_is_charged_in_many_parts_has_one_event_of_the_whole() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("5").await;
        world.agent(organization, "running").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(5)).await;
        let report = world.run_billing_in_parts(5, 3).await.expect("a run");
        assert_eq!(report.tally.slices, 10);
        let events = stored(&world).await;
        assert_eq!(names(&events), [HOURLY]);
        let properties = &events[0]["properties"];
        assert_eq!(
            (&properties["agents"], &properties["amount"]),
            (&json!(2), &json!(0.2))
        );
    });
}

#[test]
fn product_events_hold_identifiers_and_no_names() {
    run(async {
        let world = World::new().await;
        let debtor = world.organization("0").await;
        let low = world.organization("1").await;
        for organization in [debtor, low] {
            let agent = world.agent(organization, "running").await;
            world
                .set_columns(agent, "agent_name = 'canary agent'")
                .await;
        }
        world
            .execute("UPDATE organizations SET name = 'canary', billing_email = 'canary@a.example'")
            .await;
        world
            .execute("UPDATE users SET email = 'canary-' || id || '@b.example'")
            .await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        world.run_billing(49).await;
        let events = stored(&world).await;
        let of = |organization: Uuid| {
            let events = events.iter();
            let own = events.filter(|event| event["distinct_id"] == json!(organization));
            own.cloned().collect::<Vec<Value>>()
        };
        assert_eq!(
            names(&of(debtor)),
            ["milady_shutdown_scheduled", "milady_suspended"]
        );
        assert_eq!(names(&of(low)), [HOURLY, "milady_credit_low", HOURLY]);
        let text = json!(events).to_string();
        for canary in ["canary", "@"] {
            assert!(!text.contains(canary), "{canary}: {text}");
        }
        let ids: BTreeSet<(String, String)> = events
            .iter()
            .map(|event| (event["event"].to_string(), event["uuid"].to_string()))
            .collect();
        assert_eq!(ids.len(), events.len());
    });
}

#[test]
fn refused_product_events_are_published_later_as_they_were_and_delay_nothing() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let low = world.organization("1").await;
        world.agent(low, "running").await;
        world.run_billing(1).await;
        let events = stored(&world).await;
        bus.refuse(Some("product.events"));
        let outcome = try_sweep(&world, &bus).await;
        let Outcome::FunctionError { message, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            message,
            "events not accepted by EventBridge: 1; the next sweep publishes them again"
        );
        // The warning of low credit.
        assert_eq!(bus.received().len(), 1);
        bus.refuse(None);
        sweep(&world, &bus).await;
        assert_eq!(received(&bus), [events]);
    });
}

#[test]
fn product_events_that_nobody_took_for_two_days_are_given_up() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("5").await;
        world.agent(organization, "running").await;
        world.run_billing(1).await;
        bus.set_down(true);
        for (hour, batches) in [(1, 1), (49, 1), (50, 0)] {
            world.set_clock(hours(hour)).await;
            try_sweep(&world, &bus).await;
            assert_eq!(batch_count(&world).await, batches, "{hour}");
        }
    });
}
