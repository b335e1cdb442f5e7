//! Writers at the same time: one that has been overtaken changes nothing, and readers see whole snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;
use shared::cache::CacheError;
use shared::domain::fleet::FleetSnapshot;
use tests::suite::epoch;
use tests::{fleet, run};
use tokio::task::JoinSet;

use super::{Table, new_token, read, refresh, seconds, write};

#[test]
fn an_overtaken_writer_writes_nothing() {
    run(async {
        let table = Table::new().await;
        let (cache, late) = (table.cache(), table.cache());
        let [old, new, newest, dead] = [1, 2, 3, 4].map(|n| fleet::snapshot(n, 1, epoch()));
        refresh(&cache, &old, epoch()).await;
        let [lost, token, next] = [(); 3].map(|()| new_token());
        let write_late = async |now| write(&late, lost, &dead, epoch(), now).await;
        let shown = async |snapshot: &FleetSnapshot| {
            assert_eq!(read(&table, epoch()).await, Some(fleet::finished(snapshot)));
        };

        // Nobody else has begun to write.
        assert_eq!(write_late(seconds(60)).await, Ok(true));
        shown(&dead).await;
        // Another writer has begun, and has not written the head.
        let fence = json!({"pk": {"S": "fence"}, "sk": {"S": "0"},
            "token": {"N": token.to_string()}});
        table.put(&fence);
        assert_eq!(write_late(seconds(60)).await, Ok(false));
        shown(&dead).await;
        // The other writer has written.
        assert_eq!(
            write(&cache, token, &new, epoch(), seconds(61)).await,
            Ok(true)
        );
        assert_eq!(write_late(seconds(62)).await, Ok(false));
        shown(&new).await;
        // The next writer has written a part, but not the head. The fence is lost.
        let place = format!("sections#0#{}", 1 - table.buffer());
        let part = json!({"pk": {"S": place}, "sk": {"S": "000001#000000"},
            "token": {"N": next.to_string()}, "bytes": {"B": "AAAA"}});
        table.put(&part);
        table
            .emulator
            .remove(&table.name, "fence", "0")
            .expect("removed");
        assert_eq!(write_late(seconds(63)).await, Ok(false));
        let items = table.items(&place);
        assert!(items.iter().any(|(_, item)| *item == part), "{items:?}");
        shown(&new).await;
        let written = write(&cache, next, &newest, epoch(), seconds(200)).await;
        assert_eq!(written, Ok(true));
        shown(&newest).await;
    });
}

#[test]
fn a_run_that_fails_between_parts_and_head_leaves_the_valid_snapshot_unchanged() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let good = fleet::snapshot(5, 2, epoch());
        refresh(&cache, &good, epoch()).await;
        let valid = table.items("sections#0#0");
        let bad = fleet::snapshot(8, 2, seconds(1_000));
        // The newest writer has written a part of the other buffer. Three older ones in a row write the other parts.
        let [older @ .., newest] = [(); 4].map(|()| new_token());
        let part = json!({"pk": {"S": "sections#0#1"}, "sk": {"S": "000007#000000"},
            "token": {"N": newest.to_string()}, "bytes": {"B": "AAAA"}});
        table.put(&part);
        for token in older {
            let written = write(&cache, token, &bad, epoch(), seconds(1_000)).await;
            assert_eq!(written, Ok(false));
            let shown = read(&table, seconds(1_000)).await;
            assert_eq!(shown, Some(fleet::finished(&good)));
        }
        assert_eq!(table.items("sections#0#0"), valid);
    });
}

/// A snapshot whose parts all carry its number.
fn marked(n: i64) -> FleetSnapshot {
    let hosts = usize::try_from(n % 7 + 3).expect("a count");
    let mut snapshot = fleet::snapshot(hosts, 1, seconds(n));
    for host in &mut snapshot.hosts {
        host.updated_at = seconds(n);
    }
    snapshot
}

#[test]
fn readers_never_see_half_a_snapshot_while_writers_overtake_each_other() {
    run(async {
        let table = Arc::new(Table::new().await);
        let written = write(&table.cache(), 0, &marked(0), epoch(), epoch()).await;
        assert_eq!(written, Ok(true));
        let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
        let runs = Arc::new(AtomicI64::new(0));
        for writer in 1..=3 {
            let (table, runs) = (Arc::clone(&table), Arc::clone(&runs));
            writers.spawn(async move {
                let cache = table.cache();
                let mut written = Vec::new();
                for _ in 0..20 {
                    // The number is the token, too: of writers at the same time, the last one to begin wins.
                    let n = runs.fetch_add(1, Ordering::SeqCst) + 1;
                    let result = write(&cache, n, &marked(n), seconds(n), seconds(n)).await;
                    written.push(result.expect("DynamoDB answers"));
                    // Without pauses, every writer would be overtaken before it has written, and readers would find each
                    // buffer overwritten.
                    tokio::time::sleep(Duration::from_millis(60 * writer)).await;
                }
                written
            });
        }
        for _ in 0..3 {
            let table = Arc::clone(&table);
            readers.spawn(async move {
                let (mut last, mut failures) = (0, 0);
                for _ in 0..40 {
                    let cached = match table.cache().snapshot(epoch()).await {
                        // On a busy machine, runs may overwrite what a reader reads more often than it tries.
                        Err(CacheError::Unreadable) => {
                            failures += 1;
                            continue;
                        }
                        cached => cached.expect("DynamoDB answers").expect("there"),
                    };
                    let at = cached.snapshot.overview.refreshed_at;
                    let n = (at - epoch()).num_seconds();
                    assert_eq!(cached.snapshot, fleet::finished(&marked(n)));
                    assert!(cached.version >= last, "{} after {last}", cached.version);
                    last = cached.version;
                }
                assert!(failures < 20, "{failures}");
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
