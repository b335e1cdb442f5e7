//! A fleet that does not fit into one answer.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::domain::fleet::Snapshot;
use tests::suite::epoch;
use tests::{fleet, run};
use uuid::Uuid;

use super::{Operations, seconds, unpacked};

/// What Lambda returns at most.
const LAMBDA: usize = 6_000_000;

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// All pages, each no longer than Lambda allows.
async fn walk(operations: &Operations, gzip: bool) -> Vec<Value> {
    let mut pages: Vec<Value> = Vec::new();
    let mut query = String::new();
    loop {
        let mut request = operations.request(&query);
        if gzip {
            request = request.header("accept-encoding", "gzip");
        }
        let answer = operations.world.call(request).await;
        assert_eq!(answer.status(), 200, "{query}");
        let length = answer.0.to_string().len();
        assert!(length < LAMBDA, "{length}");
        let body = if gzip {
            unpacked(&answer)
        } else {
            answer.json()
        };
        let page = body["data"].clone();
        let cursor = page["cursor"].as_str().map(str::to_owned);
        assert!(cursor.is_none() || page["truncated"] == json!(true));
        pages.push(page);
        match cursor {
            Some(cursor) => query = format!("?cursor={cursor}"),
            None => return pages,
        }
    }
}

/// Hosts and agents of all pages, in order.
fn rows(pages: &[Value]) -> (Vec<String>, Vec<String>) {
    let all = |list: &str, id: &str| {
        let of_page = |page: &Value| {
            array(&page[list])
                .iter()
                .map(|row| text(&row[id]))
                .collect::<Vec<_>>()
        };
        pages.iter().flat_map(of_page).collect()
    };
    (all("nodes", "nodeId"), all("containers", "id"))
}

fn rows_of(snapshot: &Snapshot) -> (Vec<String>, Vec<String>) {
    let nodes = snapshot.nodes.iter().map(|node| node.node_id.clone());
    let containers = snapshot
        .containers
        .iter()
        .map(|container| container.id.to_string());
    (nodes.collect(), containers.collect())
}

/// A text that does not get shorter by compression.
fn noise(characters: usize) -> String {
    let blocks = (0..=characters / 16).flat_map(|_| Uuid::new_v4().into_bytes());
    let mut text = STANDARD
        .encode(blocks.collect::<Vec<u8>>())
        .replace('/', "-");
    text.truncate(characters);
    text
}

#[test]
fn five_hundred_hosts_come_in_pages_that_hold_each_host_once_with_all_its_agents() {
    run(async {
        let operations = Operations::inspected(500, 24).await;
        let snapshot = fleet::snapshot(500, 24, epoch());
        let pages = walk(&operations, false).await;
        assert!((2..6).contains(&pages.len()), "{}", pages.len());
        assert_eq!(rows(&pages), rows_of(&snapshot));
        for page in &pages {
            let mut found: BTreeMap<String, usize> = BTreeMap::new();
            for container in array(&page["containers"]) {
                if let Some(node) = container["nodeId"].as_str() {
                    *found.entry(node.to_owned()).or_default() += 1;
                }
            }
            let nodes = array(&page["nodes"]).iter();
            let expected: BTreeMap<String, usize> = nodes
                .map(|node| (text(&node["nodeId"]), array(&node["containers"]).len()))
                .collect();
            assert_eq!(found, expected);
            assert_eq!(page["summary"], pages[0]["summary"]);
        }
        assert_eq!(pages.last().expect("a page")["truncated"], Value::Null);
        // Compressed, it fits.
        let pages = walk(&operations, true).await;
        assert_eq!((pages.len(), rows(&pages)), (1, rows_of(&snapshot)));
    });
}

#[test]
fn hosts_go_on_where_the_page_before_ended_although_the_fleet_was_inspected_again() {
    run(async {
        let operations = Operations::new().await;
        let pass_at = |at| {
            let mut pass = fleet::pass(30, 10, at);
            for agent in &mut pass.agents {
                agent.agent_name = Some("x".repeat(30_000));
            }
            pass
        };
        let snapshot = Snapshot::of(&pass_at(epoch()), epoch());
        operations.world.inspected(&snapshot, epoch()).await;
        let first = operations.told("").await;
        let cursor = first["cursor"].as_str().expect("a cursor").to_owned();
        let shown = array(&first["nodes"]).len();
        // One more host, before where the page ended, and one less after it.
        let mut pass = pass_at(seconds(30));
        pass.nodes[0].row.node_id = "host-0000-b".to_owned();
        pass.nodes.remove(29);
        let snapshot = Snapshot::of(&pass, seconds(30));
        operations.world.inspected(&snapshot, seconds(30)).await;
        let second = operations.told(&format!("?cursor={cursor}")).await;
        assert_eq!(text(&second["refreshedAt"]), "2026-03-01T00:00:30.000Z");
        assert_eq!(text(&second["nodes"][0]["nodeId"]), fleet::host(shown));
    });
}

#[test]
fn a_host_whose_agents_do_not_fit_into_one_answer_is_told_in_several() {
    run(async {
        let operations = Operations::new().await;
        // Before, in and after it: agents without a host, another host, and one that is not registered.
        let mut pass = fleet::pass(3, 30, epoch());
        for agent in &mut pass.agents[30..60] {
            agent.error_message = Some(noise(200_000));
        }
        pass.agents
            .extend((200..210).map(|n| fleet::agent(n, "host-0001-gone", epoch())));
        let snapshot = Snapshot::of(&pass, epoch());
        operations.world.inspected(&snapshot, epoch()).await;
        for gzip in [false, true] {
            let pages = walk(&operations, gzip).await;
            assert!(pages.len() >= 2, "{}", pages.len());
            assert_eq!(rows(&pages), rows_of(&snapshot), "gzip {gzip}");
        }
    });
}

#[test]
fn of_too_many_incidents_the_worst_are_told() {
    run(async {
        let operations = Operations::new().await;
        let mut pass = fleet::pass(10, 200, epoch());
        for agent in &mut pass.agents {
            agent.last_heartbeat_at = None;
            agent.agent_name = Some("x".repeat(3_000));
        }
        let snapshot = Snapshot::of(&pass, epoch());
        assert!(snapshot.incidents.len() >= 2_000);
        operations.world.inspected(&snapshot, epoch()).await;
        let pages = walk(&operations, false).await;
        assert_eq!(rows(&pages), rows_of(&snapshot));
        let incidents = serde_json::to_value(&snapshot.incidents[..1_000]).expect("JSON");
        for page in &pages {
            assert_eq!(page["incidents"], incidents);
            assert_eq!(page["truncated"], json!(true));
        }
    });
}

#[test]
fn what_can_never_fit_is_an_error_that_says_nothing() {
    run(async {
        let operations = Operations::new().await;
        let mut pass = fleet::pass(1, 1, epoch());
        pass.agents[0].error_message = Some("x".repeat(8_000_000));
        operations
            .world
            .inspected(&Snapshot::of(&pass, epoch()), epoch())
            .await;
        // The agent without a host and the host itself are told before it.
        let mut query = String::new();
        for status in [200, 200, 500] {
            let answer = operations.get(&query).await;
            assert_eq!(answer.status(), status);
            let body = answer.json();
            match body["data"]["cursor"].as_str() {
                Some(cursor) => query = format!("?cursor={cursor}"),
                None => assert_eq!(body["error"], "Something went wrong on our side"),
            }
        }
    });
}
