//! What is garbage, and a `DynamoDB` that is away.

use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev::dynamodb::DynamoDb;
use dev::host::Silent;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use shared::cache::{Cache, CacheError, Lease};
use tests::suite::{dynamodb, epoch, fleet_table};
use tests::{fleet, run};
use uuid::Uuid;

use super::{Table, read, refresh, seconds};

#[test]
fn garbage_is_said_to_be_garbage_and_overwritten() {
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
        for (what, item) in [
            ("an empty head", at("snapshot", "head", &json!({}))),
            (
                "a head of texts",
                at(
                    "snapshot",
                    "head",
                    &json!({"token": {"S": "x"}, "place": {"S": "x"}}),
                ),
            ),
            ("a head that names more", too_many),
            ("a part that is not compressed", not_gzip),
            ("a part that is none", not_json),
            ("a part that is too long", bomb),
            ("a part without bytes", no_bytes),
        ] {
            table.put(&item);
            let cached = table.cache().snapshot(epoch()).await;
            assert_eq!(cached.err(), Some(CacheError::Broken), "{what}");
            refresh(&table.cache(), &snapshot, epoch()).await;
            assert_eq!(
                read(&table, epoch()).await.as_ref(),
                Some(&snapshot),
                "{what}"
            );
            // The next fault is put where this one was.
            refresh(&table.cache(), &snapshot, epoch()).await;
        }
        let texts = json!({"token": {"S": "x"}, "until": {"S": "x"}, "requested_at": {"S": "x"}});
        for place in ["snapshot#0", "snapshot#1"] {
            table.put(&at(place, "000001#000000", &texts));
        }
        table.put(&at("request", "request", &texts));
        assert_eq!(table.cache().refresh_ask(epoch()).await, Ok(true));
        refresh(&table.cache(), &snapshot, epoch()).await;
        assert_eq!(read(&table, epoch()).await, Some(snapshot));
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// What each of the cache's calls says.
async fn all_calls(cache: &Cache) -> Vec<Result<(), CacheError>> {
    let lease = Lease {
        owner: Uuid::nil(),
        token: 1,
    };
    let snapshot = fleet::snapshot(1, 1, epoch());
    let until = seconds(60);
    vec![
        cache.snapshot(epoch()).await.map(drop),
        cache
            .lease_take(Uuid::nil(), epoch(), until)
            .await
            .map(drop),
        cache.lease_return(&lease).await,
        cache
            .snapshot_write(&lease, &snapshot, epoch(), epoch())
            .await
            .map(drop),
        cache.refresh_ask(epoch()).await.map(drop),
    ]
}

#[test]
fn without_dynamodb_or_its_table_everything_says_so_soon() {
    run(async {
        let mut stopped = DynamoDb::start().await.expect("DynamoDB");
        fleet_table(&stopped, "fleet");
        let connected = Cache::at(&stopped.address(), "fleet".to_owned());
        assert!(
            connected
                .snapshot(epoch())
                .await
                .expect("an answer")
                .is_none()
        );
        stopped.stop().await;
        let nobody = Cache::at("http://127.0.0.1:9", "fleet".to_owned());
        let no_table = Cache::at(&dynamodb().await.address(), "no-such-table".to_owned());
        for (cache, within) in [(connected, 5), (nobody, 5), (no_table, 5)] {
            let began = Instant::now();
            assert_eq!(all_calls(&cache).await, [Err(CacheError::Away); 5]);
            assert!(
                began.elapsed() < Duration::from_secs(within),
                "{:?}",
                began.elapsed()
            );
        }
        // It answers again, at another address.
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
fn a_dynamodb_that_says_nothing_costs_five_seconds_at_most() {
    run(async {
        let silent = Silent::start().expect("a silent host");
        let cache = Cache::at(
            &format!("http://127.0.0.1:{}", silent.port()),
            "fleet".to_owned(),
        );
        let began = Instant::now();
        assert_eq!(cache.snapshot(epoch()).await.err(), Some(CacheError::Away));
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "{:?}",
            began.elapsed()
        );
    });
}
