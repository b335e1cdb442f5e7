//! Items that cannot be read, and a `DynamoDB` that does not answer.

use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev::dynamodb::DynamoDb;
use dev::host::SilentPort;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use shared::cache::{Cache, CacheError};
use shared::domain::fleet::Shard;
use tests::suite::{create_fleet_table, dynamodb, epoch};
use tests::{fleet, run};

use super::{Table, read, refresh, write};

/// A damaged item in place of one that is there.
type Damage = fn(&Table) -> Value;

fn at(pk: &str, sk: &str, rest: &Value) -> Value {
    let mut item = rest.clone();
    item["pk"] = json!({ "S": pk });
    item["sk"] = json!({ "S": sk });
    item
}

/// The head with another text in its content.
fn head_with(table: &Table, text: &str, other: &str) -> Value {
    let mut head = table.head();
    let content = head["content"]["S"].as_str().expect("JSON").to_owned();
    assert!(content.contains(text), "{content}");
    head["content"] = json!({"S": content.replace(text, other)});
    head
}

/// A valid part with other bytes.
fn part_with(table: &Table, kind: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Value {
    let place = format!("{kind}#0#{}", table.buffer());
    let (_, mut part) = table.items(&place).swap_remove(0);
    // Items of other runs are ignored.
    part["token"] = json!({"N": table.entry()["run"]["token"].to_string()});
    let bytes = STANDARD.decode(part["bytes"]["B"].as_str().expect("bytes"));
    let bytes = change(bytes.expect("base64"));
    part["bytes"] = json!({"B": STANDARD.encode(bytes)});
    part
}

const DAMAGES: [(&str, Damage); 8] = [
    ("an empty head", |_| {
        at("snapshot", "head-of-shards", &json!({}))
    }),
    ("a head whose numbers are strings", |_| {
        let texts = json!({"format": {"S": "x"}, "version": {"S": "x"}});
        at("snapshot", "head-of-shards", &texts)
    }),
    ("a head of another form", |table| {
        head_with(table, "\"runs\"", "\"walks\"")
    }),
    ("a head that counts more items than there are", |table| {
        head_with(table, "\"items\":3", "\"items\":4")
    }),
    ("a part without a line", |table| {
        part_with(table, "sections", |_| b"garbage".to_vec())
    }),
    ("a part that is not of the expected form", |table| {
        part_with(table, "sections", |_| b"{\"node\": 1}\n".to_vec())
    }),
    ("a part that is too short", |table| {
        part_with(table, "sections", |bytes| bytes[..bytes.len() - 1].to_vec())
    }),
    ("a part that is too long", |table| {
        part_with(table, "sections", |bytes| [bytes, b"x".to_vec()].concat())
    }),
];

#[test]
fn an_unreadable_snapshot_is_reported_and_the_next_run_replaces_it() {
    run(async {
        let table = Table::new().await;
        let snapshot = fleet::snapshot(2, 2, epoch());
        let finished = fleet::finished(&snapshot);
        refresh(&table.cache(), &snapshot, epoch()).await;
        for (damage, item) in DAMAGES {
            table.put(&item(&table));
            let cached = table.cache().snapshot(epoch()).await;
            assert_eq!(cached.err(), Some(CacheError::Unreadable), "{damage}");
            refresh(&table.cache(), &snapshot, epoch()).await;
            let shown = read(&table, epoch()).await;
            assert_eq!(shown.as_ref(), Some(&finished), "{damage}");
        }
        let texts = json!({"token": {"S": "x"}, "requested_at": {"S": "x"}});
        for place in ["sections#0#0", "sections#0#1"] {
            table.put(&at(place, "000001#000000", &texts));
        }
        table.put(&at("request", "request", &texts));
        table.put(&at("fence", "0", &texts));
        assert_eq!(table.cache().claim_refresh_request(epoch()).await, Ok(true));
        refresh(&table.cache(), &snapshot, epoch()).await;
        assert_eq!(read(&table, epoch()).await, Some(finished));
    });
}

#[test]
fn a_digest_that_cannot_be_read_counts_as_none_and_is_replaced() {
    run(async {
        let table = Table::new().await;
        let snapshot = fleet::snapshot(20, 2, epoch());
        let finished = fleet::finished(&snapshot);
        refresh(&table.cache(), &snapshot, epoch()).await;
        let damages = [
            ("not compressed", b"garbage".to_vec()),
            ("not of the expected form", gzip(b"{\"node\": 1}")),
            ("too long", gzip(&vec![b' '; 65 << 20])),
        ];
        for (damage, bytes) in damages {
            table.put(&part_with(&table, "digest", |_| bytes));
            let starts = table.cache().incident_starts(epoch()).await;
            assert_eq!(starts, Ok(Vec::new()), "{damage}");
            // Readers do not need it.
            let shown = read(&table, epoch()).await;
            assert_eq!(shown.as_ref(), Some(&finished), "{damage}");
            refresh(&table.cache(), &snapshot, epoch()).await;
            let starts = table.cache().incident_starts(epoch()).await;
            assert!(!starts.expect("an answer").is_empty(), "{damage}");
        }
    });
}

#[test]
fn a_snapshot_of_another_format_reads_as_absent_and_is_replaced() {
    run(async {
        let table = Table::new().await;
        let snapshot = fleet::snapshot(2, 2, epoch());
        refresh(&table.cache(), &snapshot, epoch()).await;
        let mut newer = table.head();
        newer["format"] = json!({"N": "99"});
        table.put(&newer);
        assert_eq!(read(&table, epoch()).await, None);
        refresh(&table.cache(), &snapshot, epoch()).await;
        let shown = read(&table, epoch()).await;
        assert_eq!(shown, Some(fleet::finished(&snapshot)));
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// The result of each call of the cache.
async fn all_calls(cache: &Cache) -> Vec<Result<(), CacheError>> {
    let snapshot = fleet::snapshot(1, 1, epoch());
    let whole_fleet = Shard::default();
    vec![
        cache.snapshot(epoch()).await.map(drop),
        cache.run_began_at(&whole_fleet, epoch()).await.map(drop),
        cache.incident_starts(epoch()).await.map(drop),
        write(cache, 1, &snapshot, epoch(), epoch()).await.map(drop),
        cache.claim_refresh_request(epoch()).await.map(drop),
    ]
}

#[test]
fn every_call_fails_within_five_seconds_without_dynamodb_or_its_table() {
    run(async {
        let mut stopped = DynamoDb::start().await.expect("DynamoDB");
        create_fleet_table(&stopped, "fleet");
        let connected = Cache::at(&stopped.address(), "fleet".to_owned());
        assert!(
            connected
                .snapshot(epoch())
                .await
                .expect("an answer")
                .is_none()
        );
        stopped.stop().await;
        let no_server = Cache::at("http://127.0.0.1:9", "fleet".to_owned());
        let no_table = Cache::at(&dynamodb().await.address(), "no-such-table".to_owned());
        for cache in [connected, no_server, no_table] {
            let began = Instant::now();
            assert_eq!(all_calls(&cache).await, [Err(CacheError::Unavailable); 5]);
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{:?}",
                began.elapsed()
            );
        }
        // A server that answers is used again.
        let table = Table::new().await;
        assert!(
            table
                .cache()
                .snapshot(epoch())
                .await
                .expect("an answer")
                .is_none()
        );
    });
}

#[test]
fn a_silent_dynamodb_costs_at_most_five_seconds() {
    run(async {
        let silent = SilentPort::start().expect("a silent host");
        let cache = Cache::at(
            &format!("http://127.0.0.1:{}", silent.port()),
            "fleet".to_owned(),
        );
        let began = Instant::now();
        assert_eq!(
            cache.snapshot(epoch()).await.err(),
            Some(CacheError::Unavailable)
        );
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "{:?}",
            began.elapsed()
        );
    });
}
