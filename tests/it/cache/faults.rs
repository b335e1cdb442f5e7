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
use shared::cache::{Cache, CacheError, Lease};
use shared::domain::ids::InvocationId;
use tests::suite::{create_fleet_table, dynamodb, epoch};
use tests::{fleet, run};
use uuid::Uuid;

use super::{Table, read, refresh, seconds};

#[test]
fn an_unreadable_snapshot_is_reported_and_the_next_run_replaces_it() {
    run(async {
        let table = Table::new().await;
        let snapshot = fleet::snapshot(2, 2, epoch());
        let at = |pk: &str, sk: &str, rest: &Value| {
            let mut item = rest.clone();
            item["pk"] = json!({ "S": pk });
            item["sk"] = json!({ "S": sk });
            item
        };
        refresh(&table.cache(), &snapshot, epoch()).await;
        let head = table.head();
        let place = format!("snapshot#{}", head["place"]["N"].as_str().expect("a place"));
        let mut too_many = head.clone();
        too_many["items"] = json!({"N": "4"});
        let mut not_gzip = table.items(&place)[1].1.clone();
        not_gzip["bytes"] = json!({"B": STANDARD.encode("garbage")});
        let mut not_json = not_gzip.clone();
        not_json["bytes"] = json!({"B": STANDARD.encode(gzip(b"{\"node\": 1}"))});
        let mut bomb = not_gzip.clone();
        bomb["bytes"] = json!({"B": STANDARD.encode(gzip(&vec![b' '; 65 << 20]))});
        let mut no_bytes = not_gzip.clone();
        no_bytes["bytes"] = json!({"S": "text"});
        for (damage, item) in [
            ("an empty head", at("snapshot", "head", &json!({}))),
            (
                "a head whose numbers are strings",
                at(
                    "snapshot",
                    "head",
                    &json!({"token": {"S": "x"}, "place": {"S": "x"}}),
                ),
            ),
            ("a head that counts more parts than there are", too_many),
            ("a part that is not compressed", not_gzip),
            ("a part that is not of the expected form", not_json),
            ("a part that is too long", bomb),
            ("a part without bytes", no_bytes),
        ] {
            table.put(&item);
            let cached = table.cache().snapshot(epoch()).await;
            assert_eq!(cached.err(), Some(CacheError::Unreadable), "{damage}");
            refresh(&table.cache(), &snapshot, epoch()).await;
            assert_eq!(
                read(&table, epoch()).await.as_ref(),
                Some(&snapshot),
                "{damage}"
            );
            // Once more, so that the head names the damaged place again.
            refresh(&table.cache(), &snapshot, epoch()).await;
        }
        let texts = json!({"token": {"S": "x"}, "until": {"S": "x"}, "requested_at": {"S": "x"}});
        for place in ["snapshot#0", "snapshot#1"] {
            table.put(&at(place, "000001#000000", &texts));
        }
        table.put(&at("request", "request", &texts));
        assert_eq!(table.cache().claim_refresh_request(epoch()).await, Ok(true));
        refresh(&table.cache(), &snapshot, epoch()).await;
        assert_eq!(read(&table, epoch()).await, Some(snapshot));
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
        let mut older = table.head();
        older.as_object_mut().expect("an item").remove("format");
        for head in [newer, older] {
            table.put(&head);
            assert_eq!(read(&table, epoch()).await, None, "{head}");
            refresh(&table.cache(), &snapshot, epoch()).await;
            assert_eq!(read(&table, epoch()).await.as_ref(), Some(&snapshot));
        }
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// The result of each call of the cache.
async fn all_calls(cache: &Cache) -> Vec<Result<(), CacheError>> {
    let lease = Lease {
        owner: InvocationId::new(Uuid::nil()),
        token: 1,
    };
    let snapshot = fleet::snapshot(1, 1, epoch());
    let until = seconds(60);
    vec![
        cache.snapshot(epoch()).await.map(drop),
        cache
            .lease_take(InvocationId::new(Uuid::nil()), epoch(), until)
            .await
            .map(drop),
        cache.lease_return(&lease).await,
        cache
            .snapshot_write(&lease, &snapshot, epoch(), epoch())
            .await
            .map(drop),
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
