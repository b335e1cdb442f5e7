//! The upkeep of simulated hosts: the default image is there before an agent needs it, and what nobody needs goes when a
//! disk fills up.

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use dev::sim::{Container, Fault, Health, PulledImage, Script, Volume};
use serde_json::{Value, json};
use tests::run;
use tests::simulated_world::SimulatedWorld;
use tests::suite::epoch;
use uuid::Uuid;

const FIRST: &str = "milady/agent:1";
const SECOND: &str = "milady/agent:2";

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn pulled(name: &str, digit: char) -> PulledImage {
    let (repository, _) = name.split_once(':').expect("a tag");
    PulledImage {
        name: Some(name.to_owned()),
        repository: repository.to_owned(),
        digest: digest(digit),
    }
}

fn untagged(name: &str, digit: char) -> PulledImage {
    PulledImage {
        name: None,
        ..pulled(name, digit)
    }
}

/// Runs the upkeep with this default image, as long after the beginning as `minutes` says. Returns how many hosts were
/// done and how many failed, and what was removed.
async fn look_after(fleet: &mut SimulatedWorld, image: &str, minutes: i64) -> Value {
    let now = epoch() + TimeDelta::minutes(minutes);
    fleet.world.set_clock(now).await;
    let setting = "DEFAULT_AGENT_IMAGE".to_owned();
    fleet.world.settings.insert(setting, image.to_owned());
    let instance = fleet.world.function("host-upkeep").start().await;
    let outcome = instance.invoke(json!({}), Duration::from_mins(15)).await;
    instance.kill().await;
    let Outcome::Success(result) = outcome else {
        panic!("{outcome:?}");
    };
    json!([
        [result["done"], result["failed"]],
        [result["removedImages"], result["removedVolumes"]]
    ])
}

async fn set_registry(fleet: &SimulatedWorld, images: &[(&str, char)]) {
    for host in fleet.sim.hosts() {
        let images = images.iter();
        let registry = images.map(|(name, digit)| ((*name).to_owned(), digest(*digit)));
        let registry = registry.collect();
        host.update_script(|script| script.registry = registry)
            .await;
    }
}

#[test]
fn f69_every_host_has_the_newest_default_image_before_an_agent_needs_it() {
    run(async {
        let scripts = vec![Script::new("a"), Script::new("b")];
        let mut fleet = SimulatedWorld::new(scripts, 0, Health::Healthy).await;
        let pulls = |fleet: &SimulatedWorld| -> Vec<u64> {
            let hosts = fleet.sim.hosts().iter();
            hosts
                .map(|host| {
                    let requests = host.counts().requests;
                    requests
                        .get("POST /images/create")
                        .copied()
                        .unwrap_or_default()
                })
                .collect()
        };
        let images = |fleet: &SimulatedWorld, host: usize| fleet.sim.hosts()[host].script().pulled;
        let done = |done: u64, failed: u64| json!([[done, failed], [0, 0]]);

        // New hosts.
        set_registry(&fleet, &[(FIRST, '1')]).await;
        assert_eq!(look_after(&mut fleet, FIRST, 0).await, done(2, 0));
        assert_eq!(images(&fleet, 0), [pulled(FIRST, '1')]);
        assert_eq!(images(&fleet, 1), [pulled(FIRST, '1')]);
        let recorded: Vec<(Option<String>, Option<String>)> =
            sqlx::query_as("SELECT image, image_digest FROM cloud.host_upkeep")
                .fetch_all(&fleet.world.pool)
                .await
                .expect("rows");
        let expected = (Some(FIRST.to_owned()), Some(digest('1')));
        assert_eq!(recorded, [expected.clone(), expected]);
        assert_eq!(look_after(&mut fleet, FIRST, 29).await, done(0, 0));

        // Half an hour later nothing has changed, and then the tag names another version.
        assert_eq!(look_after(&mut fleet, FIRST, 31).await, done(2, 0));
        assert_eq!(pulls(&fleet), [1, 1]);
        set_registry(&fleet, &[(FIRST, '2'), (SECOND, '3')]).await;
        assert_eq!(look_after(&mut fleet, FIRST, 62).await, done(2, 0));
        assert_eq!(
            images(&fleet, 0),
            [untagged(FIRST, '1'), pulled(FIRST, '2')]
        );

        // Another default image.
        assert_eq!(look_after(&mut fleet, SECOND, 62).await, done(2, 0));
        assert_eq!(images(&fleet, 0).last(), Some(&pulled(SECOND, '3')));
        assert_eq!(pulls(&fleet), [3, 3]);

        // A registry that does not answer, and a host that does not.
        set_registry(&fleet, &[]).await;
        let host = fleet.sim.hosts()[1].clone();
        host.update_script(|script| script.fault = Some(Fault::DockerDown))
            .await;
        assert_eq!(look_after(&mut fleet, SECOND, 93).await, done(1, 1));
        host.update_script(|script| script.fault = None).await;
        assert_eq!(look_after(&mut fleet, SECOND, 94).await, done(0, 0));
        // The host that failed is attempted again ten minutes later, before it would be looked after anyway.
        assert_eq!(look_after(&mut fleet, SECOND, 104).await, done(1, 0));
        assert_eq!(look_after(&mut fleet, SECOND, 135).await, done(2, 0));

        // A disabled host is left alone.
        fleet
            .world
            .execute("UPDATE docker_nodes SET enabled = node_id = 'a'")
            .await;
        assert_eq!(look_after(&mut fleet, SECOND, 200).await, done(1, 0));
    });
}

#[test]
fn f76_a_host_that_fills_up_loses_what_nobody_needs_and_nothing_else() {
    run(async {
        let (used, chosen) = ("milady/used:1", "milady/chosen:1");
        let container = Container::new("somebody").image(used);
        let mut script = Script::new("a").with_container(container);
        script.pulled = vec![
            pulled(FIRST, '1'),
            untagged(FIRST, '0'),
            pulled("milady/other:1", '4'),
            pulled(used, '5'),
            pulled("postgres:15", '6'),
            pulled(chosen, '7'),
        ];
        let names = [
            FIRST,
            "milady/other:1",
            "postgres:15",
            "milady/made:here",
            chosen,
        ];
        script.images.extend(names.map(str::to_owned));
        script.facts.disk_percent = 79;
        let mut fleet = SimulatedWorld::new(vec![script], 1, Health::Healthy).await;
        set_registry(&fleet, &[(FIRST, '1')]).await;
        let stopped = fleet.world.agent(fleet.organization, "stopped").await;
        // Its only state may be there.
        let columns = "node_id = 'a', docker_image = 'milady/chosen:1'";
        fleet.world.set_columns(stopped, columns).await;
        let (gone, never_charged) = (Uuid::new_v4(), Uuid::new_v4());
        let volumes = [fleet.agents[0][0], stopped, gone, never_charged]
            .map(|agent| Volume::of_agent(agent, fleet.organization));
        sqlx::query(
            "INSERT INTO cloud.usage_days (organization_id, day, agent_id, kind, seconds, amount)
            VALUES ($1, '2026-02-01', $2, 'running', 3600, 0.02)",
        )
        .bind(fleet.organization)
        .bind(gone)
        .execute(&fleet.world.pool)
        .await
        .expect("a charged day");
        let host = fleet.sim.hosts()[0].clone();
        let before = volumes.to_vec();
        host.update_script(|script| script.volumes = before).await;

        let nothing = json!([[1, 0], [0, 0]]);
        assert_eq!(look_after(&mut fleet, FIRST, 0).await, nothing);
        assert_eq!(host.script().pulled.len(), 6);

        host.update_script(|script| script.facts.disk_percent = 80)
            .await;
        let removed = json!([[1, 0], [2, 1]]);
        assert_eq!(look_after(&mut fleet, FIRST, 31).await, removed);
        let script = host.script();
        assert_eq!(
            script.pulled,
            [
                pulled(FIRST, '1'),
                pulled(used, '5'),
                pulled("postgres:15", '6'),
                pulled(chosen, '7'),
            ]
        );
        assert!(script.images.contains("milady/made:here"));
        assert_eq!(
            script.volumes,
            [volumes[0].clone(), volumes[1].clone(), volumes[3].clone()]
        );

        // On a host that takes no agents the image can wait.
        host.update_script(|script| script.facts.disk_percent = 95)
            .await;
        let busy = json!([[0, 1], [0, 0]]);
        assert_eq!(look_after(&mut fleet, FIRST, 62).await, busy);
    });
}
