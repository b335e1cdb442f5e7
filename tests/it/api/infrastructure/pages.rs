//! A fleet that does not fit into one response, and its compression.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::api::admin::fleet_view::FleetView;
use shared::domain::fleet::FleetSnapshot;
use tests::suite::epoch;
use tests::{fleet, run};
use uuid::Uuid;

use super::{Operations, seconds};

/// The limit of a response of Lambda.
const MAX_RESPONSE_BYTES: usize = 6_000_000;

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// All pages. Each must be within the limit.
async fn all_pages(operations: &Operations, gzip: bool) -> Vec<Value> {
    let mut pages: Vec<Value> = Vec::new();
    let mut query = String::new();
    loop {
        let mut request = operations.request(&query);
        if gzip {
            request = request.header("accept-encoding", "gzip");
        }
        let response = operations.world.call(request).await;
        assert_eq!(response.status(), 200, "{query}");
        let length = response.0.to_string().len();
        assert!(length < MAX_RESPONSE_BYTES, "{length}");
        let body = if gzip {
            response.json_of_gzip()
        } else {
            response.json()
        };
        let page = body["data"].clone();
        let cursor = page["cursor"].as_str().map(str::to_owned);
        assert!(cursor.is_none() || page["truncated"] == json!(true));
        assert_hosts_hold_their_agents(&page);
        pages.push(page);
        match cursor {
            Some(cursor) => query = format!("?cursor={cursor}"),
            None => return pages,
        }
    }
}

/// Checks that each host of a page holds the agents of the page that are on it.
fn assert_hosts_hold_their_agents(page: &Value) {
    for node in array(&page["nodes"]) {
        let agents = array(&page["containers"]).iter();
        let on_host: Vec<&Value> = agents
            .filter(|agent| agent["nodeId"] == node["nodeId"])
            .collect();
        assert_eq!(node["containers"], json!(on_host), "{}", node["nodeId"]);
    }
}

/// The names of the hosts and the ids of the agents on all pages, in order.
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

fn rows_of(snapshot: &FleetSnapshot) -> (Vec<String>, Vec<String>) {
    let nodes = snapshot.hosts.iter().map(|host| host.node_id.clone());
    let containers = snapshot.agents.iter().map(|agent| agent.id.to_string());
    (nodes.collect(), containers.collect())
}

/// A text that compression does not shorten.
fn incompressible_text(characters: usize) -> String {
    let blocks = (0..=characters / 16).flat_map(|_| Uuid::new_v4().into_bytes());
    let mut text = STANDARD
        .encode(blocks.collect::<Vec<u8>>())
        .replace('/', "-");
    text.truncate(characters);
    text
}

#[test]
fn response_is_compressed_if_the_client_accepts_gzip() {
    run(async {
        let operations = Operations::inspected(20, 8).await;
        let plain = operations.get("").await;
        assert_eq!(plain.0["isBase64Encoded"], json!(false));
        for (accept_encoding, is_compressed) in
            [("gzip, deflate, br", true), ("br;q=1, gzip;q=0", false)]
        {
            let request = operations
                .request("")
                .header("accept-encoding", accept_encoding);
            let response = operations.world.call(request).await;
            assert_eq!(response.header("etag"), plain.header("etag"));
            if is_compressed {
                assert_eq!(response.json_of_gzip(), plain.json());
                assert!(response.text().len() * 5 < plain.text().len());
            } else {
                assert_eq!(response.text(), plain.text());
            }
        }
    });
}

#[test]
fn pages_hold_each_host_once_with_all_its_agents() {
    run(async {
        let operations = Operations::inspected(500, 24).await;
        let snapshot = fleet::snapshot(500, 24, epoch());
        let pages = all_pages(&operations, false).await;
        assert!((2..9).contains(&pages.len()), "{}", pages.len());
        assert_eq!(rows(&pages), rows_of(&snapshot));
        for page in &pages {
            let mut agents_by_host: BTreeMap<String, usize> = BTreeMap::new();
            for container in array(&page["containers"]) {
                if let Some(node) = container["nodeId"].as_str() {
                    *agents_by_host.entry(node.to_owned()).or_default() += 1;
                }
            }
            let nodes = array(&page["nodes"]).iter();
            let expected: BTreeMap<String, usize> = nodes
                .map(|node| (text(&node["nodeId"]), array(&node["containers"]).len()))
                .collect();
            assert_eq!(agents_by_host, expected);
            assert_eq!(page["summary"], pages[0]["summary"]);
        }
        assert_eq!(pages.last().expect("a page")["truncated"], Value::Null);
        // Compressed, the fleet fits into one page.
        let pages = all_pages(&operations, true).await;
        assert_eq!((pages.len(), rows(&pages)), (1, rows_of(&snapshot)));
    });
}

#[test]
fn cursor_remains_valid_in_the_next_snapshot() {
    run(async {
        let operations = Operations::new().await;
        let run_at = |at| {
            let mut refresh_run = fleet::refresh_run(30, 10, at);
            for agent in &mut refresh_run.agents {
                agent.agent_name = Some("x".repeat(30_000));
            }
            refresh_run
        };
        let snapshot = FleetSnapshot::of(&run_at(epoch()), epoch());
        operations.world.cache_snapshot(&snapshot, epoch()).await;
        let first = operations.data("").await;
        let cursor = first["cursor"].as_str().expect("a cursor").to_owned();
        let hosts_on_first_page = array(&first["nodes"]).len();
        // The next snapshot has one more host before the end of the first page, and one less after it.
        let mut refresh_run = run_at(seconds(30));
        refresh_run.hosts[0].row.node_id = "host-0000-b".to_owned();
        refresh_run.hosts.remove(29);
        let snapshot = FleetSnapshot::of(&refresh_run, seconds(30));
        operations
            .world
            .cache_snapshot(&snapshot, seconds(30))
            .await;
        let second = operations.data(&format!("?cursor={cursor}")).await;
        assert_eq!(text(&second["refreshedAt"]), "2026-03-01T00:00:30.000Z");
        assert_eq!(
            text(&second["nodes"][0]["nodeId"]),
            fleet::host_name(hosts_on_first_page)
        );
    });
}

#[test]
fn host_with_too_many_agents_spans_pages() {
    run(async {
        let operations = Operations::new().await;
        // Sorted around that host: agents without a host, another host, and agents of an unregistered host.
        let mut refresh_run = fleet::refresh_run(3, 30, epoch());
        for agent in &mut refresh_run.agents[30..60] {
            agent.error_message = Some(incompressible_text(200_000));
        }
        refresh_run
            .agents
            .extend((200..210).map(|n| fleet::agent(n, "host-0001-gone", epoch())));
        let snapshot = FleetSnapshot::of(&refresh_run, epoch());
        operations.world.cache_snapshot(&snapshot, epoch()).await;
        for gzip in [false, true] {
            let pages = all_pages(&operations, gzip).await;
            assert!(pages.len() >= 2, "{}", pages.len());
            assert_eq!(rows(&pages), rows_of(&snapshot), "gzip {gzip}");
        }
    });
}

#[test]
fn truncated_response_holds_the_worst_incidents() {
    run(async {
        let operations = Operations::new().await;
        let mut refresh_run = fleet::refresh_run(10, 200, epoch());
        for agent in &mut refresh_run.agents {
            agent.last_heartbeat_at = None;
            agent.agent_name = Some("x".repeat(3_000));
        }
        let snapshot = FleetSnapshot::of(&refresh_run, epoch());
        assert!(snapshot.incidents.len() >= 2_000);
        operations.world.cache_snapshot(&snapshot, epoch()).await;
        let pages = all_pages(&operations, false).await;
        assert_eq!(rows(&pages), rows_of(&snapshot));
        let context = fleet::context();
        let view = FleetView::of(&snapshot, false, &context);
        let full = serde_json::to_value(&view).expect("JSON");
        let incidents = json!(array(&full["incidents"])[..1_000]);
        for page in &pages {
            assert_eq!(page["incidents"], incidents);
            assert_eq!(page["truncated"], json!(true));
        }
    });
}

#[test]
fn agent_that_fits_into_no_page_is_500() {
    run(async {
        let operations = Operations::new().await;
        let mut refresh_run = fleet::refresh_run(1, 1, epoch());
        refresh_run.agents[0].error_message = Some("x".repeat(8_000_000));
        operations
            .world
            .cache_snapshot(&FleetSnapshot::of(&refresh_run, epoch()), epoch())
            .await;
        // The page before it holds the agent without a host.
        let mut query = String::new();
        for status in [200, 500] {
            let response = operations.get(&query).await;
            assert_eq!(response.status(), status);
            let body = response.json();
            match body["data"]["cursor"].as_str() {
                Some(cursor) => query = format!("?cursor={cursor}"),
                None => assert_eq!(body["error"], "Something went wrong on our side"),
            }
        }
    });
}
