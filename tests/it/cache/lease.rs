//! The lease: one writer at a time, and a writer that has lost the lease changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use shared::cache::Lease;
use shared::domain::fleet::FleetSnapshot;
use tests::suite::epoch;
use tests::{fleet, run};
use tokio::task::JoinSet;

use super::{Table, read, refresh, seconds, take, try_take};

#[test]
fn one_of_sixteen_simultaneous_writers_gets_the_lease() {
    run(async {
        let table = Arc::new(Table::new().await);
        for round in 0..4 {
            // Each round begins when the last lease has expired.
            let now = seconds(round * 60);
            let mut racing = JoinSet::new();
            for _ in 0..16 {
                let table = Arc::clone(&table);
                racing.spawn(async move { try_take(&table.cache(), now).await });
            }
            let taken: Vec<Lease> = racing.join_all().await.into_iter().flatten().collect();
            assert_eq!(taken.len(), 1, "round {round}: {taken:?}");
            assert_eq!(
                try_take(&table.cache(), now + TimeDelta::seconds(59)).await,
                None
            );
        }
    });
}

#[test]
fn only_its_owner_returns_a_lease_and_no_token_is_used_twice() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let first = take(&cache, epoch()).await;
        cache.lease_return(&first).await.expect("returned");
        let second = take(&cache, epoch()).await;
        assert!(second.token > first.token);
        // The first owner returns the lease again; it belongs to the second one now.
        cache.lease_return(&first).await.expect("no error");
        assert_eq!(try_take(&cache, epoch()).await, None);
        // The SDK repeats a request that got no answer, so the owner can take its own lease once more.
        let until = seconds(60);
        let repeated = cache
            .lease_take(second.owner, epoch(), until)
            .await
            .expect("an answer");
        let repeated = repeated.expect("its own lease");
        assert!(repeated.token > second.token);
        cache.lease_return(&repeated).await.expect("returned");
        // Tokens grow even if the item is lost.
        table
            .emulator
            .remove(&table.name, "lease", "lease")
            .expect("removed");
        assert!(take(&cache, seconds(1)).await.token > repeated.token);
    });
}

#[test]
fn an_expired_lease_can_be_taken_and_its_former_owner_then_writes_nothing() {
    run(async {
        let table = Table::new().await;
        let (cache, late) = (table.cache(), table.cache());
        let [old, new, newest, dead] = [1, 2, 3, 4].map(|n| fleet::snapshot(n, 1, epoch()));
        refresh(&cache, &old, epoch()).await;
        let lost = take(&late, epoch()).await;
        assert_eq!(try_take(&cache, seconds(59)).await, None);
        let write = async |now| late.snapshot_write(&lost, &dead, epoch(), now).await;

        // The lease has expired, but nobody has taken it: the snapshot is still the newest.
        assert_eq!(write(seconds(60)).await, Ok(true));
        // Another writer has the lease and has not written yet.
        let lease = take(&cache, seconds(60)).await;
        assert_eq!(write(seconds(60)).await, Ok(false));
        assert_eq!(read(&table, seconds(60)).await, Some(dead.clone()));
        // The other writer has written.
        assert_eq!(
            cache
                .snapshot_write(&lease, &new, epoch(), seconds(61))
                .await,
            Ok(true)
        );
        assert_eq!(write(seconds(62)).await, Ok(false));
        assert_eq!(read(&table, seconds(62)).await, Some(new.clone()));
        // The next writer has written a part, but not the head.
        let place = match table.head()["place"]["N"].as_str() {
            Some("0") => "snapshot#1",
            _ => "snapshot#0",
        };
        let token = lease.token + 1;
        let part = json!({"pk": {"S": place}, "sk": {"S": "000001#000000"},
            "token": {"N": token.to_string()}, "bytes": {"B": "AAAA"}});
        table.put(&part);
        assert_eq!(write(seconds(63)).await, Ok(false));
        let items = table.items(place);
        assert!(items.iter().any(|(_, item)| *item == part), "{items:?}");
        assert_eq!(read(&table, seconds(63)).await, Some(new));
        let lease = take(&cache, seconds(200)).await;
        assert_eq!(lease.token, token);
        assert_eq!(
            cache
                .snapshot_write(&lease, &newest, epoch(), seconds(200))
                .await,
            Ok(true)
        );
        assert_eq!(read(&table, seconds(200)).await, Some(newest));
    });
}

#[test]
fn a_run_that_fails_between_parts_and_head_leaves_the_valid_snapshot_unchanged() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let good = fleet::snapshot(5, 2, epoch());
        refresh(&cache, &good, epoch()).await;
        let valid = table.items("snapshot#0");
        // Three writers in a row lose the lease before they write the head.
        for n in 1..=3 {
            let lease = take(&cache, seconds(n * 1_000)).await;
            take(&cache, seconds(n * 1_000 + 60)).await;
            let bad = fleet::snapshot(8, 2, seconds(n * 1_000));
            let written = cache
                .snapshot_write(&lease, &bad, epoch(), seconds(n * 1_000))
                .await;
            assert_eq!(written, Ok(false));
            assert_eq!(read(&table, seconds(n * 1_000)).await, Some(good.clone()));
        }
        assert_eq!(table.items("snapshot#0"), valid);
    });
}

/// A snapshot whose parts all carry its number.
fn marked(n: i64) -> FleetSnapshot {
    let mut snapshot = fleet::snapshot(usize::try_from(n % 7 + 3).expect("a count"), 1, seconds(n));
    for host in &mut snapshot.hosts {
        host.updated_at = seconds(n);
    }
    snapshot
}

#[test]
fn readers_never_see_half_a_snapshot_while_writers_take_the_lease_from_each_other() {
    run(async {
        let table = Arc::new(Table::new().await);
        refresh(&table.cache(), &marked(0), seconds(0)).await;
        let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
        let runs = Arc::new(AtomicI64::new(0));
        for writer in 1..=3 {
            let (table, runs) = (Arc::clone(&table), Arc::clone(&runs));
            writers.spawn(async move {
                let cache = table.cache();
                let mut written = Vec::new();
                for _ in 0..20 {
                    // Each run is an hour later than the last, so the lease of the last has expired.
                    let n = runs.fetch_add(1, Ordering::SeqCst) + 1;
                    let now = seconds(n * 3_600);
                    let Some(lease) = try_take(&cache, now).await else {
                        continue;
                    };
                    let result = cache.snapshot_write(&lease, &marked(n), now, now).await;
                    written.push(result.expect("DynamoDB answers"));
                    // Without pauses, every writer would lose the lease to another before it has written.
                    tokio::time::sleep(Duration::from_millis(20 * writer)).await;
                }
                written
            });
        }
        for _ in 0..3 {
            let table = Arc::clone(&table);
            readers.spawn(async move {
                let mut last = 0;
                for _ in 0..40 {
                    let cached = table.cache().snapshot(epoch()).await;
                    let cached = cached.expect("readable").expect("there");
                    let snapshot = &cached.snapshot;
                    let at = snapshot.refreshed_at;
                    assert!(snapshot.hosts.iter().all(|host| host.updated_at == at));
                    let n = (at - epoch()).num_seconds();
                    assert_eq!(*snapshot, marked(n));
                    assert!(cached.token >= last, "{} after {last}", cached.token);
                    last = cached.token;
                }
            });
        }
        readers.join_all().await;
        let written: Vec<bool> = writers.join_all().await.concat();
        assert!(written.contains(&true), "{written:?}");
    });
}

#[test]
fn one_reader_in_ten_seconds_requests_a_refresh() {
    run(async {
        let table = Arc::new(Table::new().await);
        for (second, expected_requests) in [(0, 1), (9, 0), (10, 1), (19, 0), (300, 1)] {
            let mut racing = JoinSet::new();
            for _ in 0..16 {
                let table = Arc::clone(&table);
                racing.spawn(
                    async move { table.cache().claim_refresh_request(seconds(second)).await },
                );
            }
            let results = racing.join_all().await;
            let requests = results
                .into_iter()
                .filter(|result| result.expect("DynamoDB answers"));
            assert_eq!(requests.count(), expected_requests, "second {second}");
        }
    });
}
