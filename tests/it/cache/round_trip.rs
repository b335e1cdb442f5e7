//! A snapshot is read exactly as it was written.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use shared::domain::fleet::{FleetSnapshot, Metadata, MetadataValue};
use tests::suite::epoch;
use tests::{fleet, run};
use uuid::Uuid;

use super::{Table, read, refresh, seconds, take};

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
        let snapshot = FleetSnapshot::of(&refresh_run, at);
        let lease = take(&cache, at).await;
        let began = seconds(-7);
        assert_eq!(
            cache.snapshot_write(&lease, &snapshot, began, at).await,
            Ok(true)
        );
        let cached = table
            .cache()
            .snapshot(at)
            .await
            .expect("an answer")
            .expect("a snapshot");
        assert_eq!(cached.snapshot, snapshot);
        assert_eq!((cached.token, cached.began_at), (lease.token, began));
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
fn the_snapshot_of_an_empty_fleet_differs_from_no_snapshot() {
    run(async {
        let table = Table::new().await;
        let nothing = fleet::snapshot(0, 0, epoch());
        refresh(&table.cache(), &nothing, epoch()).await;
        assert_eq!(read(&table, epoch()).await, Some(nothing));
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
        assert_eq!(read(&table, epoch()).await.as_ref(), Some(&snapshot));
        let keys: Vec<String> = table
            .items("snapshot#0")
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let of_host = |n: usize| {
            keys.iter()
                .filter(|key| key.starts_with(&format!("{n:06}#")))
                .count()
        };
        assert_eq!([of_host(0), of_host(1), of_host(3)], [1, 1, 1], "{keys:?}");
        assert!(of_host(2) > 3, "{keys:?}");
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
        assert_eq!(found, snapshot);
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
            assert_eq!(read(&table, epoch()).await, Some(snapshot));
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
        assert_eq!(read(&table, before).await, Some(snapshot));
        assert_eq!(read(&table, after).await, None);
        // DynamoDB may delete all its items then, but never the lease.
        for item in table.emulator.items(&table.name).expect("items") {
            let expires = item["expires_at"]["N"]
                .as_str()
                .map(|at| at.parse().expect("seconds"));
            let is_lease = item["pk"]["S"] == "lease";
            assert_eq!(
                expires,
                Some(after.timestamp()).filter(|_| !is_lease),
                "{item}"
            );
        }
    });
}
