//! A fleet in shards: runs at the same time do not disturb each other, and what a dead shard has written stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::api::admin::fleet_render::render_overview;
use shared::cache::{Cache, NewRun};
use shared::domain::fleet::{FleetReading, FleetSnapshot, Shard};
use tests::suite::epoch;
use tests::{fleet, run};
use tokio::task::JoinSet;

use super::{Table, new_token, read, refresh, seconds};

/// What runs over the shards of a fleet find, each at this second.
fn runs(reading: &FleetReading, shards: &[Shard], second: i64) -> Vec<NewRun> {
    fleet::shard_runs(reading, shards, seconds(second), new_token)
}

async fn write(cache: &Cache, new: &NewRun) {
    let at = new.digest.run.refreshed_at;
    let written = cache.run_write(new, render_overview, at).await;
    assert!(matches!(written, Ok(Some(_))), "{written:?}");
}

#[test]
fn shards_that_end_at_the_same_time_make_the_snapshot_of_the_whole_fleet() {
    run(async {
        let table = Arc::new(Table::new().await);
        let reading = fleet::refresh_run(40, 3, epoch());
        let shards = fleet::shards(&reading, 10);
        for second in [0, 60, 120] {
            let mut writing = JoinSet::new();
            for new in runs(&reading, &shards, second) {
                let table = Arc::clone(&table);
                writing.spawn(async move { write(&table.cache(), &new).await });
            }
            writing.join_all().await;
            let snapshot = FleetSnapshot::of(&reading, seconds(second));
            let shown = read(&table, seconds(second)).await;
            let shown = shown.expect("a snapshot");
            let expected = fleet::finished(&snapshot);
            assert_eq!(shown.overview.summary, expected.overview.summary);
            assert_eq!(shown.overview.incidents, expected.overview.incidents);
            assert_eq!(shown, expected, "{second}");
        }
    });
}

#[test]
fn what_a_dead_shard_has_written_stays_and_the_snapshot_is_as_old() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let reading = fleet::refresh_run(6, 2, epoch());
        let shards = fleet::shards(&reading, 2);
        for new in runs(&reading, &shards, 0) {
            write(&cache, &new).await;
        }
        let later = fleet::refresh_run(6, 2, seconds(60));
        write(&cache, &runs(&later, &shards[1..], 60)[0]).await;
        let shown = read(&table, seconds(61)).await.expect("a snapshot");
        assert_eq!(shown.overview.refreshed_at, epoch());
        assert_eq!(shown.sections.len(), 7);
        let old = fleet::finished(&FleetSnapshot::of(&reading, epoch()));
        let new = fleet::finished(&FleetSnapshot::of(&later, seconds(60)));
        // One section is that of the agent without a host.
        assert_eq!(shown.sections[..4], old.sections[..4]);
        assert_eq!(shown.sections[4..], new.sections[4..]);
        // After a day it is too old to be shown.
        write(&cache, &runs(&later, &shards[1..], 86_300)[0]).await;
        let shown = read(&table, seconds(86_401)).await.expect("a snapshot");
        assert_eq!(
            shown.sections[..],
            runs_sections(&later, &shards[1..], 86_300)[..]
        );
    });
}

fn runs_sections(
    reading: &FleetReading,
    shards: &[Shard],
    second: i64,
) -> Vec<Arc<shared::cache::Section>> {
    let runs = runs(reading, shards, second).into_iter();
    runs.flat_map(|run| run.sections).map(Arc::new).collect()
}

#[test]
fn a_snapshot_without_a_part_of_the_fleet_is_stale() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let reading = fleet::refresh_run(6, 1, epoch());
        let mut stale = Vec::new();
        for new in runs(&reading, &fleet::shards(&reading, 3), 0) {
            write(&cache, &new).await;
            let shown = read(&table, epoch()).await.expect("a snapshot");
            stale.push(shown.overview.is_stale(epoch()));
        }
        assert_eq!(stale, [true, true, false]);
    });
}

#[test]
fn no_host_disappears_while_the_fleet_is_cut_in_another_way() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let reading = fleet::refresh_run(7, 2, epoch());
        let hosts = async || {
            let shown = read(&table, seconds(99)).await.expect("a snapshot");
            let sections = shown
                .sections
                .iter()
                .filter(|section| section.host.is_some());
            sections
                .map(|section| section.node_id.clone())
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..7).map(|n| Some(fleet::host_name(n))).collect();
        let mut second = 0;
        for count in [1, 2, 3, 2, 1] {
            let shards = fleet::shards(&reading, count);
            second += 1;
            for new in runs(&reading, &shards, second) {
                write(&cache, &new).await;
                assert_eq!(hosts().await, all, "{count}");
            }
            // Nothing is kept of the shards before.
            let runs = table.head()["content"]["S"]
                .to_string()
                .matches("began_at")
                .count();
            assert_eq!(i32::try_from(runs).ok(), Some(count));
        }
    });
}

#[test]
fn a_shard_that_is_written_again_is_read_again_and_the_others_are_not() {
    run(async {
        let table = Table::new().await;
        let (writer, reader) = (table.cache(), table.cache());
        let reading = fleet::refresh_run(4, 2, epoch());
        let shards = fleet::shards(&reading, 2);
        for new in runs(&reading, &shards, 0) {
            write(&writer, &new).await;
        }
        let first = reader.snapshot(epoch()).await.expect("an answer");
        let first = first.expect("a snapshot");
        write(&writer, &runs(&reading, &shards[..1], 60)[0]).await;
        let second = reader.snapshot(seconds(60)).await.expect("an answer");
        let second = second.expect("a snapshot");
        let kept: Vec<bool> = (0..5)
            .map(|n| Arc::ptr_eq(&first.snapshot.sections[n], &second.snapshot.sections[n]))
            .collect();
        assert_eq!(kept, [false, false, false, true, true]);
    });
}

#[test]
fn the_overview_of_ten_shards_of_500_hosts_is_put_together_in_time() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let reading = fleet::refresh_run(5_000, 1, epoch());
        let shards = fleet::shards(&reading, 10);
        let mut last = Duration::ZERO;
        for mut new in runs(&reading, &shards, 0) {
            // What a shard writes for itself does not depend on the others.
            new.sections.clear();
            let began = Instant::now();
            write(&cache, &new).await;
            last = began.elapsed();
        }
        println!("the overview of ten shards of 500 hosts: {last:?}");
        assert!(last < Duration::from_secs(5), "{last:?}");
        let shown = read(&table, epoch()).await.expect("a snapshot");
        assert_eq!(shown.overview.refreshed_at, epoch());
    });
}

#[test]
fn a_run_over_another_part_does_not_count_as_one_over_the_shard() {
    run(async {
        let table = Table::new().await;
        let cache = table.cache();
        let reading = fleet::refresh_run(4, 1, epoch());
        refresh(&cache, &FleetSnapshot::of(&reading, epoch()), epoch()).await;
        let shards = fleet::shards(&reading, 2);
        let whole = Shard::default();
        assert_eq!(cache.run_began_at(&whole, epoch()).await, Ok(Some(epoch())));
        assert_eq!(cache.run_began_at(&shards[0], epoch()).await, Ok(None));
        write(&cache, &runs(&reading, &shards, 5)[0]).await;
        let began = cache.run_began_at(&shards[0], seconds(5)).await;
        assert_eq!(began, Ok(Some(seconds(5))));
    });
}
