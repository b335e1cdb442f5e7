//! Who may write, and what becomes of those who may not any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use shared::cache::Lease;
use shared::domain::fleet::{Moment, Snapshot};
use tests::suite::epoch;
use tests::{fleet, run};
use tokio::task::JoinSet;

use super::{Table, read, refresh, seconds, take, try_take};

#[test]
fn of_sixteen_who_want_the_lease_one_gets_it() {
    run(async {
        let table = Arc::new(Table::new().await);
        for round in 0..4 {
            // Each round begins where the last lease ends by itself.
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
fn a_lease_is_returned_by_its_owner_only_and_its_token_is_never_given_again() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let first = take(&cache, epoch()).await;
        cache.lease_return(&first).await.expect("returned");
        let second = take(&cache, epoch()).await;
        assert!(second.token > first.token);
        // The first owner is late: the lease is not its own any more.
        cache.lease_return(&first).await.expect("no error");
        assert_eq!(try_take(&cache, epoch()).await, None);
        // What was not answered is asked again by the SDK: the owner may take what it has.
        let until = seconds(60);
        let again = cache
            .lease_take(second.owner, epoch(), until)
            .await
            .expect("an answer");
        let again = again.expect("its own lease");
        assert!(again.token > second.token);
        cache.lease_return(&again).await.expect("returned");
        // Should the item be lost, the tokens still go on.
        table
            .emulator
            .remove(&table.name, "lease", "lease")
            .expect("removed");
        assert!(take(&cache, seconds(1)).await.token > again.token);
    });
}

#[test]
fn an_owner_that_died_is_succeeded_and_when_it_comes_back_it_writes_nothing() {
    run(async {
        let table = Table::new().await;
        let (cache, late) = (table.cache(), table.cache());
        let [old, new, newest, dead] = [1, 2, 3, 4].map(|n| fleet::snapshot(n, 1, epoch()));
        refresh(&cache, &old, epoch()).await;
        let lost = take(&late, epoch()).await;
        assert_eq!(try_take(&cache, seconds(59)).await, None);
        let write = async |now| late.snapshot_write(&lost, &dead, epoch(), now).await;

        // Its lease is over and nobody else's yet: what it has is still the newest.
        assert_eq!(write(seconds(60)).await, Ok(true));
        // Somebody has taken over and has not written yet.
        let lease = take(&cache, seconds(60)).await;
        assert_eq!(write(seconds(60)).await, Ok(false));
        assert_eq!(read(&table, seconds(60)).await, Some(dead.clone()));
        // Somebody has taken over and has written.
        assert_eq!(
            cache
                .snapshot_write(&lease, &new, epoch(), seconds(61))
                .await,
            Ok(true)
        );
        assert_eq!(write(seconds(62)).await, Ok(false));
        assert_eq!(read(&table, seconds(62)).await, Some(new.clone()));
        // Somebody is in the middle of it: some parts are there, the head is not.
        let place = match table.head()["place"]["N"].as_str() {
            Some("0") => "snapshot#1",
            _ => "snapshot#0",
        };
        let token = lease.token + 1;
        let part = json!({"pk": {"S": place}, "sk": {"S": "000001#000000"},
            "token": {"N": token.to_string()}, "bytes": {"B": "AAAA"}});
        table.put(&part);
        assert_eq!(write(seconds(63)).await, Ok(false));
        let found = table.items(place);
        assert!(found.iter().any(|(_, item)| *item == part), "{found:?}");
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
fn a_pass_that_fails_in_the_middle_leaves_what_holds_as_it_was() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let good = fleet::snapshot(5, 2, epoch());
        refresh(&cache, &good, epoch()).await;
        let held = table.items("snapshot#0");
        // Three die after their parts, one after the other: another takes the lease meanwhile.
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
        assert_eq!(table.items("snapshot#0"), held);
    });
}

/// A snapshot that says in all its parts which one it is.
fn marked(n: i64) -> Snapshot {
    let mut snapshot = fleet::snapshot(usize::try_from(n % 7 + 3).expect("a count"), 1, seconds(n));
    for node in &mut snapshot.nodes {
        node.updated_at = Moment(seconds(n));
    }
    snapshot
}

#[test]
fn readers_never_see_half_a_snapshot_while_writers_steal_the_lease_from_each_other() {
    run(async {
        let table = Arc::new(Table::new().await);
        refresh(&table.cache(), &marked(0), seconds(0)).await;
        let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
        let passes = Arc::new(AtomicI64::new(0));
        for writer in 1..=3 {
            let (table, passes) = (Arc::clone(&table), Arc::clone(&passes));
            writers.spawn(async move {
                let cache = table.cache();
                let mut written = Vec::new();
                for _ in 0..20 {
                    // Each comes an hour later than the last: whoever has the lease loses it.
                    let n = passes.fetch_add(1, Ordering::SeqCst) + 1;
                    let now = seconds(n * 3_600);
                    let Some(lease) = try_take(&cache, now).await else {
                        continue;
                    };
                    let done = cache.snapshot_write(&lease, &marked(n), now, now).await;
                    written.push(done.expect("DynamoDB answers"));
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
                    assert!(snapshot.nodes.iter().all(|node| node.updated_at == at));
                    let n = (at.0 - epoch()).num_seconds();
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
fn one_in_ten_seconds_is_told_to_ask_for_a_refresh() {
    run(async {
        let table = Arc::new(Table::new().await);
        for (second, asking) in [(0, 1), (9, 0), (10, 1), (19, 0), (300, 1)] {
            let mut racing = JoinSet::new();
            for _ in 0..16 {
                let table = Arc::clone(&table);
                racing.spawn(async move { table.cache().refresh_ask(seconds(second)).await });
            }
            let told = racing.join_all().await;
            let told = told
                .into_iter()
                .filter(|told| told.expect("DynamoDB answers"));
            assert_eq!(told.count(), asking, "second {second}");
        }
    });
}
