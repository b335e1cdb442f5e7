//! `GET /api/v1/admin/infrastructure`: what the response holds (here and in `names`), its pages (`pages`), and what
//! happens if the snapshot is old or missing (`refresh`).

mod names;
mod pages;
mod refresh;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::events::EventBus;
use dev::template::Template;
use expect_test::expect;
use serde_json::{Value, json};
use shared::api::admin::fleet_view::FleetView;
use shared::domain::agent::AgentStatus;
use shared::domain::fleet::{AgentRow, FleetSnapshot};
use tests::suite::{Request, Response, epoch};
use tests::{World, check, fleet, run, wait_until};

const FLEET: &str = "/api/v1/admin/infrastructure";

/// A world with the key of a super admin, and the bus that its functions publish to.
struct Operations {
    world: World,
    key: String,
    bus: EventBus,
}

impl Operations {
    async fn new() -> Self {
        let mut world = World::new().await;
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("an event bus");
        let endpoint = ("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), bus.address());
        world.settings.extend([endpoint]);
        let (operators, key) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        Self { world, key, bus }
    }

    /// The same, with a fresh snapshot of this many hosts with this many agents each.
    async fn inspected(hosts: usize, agents: usize) -> Self {
        let operations = Self::new().await;
        let snapshot = fleet::snapshot(hosts, agents, epoch());
        operations.world.cache_snapshot(&snapshot, epoch()).await;
        operations
    }

    fn request(&self, query: &str) -> Request {
        Request::new("GET", &format!("{FLEET}{query}")).key(&self.key)
    }

    async fn get(&self, query: &str) -> Response {
        self.world.call(self.request(query)).await
    }

    /// The data of the response, which must be a 200.
    async fn data(&self, query: &str) -> Value {
        let response = self.get(query).await;
        assert_eq!(response.status(), 200, "{query}: {response:?}");
        response.json()["data"].clone()
    }

    /// Waits until a request has found no snapshot and requested an inspection, and gives others a second to find none,
    /// too. One that comes later finds the snapshot, and nothing else is different.
    async fn wait_for_waiting_requests(&self) {
        wait_until("a request waits for a snapshot", async || {
            self.requested_inspections() == 1
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// How many inspections were requested.
    fn requested_inspections(&self) -> usize {
        let events = self.bus.received();
        let requests = events
            .iter()
            .filter(|event| event["detail-type"] == "fleet.refresh_requested");
        requests.count()
    }
}

fn seconds(n: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::seconds(n)
}

#[test]
fn response_is_the_cached_snapshot() {
    run(async {
        let operations = Operations::inspected(1, 1).await;
        operations.world.set_clock(seconds(7)).await;
        let response = operations.get("").await;
        check(
            &response,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "containers": [
                      {
                        "agentName": "Agent 1",
                        "containerKind": "managed",
                        "containerName": null,
                        "createdAt": "2026-02-22T00:00:00.000Z",
                        "dbStatus": "pending",
                        "dockerImage": "milady/agent:cloud-full-ui",
                        "errorCount": 0,
                        "errorMessage": null,
                        "heartbeatAgeMinutes": 1,
                        "id": "<1>",
                        "lastHeartbeatAt": "2026-02-28T23:59:00.000Z",
                        "liveHealth": "warming",
                        "liveHealthReason": "The agent waits to be started",
                        "liveHealthSeverity": "info",
                        "nodeId": null,
                        "organizationId": "<2>",
                        "organizationName": null,
                        "runtimePresent": null,
                        "runtimeState": null,
                        "runtimeStatus": null,
                        "sandboxId": "sandbox-1",
                        "updatedAt": "2026-03-01T00:00:00.000Z",
                        "userId": "<3>"
                      },
                      {
                        "agentName": "Agent 0",
                        "containerKind": "managed",
                        "containerName": "<4>",
                        "createdAt": "2026-02-22T00:00:00.000Z",
                        "dbStatus": "running",
                        "dockerImage": "milady/agent:cloud-full-ui",
                        "errorCount": 0,
                        "errorMessage": null,
                        "heartbeatAgeMinutes": 1,
                        "id": "<5>",
                        "lastHeartbeatAt": "2026-02-28T23:59:00.000Z",
                        "liveHealth": "healthy",
                        "liveHealthReason": "The agent answers",
                        "liveHealthSeverity": "info",
                        "nodeId": "host-0000",
                        "organizationId": "<2>",
                        "organizationName": null,
                        "runtimePresent": true,
                        "runtimeState": "running",
                        "runtimeStatus": "Up About an hour (healthy)",
                        "sandboxId": "sandbox-0",
                        "updatedAt": "2026-03-01T00:00:00.000Z",
                        "userId": "<3>"
                      }
                    ],
                    "incidents": [],
                    "nodes": [
                      {
                        "alerts": [],
                        "allocatedCount": 1,
                        "allocationDrift": 0,
                        "availableSlots": 1,
                        "capacity": 2,
                        "containers": [
                          {
                            "agentName": "Agent 0",
                            "containerKind": "managed",
                            "containerName": "<4>",
                            "createdAt": "2026-02-22T00:00:00.000Z",
                            "dbStatus": "running",
                            "dockerImage": "milady/agent:cloud-full-ui",
                            "errorCount": 0,
                            "errorMessage": null,
                            "heartbeatAgeMinutes": 1,
                            "id": "<5>",
                            "lastHeartbeatAt": "2026-02-28T23:59:00.000Z",
                            "liveHealth": "healthy",
                            "liveHealthReason": "The agent answers",
                            "liveHealthSeverity": "info",
                            "nodeId": "host-0000",
                            "organizationId": "<2>",
                            "organizationName": null,
                            "runtimePresent": true,
                            "runtimeState": "running",
                            "runtimeStatus": "Up About an hour (healthy)",
                            "sandboxId": "sandbox-0",
                            "updatedAt": "2026-03-01T00:00:00.000Z",
                            "userId": "<3>"
                          }
                        ],
                        "createdAt": "2026-01-30T00:00:00.000Z",
                        "enabled": true,
                        "ghostContainers": [],
                        "id": "<6>",
                        "lastHealthCheck": "2026-03-01T00:00:00.000Z",
                        "metadata": {},
                        "nodeId": "host-0000",
                        "observedAt": "2026-03-01T00:00:00.000Z",
                        "runtime": {
                          "actualContainerCount": 1,
                          "checkedAt": "2026-03-01T00:00:00.000Z",
                          "containers": [
                            {
                              "health": "healthy",
                              "id": "<7>",
                              "image": "milady/agent:cloud-full-ui",
                              "name": "<4>",
                              "runningFor": "About an hour",
                              "state": "running",
                              "status": "Up About an hour (healthy)"
                            }
                          ],
                          "cpuCount": 16,
                          "diskUsedPercent": 42,
                          "dockerReadable": true,
                          "dockerVersion": "27.5.1",
                          "error": null,
                          "ioPressurePct": 3,
                          "loadAverage": "2.05",
                          "memoryUsedPercent": 61,
                          "reachable": true,
                          "runningContainerCount": 1,
                          "sshLatencyMs": 12
                        },
                        "status": "healthy",
                        "updatedAt": "2026-03-01T00:00:00.000Z",
                        "utilizationPct": 50
                      }
                    ],
                    "refreshedAt": "2026-03-01T00:00:00.000Z",
                    "stale": false,
                    "summary": {
                      "allocatedSlots": 1,
                      "attentionContainers": 0,
                      "availableSlots": 1,
                      "backlog": {
                        "starts": {
                          "due": 0,
                          "oldestDueAt": null,
                          "running": 0
                        },
                        "stops": {
                          "due": 0,
                          "oldestDueAt": null,
                          "running": 0
                        }
                      },
                      "backlogCount": 0,
                      "degradedNodes": 0,
                      "disconnectedContainers": 0,
                      "enabledNodes": 1,
                      "errorContainers": 0,
                      "failedContainers": 0,
                      "healthyContainers": 1,
                      "healthyNodes": 1,
                      "missingContainers": 0,
                      "nodesWithDrift": 0,
                      "offlineNodes": 0,
                      "pendingContainers": 1,
                      "provisioningContainers": 0,
                      "runningContainers": 1,
                      "saturatedNodes": 0,
                      "staleContainers": 0,
                      "stoppedContainers": 0,
                      "totalCapacity": 2,
                      "totalContainers": 2,
                      "totalNodes": 1,
                      "unknownContainers": 0,
                      "unknownNodes": 0,
                      "utilizationPct": 50
                    }
                  },
                  "success": true
                }
            "#]],
        );
        let headers = ["age", "cache-control", "vary", "content-encoding"];
        assert_eq!(
            headers.map(|name| response.header(name)),
            [
                Some("7"),
                Some("private, no-cache"),
                Some("accept-encoding"),
                None
            ]
        );
        // It is put together from the parts of the whole snapshot's JSON.
        let snapshot = fleet::snapshot(1, 1, epoch());
        let context = fleet::context();
        let view = FleetView::of(&snapshot, false, &context);
        let snapshot = serde_json::to_value(view).expect("JSON");
        assert_eq!(response.json()["data"], snapshot);
        assert_eq!(operations.requested_inspections(), 0);
    });
}

#[test]
fn only_super_admins_see_the_fleet() {
    run(async {
        let operations = Operations::inspected(1, 1).await;
        let world = &operations.world;
        let (_, walletless) = world.tenant("0").await;
        let (moderators, moderator) = world.tenant("0").await;
        world.make_admin(moderators, "moderator").await;
        for (key, status) in [
            (&walletless, 403),
            (&moderator, 403),
            (&operations.key, 200),
        ] {
            for query in ["", "?view=summary", "?nodeId=nowhere&cursor=x"] {
                let response = world.get(key, &format!("{FLEET}{query}")).await;
                let status = if status == 200 && query.contains("cursor") {
                    400
                } else {
                    status
                };
                assert_eq!(response.status(), status, "{query}");
                let has_summary = response.text().contains("summary\":");
                assert_eq!(has_summary, status == 200, "{query}");
            }
        }
    });
}

#[test]
fn snapshot_that_the_client_has_is_304() {
    run(async {
        let operations = Operations::inspected(3, 2).await;
        let world = &operations.world;
        let tag_of = async |query: &str| {
            let response = operations.get(query).await;
            response.header("etag").expect("a tag").to_owned()
        };
        let tag = tag_of("").await;
        assert_eq!(tag_of("").await, tag);
        let conditional = async |tag: &str| {
            let request = operations.request("").header("if-none-match", tag);
            world.call(request.header("accept-encoding", "gzip")).await
        };
        world.set_clock(seconds(89)).await;
        let known = conditional(&format!("\"other\", {tag}")).await;
        assert_eq!((known.status(), known.text()), (304, ""));
        let headers = ["age", "etag", "cache-control", "content-type"];
        assert_eq!(
            headers.map(|name| known.header(name)),
            [
                Some("89"),
                Some(tag.as_str()),
                Some("private, no-cache"),
                None
            ]
        );
        // Each query has a tag of its own.
        let mut tags = vec![tag.clone()];
        let cursor = "?cursor=WyJob3N0LTAwMDAiLG51bGxd";
        for query in [
            "?view=summary",
            "?nodeId=host-0001",
            "?nodeId=host-0002",
            cursor,
        ] {
            tags.push(tag_of(query).await);
        }
        // The tag changes when the snapshot becomes stale, and with the next snapshot.
        world.set_clock(seconds(90)).await;
        assert_eq!(conditional(&tag).await.status(), 200);
        tags.push(tag_of("").await);
        world
            .cache_snapshot(&fleet::snapshot(3, 2, seconds(91)), seconds(91))
            .await;
        assert_eq!(conditional(&tags[5]).await.status(), 200);
        tags.push(tag_of("").await);
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 7, "{tags:?}");
    });
}

#[test]
fn query_selects_one_host_or_only_the_totals() {
    run(async {
        let operations = Operations::new().await;
        let mut refresh_run = fleet::refresh_run(3, 2, epoch());
        refresh_run.agents[2].status = AgentStatus::Error;
        operations
            .world
            .cache_snapshot(&FleetSnapshot::of(&refresh_run, epoch()), epoch())
            .await;
        let all = operations.data("").await;
        assert_eq!(all["containers"].as_array().map(Vec::len), Some(7));
        let count = |value: &Value| value.as_array().map(Vec::len);

        let one_host = operations.data("?nodeId=host-0001").await;
        assert_eq!(one_host["nodes"], json!([all["nodes"][1]]));
        assert_eq!(
            one_host["containers"],
            json!([all["containers"][3], all["containers"][4]])
        );
        assert_eq!(one_host["summary"], all["summary"]);
        assert_eq!(
            count(&one_host["incidents"]),
            Some(1),
            "{}",
            one_host["incidents"]
        );
        assert_eq!(one_host["incidents"][0]["nodeId"], "host-0001");
        let healthy_host = operations.data("?nodeId=host-0000").await;
        assert_eq!(count(&healthy_host["incidents"]), Some(0));

        let totals = operations.data("?view=summary").await;
        let keys: Vec<&String> = totals.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["incidents", "refreshedAt", "stale", "summary"]);
        assert_eq!(totals["summary"], all["summary"]);
        assert_eq!(totals["incidents"], all["incidents"]);

        for (query, status, error) in [
            ("?nodeId=nowhere", 404, "Node not found"),
            ("?nodeId=", 404, "Node not found"),
            ("?nodeId=nowhere&view=summary", 404, "Node not found"),
            ("?view=all", 400, "view must be summary"),
            (
                "?cursor=x",
                400,
                "cursor is not valid; start again without it",
            ),
            (
                "?cursor=WzFd",
                400,
                "cursor is not valid; start again without it",
            ),
        ] {
            let response = operations.get(query).await;
            assert_eq!(response.status(), status, "{query}");
            assert_eq!(response.json()["error"], error, "{query}");
        }
    });
}

#[test]
fn addresses_and_credentials_of_hosts_stay_out_of_responses_and_logs() {
    run(async {
        let operations = Operations::new().await;
        let mut refresh_run = fleet::refresh_run(2, 2, epoch());
        refresh_run.hosts[0].row.metadata = serde_json::from_value(json!({
            "hostname": "canary-host", "sshPort": 22222, "ssh_user": "canary-user", "note": "10.99.0.1",
            "keyPath": "/etc/canary/key", "dockerSocket": "/run/canary.sock", "headscaleIp": "100.99.0.1",
            "publishAddress": "0.0.0.99", "vpn": "canary-vpn", "region": "eu", "url": "https://canary.example",
        }))
        .expect("metadata");
        let errors = [
            "ssh: connect to host canary-host.example.com port 22222: Connection refused",
            "canary-user@canary.example: Permission denied",
            "Get \"http://100.99.0.1:31337/bridge\": dial tcp 100.99.0.1:31337: i/o timeout",
            "cannot read https://canary.example:31337/x via fd7a:115c:a1e0::99",
        ];
        for (agent, error) in refresh_run.agents.iter_mut().zip(errors) {
            *agent = AgentRow {
                status: AgentStatus::Error,
                error_message: Some(error.to_owned()),
                ..agent.clone()
            };
        }
        operations
            .world
            .cache_snapshot(&FleetSnapshot::of(&refresh_run, epoch()), epoch())
            .await;
        let request = operations.request("").header("accept-encoding", "gzip");
        let compressed = operations
            .world
            .call(request)
            .await
            .json_of_gzip()
            .to_string();
        let mut outputs = vec![compressed];
        for query in [
            "",
            "?nodeId=host-0000",
            "?view=summary",
            "?nodeId=canary-host",
        ] {
            outputs.push(operations.get(query).await.0.to_string());
        }
        outputs.extend(operations.world.logs("admin-infrastructure").await);
        assert!(outputs[1].contains("Permission denied"), "{}", outputs[1]);
        for canary in ["canary", "22222", "31337", "99.0.1", "0.0.99", "::99"] {
            let leak = outputs.iter().find(|text| text.contains(canary));
            assert_eq!(leak, None, "{canary}");
        }
    });
}
