//! A snapshot is read exactly as it was written.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use shared::domain::fleet::{
    FleetReading, FleetSnapshot, IncidentStart, Metadata, MetadataValue, Shard, ShardDigest,
};
use tests::suite::epoch;
use tests::{fleet, run};
use uuid::Uuid;

use super::{Table, new_token, read, refresh, seconds, write};

/// A text that compression does not shorten.
fn incompressible(characters: usize) -> String {
    let bytes = || Uuid::new_v4().into_bytes();
    let blocks = (0..=characters / 16).flat_map(|_| bytes());
    let mut text = STANDARD
        .encode(blocks.collect::<Vec<u8>>())
        .replace('/', "-");
    text.truncate(characters);
    text
}

#[test]
fn a_snapshot_is_read_exactly_as_it_was_written() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        assert!(cache.snapshot(epoch()).await.expect("an answer").is_none());
        let mut refresh_run = fleet::refresh_run(3, 2, epoch());
        for (n, odd) in ["a#b/../c d", "\"Ünïcödé\" \\ 😀\u{1}", ""]
            .iter()
            .enumerate()
        {
            for agent in refresh_run
                .agents
                .iter_mut()
                .filter(|a| a.node_id == Some(fleet::host_name(n)))
            {
                agent.node_id = Some((*odd).to_owned());
                agent.agent_name = Some(format!("{odd}\n\t\u{2028}"));
                agent.error_message = Some("an error".to_owned());
            }
            (*odd).clone_into(&mut refresh_run.hosts[n].row.node_id);
            let facts = [("rack".to_owned(), MetadataValue::Number(7))];
            refresh_run.hosts[n].row.metadata = Metadata::new(facts);
        }
        // The host of this agent is no longer registered.
        refresh_run.agents.push(fleet::agent(99, "gone", epoch()));
        let at = epoch() + TimeDelta::microseconds(1_234_567);
        let observed = FleetSnapshot::of(&refresh_run, at);
        let snapshot = fleet::finished(&observed);
        let began = seconds(-7);
        let written = write(&cache, new_token(), &observed, began, at).await;
        assert_eq!(written, Ok(true));
        let cached = table
            .cache()
            .snapshot(at)
            .await
            .expect("an answer")
            .expect("a snapshot");
        assert_eq!(cached.snapshot, snapshot);
        let whole_fleet = Shard::default();
        assert_eq!(cache.run_began_at(&whole_fleet, at).await, Ok(Some(began)));
        // Again, from the copy that this process holds.
        for _ in 0..2 {
            let copy = cache
                .snapshot(at)
                .await
                .expect("an answer")
                .expect("a snapshot");
            assert_eq!(copy.snapshot, snapshot);
        }
    });
}

#[test]
fn the_next_run_reads_since_when_there_are_incidents() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        assert_eq!(cache.incident_starts(epoch()).await, Ok(Vec::new()));
        for hosts in [40, 60, 20] {
            let observed = fleet::snapshot(hosts, 2, seconds(7));
            refresh(&cache, &observed, seconds(9)).await;
            let digest = ShardDigest::of(Shard::default(), 1, &observed);
            let expected: Vec<IncidentStart> = digest.incident_starts().collect();
            assert!(expected.len() >= hosts / 20, "{expected:?}");
            let starts = cache.incident_starts(seconds(9)).await;
            assert_eq!(starts, Ok(expected));
        }
        assert_eq!(cache.incident_starts(seconds(86_409)).await, Ok(Vec::new()));
    });
}

#[test]
fn the_snapshot_of_an_empty_fleet_differs_from_no_snapshot() {
    run(async {
        let table = Table::new().await;
        let nothing = FleetSnapshot::of(&FleetReading::default(), epoch());
        refresh(&table.cache(), &nothing, epoch()).await;
        let shown = read(&table, epoch()).await;
        assert_eq!(shown, Some(fleet::finished(&nothing)));
    });
}

#[test]
fn a_host_too_large_for_one_item_is_stored_in_several() {
    run(async {
        let table = Table::new().await;
        let mut refresh_run = fleet::refresh_run(3, 2, epoch());
        refresh_run.agents[2].error_message = Some(incompressible(1_500_000));
        let snapshot = FleetSnapshot::of(&refresh_run, epoch());
        refresh(&table.cache(), &snapshot, epoch()).await;
        let shown = read(&table, epoch()).await;
        assert_eq!(shown, Some(fleet::finished(&snapshot)));
        let keys: Vec<String> = table
            .items("sections#0#0")
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let items_of_part = |n: usize| {
            keys.iter()
                .filter(|key| key.starts_with(&format!("{n:06}#")))
                .count()
        };
        // The agent without a host, and a section of each host, but two of the second one.
        assert_eq!([0, 1, 3, 4].map(items_of_part), [1; 4], "{keys:?}");
        assert!(items_of_part(2) > 3, "{keys:?}");
    });
}

#[test]
fn a_snapshot_of_500_hosts_with_24_agents_each_is_read_completely() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let snapshot = fleet::snapshot(500, 24, epoch());
        let began = Instant::now();
        refresh(&cache, &snapshot, epoch()).await;
        let written = began.elapsed();
        let began = Instant::now();
        let found = read(&table, epoch()).await.expect("a snapshot");
        println!(
            "500 hosts: written in {written:?}, read in {:?}",
            began.elapsed()
        );
        assert_eq!(found, fleet::finished(&snapshot));
    });
}

#[test]
fn parts_of_an_earlier_larger_snapshot_in_the_same_place_are_ignored() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        for hosts in [9, 8, 3, 2, 7, 1] {
            let snapshot = fleet::snapshot(hosts, 1, epoch());
            refresh(&cache, &snapshot, epoch()).await;
            let shown = read(&table, epoch()).await;
            assert_eq!(shown, Some(fleet::finished(&snapshot)));
        }
    });
}

#[test]
fn a_snapshot_expires_after_a_day_in_the_table_and_in_copies() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let snapshot = fleet::snapshot(1, 1, epoch());
        refresh(&cache, &snapshot, epoch()).await;
        let (before, after) = (seconds(86_399), seconds(86_400));
        assert!(cache.snapshot(before).await.expect("an answer").is_some());
        assert!(cache.snapshot(after).await.expect("an answer").is_none());
        let shown = read(&table, before).await;
        assert_eq!(shown, Some(fleet::finished(&snapshot)));
        assert_eq!(read(&table, after).await, None);
        // DynamoDB may delete all its items then, but never the fence.
        for item in table.emulator.items(&table.name).expect("items") {
            let expires = item["expires_at"]["N"]
                .as_str()
                .map(|at| at.parse().expect("seconds"));
            let is_fence = item["pk"]["S"] == "fence";
            assert_eq!(
                expires,
                Some(after.timestamp()).filter(|_| !is_fence),
                "{item}"
            );
        }
    });
}
