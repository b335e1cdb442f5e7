//! Refresh runs over real containers in every state and real hosts with every failure.

use chrono::TimeDelta;
use dev::host::image;
use serde_json::{Value, json};
use tests::{Lab, run};
use uuid::Uuid;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// An agent whose row says that it runs on `n1`. With a body, its container is created, too.
async fn place_agent(lab: &Lab, body: Option<&Value>) -> Uuid {
    let agent = lab.agent(json!({})).await;
    lab.world
        .set_columns(
            agent,
            "status = 'running', node_id = 'n1', container_name = 'milady-' || id,
            last_heartbeat_at = billing_clock()",
        )
        .await;
    if let Some(body) = body {
        let mut body = body.clone();
        body["Labels"] = json!({"milady.agent": agent, "milady.attempt": "1"});
        body["HostConfig"]["NetworkMode"] = json!("none");
        let name = format!("milady-{agent}");
        lab.hosts[0]
            .engine
            .run(&name, &body)
            .await
            .expect("a container");
    }
    agent
}

/// Waits until Docker's view of an agent's container meets a condition.
async fn wait_until_container(lab: &Lab, agent: Uuid, what: &str, is: impl Fn(&Value) -> bool) {
    let path = format!("/containers/milady-{agent}/json");
    tests::wait_until(what, async || {
        let inspected = lab.hosts[0].engine.call("GET", &path, None).await;
        is(&inspected.expect(what))
    })
    .await;
}

#[test]
fn f20_each_container_state_has_its_health() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let sample =
            |fault: &str| json!({"Image": image::SAMPLE, "Env": [format!("SAMPLE_FAULT={fault}")]});
        let well = place_agent(&lab, Some(&sample(""))).await;
        let paused = place_agent(&lab, Some(&sample(""))).await;
        let exited = place_agent(&lab, Some(&sample(""))).await;
        let mut body = sample("exit");
        body["HostConfig"]["RestartPolicy"]["Name"] = json!("always");
        let restarting = place_agent(&lab, Some(&body)).await;
        let mut body = sample("unhealthy");
        body["Image"] = json!(image::CHECKED);
        let unhealthy = place_agent(&lab, Some(&body)).await;
        let missing = place_agent(&lab, None).await;
        let unclaimed = format!("milady-{}", Uuid::new_v4());
        engine.run(&unclaimed, &sample("")).await.expect("a ghost");
        engine
            .run("stranger", &sample(""))
            .await
            .expect("a stranger");
        engine
            .pause(&format!("milady-{paused}"))
            .await
            .expect("a pause");
        engine
            .kill(&format!("milady-{exited}"))
            .await
            .expect("an end");
        wait_until_container(&lab, unhealthy, "bad health", |inspected| {
            inspected["State"]["Health"]["Status"] == json!("unhealthy")
        })
        .await;
        // From the sixth restart on Docker waits some seconds before the next one.
        wait_until_container(&lab, restarting, "a pause between restarts", |inspected| {
            inspected["RestartCount"].as_u64() >= Some(6)
                && inspected["State"]["Status"] == json!("restarting")
        })
        .await;

        let outcome = lab.world.refresh().await;
        assert_eq!(
            (&outcome["outcome"], &outcome["hosts"], &outcome["read"]),
            (&json!("done"), &json!(1), &json!(1))
        );
        for (agent, state, health, severity) in [
            (well, json!("running"), "healthy", "info"),
            (paused, json!("paused"), "degraded", "warning"),
            (exited, json!("exited"), "failed", "critical"),
            // Docker started it again too often: its agent is in error (F73).
            (restarting, json!("restarting"), "failed", "critical"),
            (unhealthy, json!("running"), "failed", "critical"),
            (missing, Value::Null, "missing", "critical"),
        ] {
            let inspected = lab.world.cached_agent(agent).await;
            assert_eq!(
                (
                    &inspected["runtimeState"],
                    &inspected["liveHealth"],
                    &inspected["liveHealthSeverity"],
                    &inspected["runtimePresent"]
                ),
                (
                    &state,
                    &json!(health),
                    &json!(severity),
                    &json!(agent != missing)
                ),
                "{inspected}"
            );
        }
        let node = lab.world.cached_host("n1").await;
        let unclaimed_containers = node["ghostContainers"].as_array().expect("ghosts");
        assert_eq!(unclaimed_containers.len(), 1, "{node}");
        assert_eq!(
            (
                &unclaimed_containers[0]["name"],
                &unclaimed_containers[0]["state"]
            ),
            (&json!(unclaimed), &json!("running"))
        );
        // Five containers are alive: healthy, paused, restarting, unhealthy and unclaimed. Five rows expect one: that of the
        // agent in error does not.
        assert_eq!(node["allocationDrift"], json!(0));
        assert_eq!(node["runtime"]["actualContainerCount"], json!(6));
        let shown = node.to_string();
        assert!(!shown.contains("stranger"), "{shown}");
        engine
            .unpause(&format!("milady-{paused}"))
            .await
            .expect("its end");
    });
}

#[test]
fn f19_a_failed_docker_read_makes_agents_unknown_and_keeps_the_hosts_figures() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let agent = lab.running_agent(json!({})).await;
        lab.world.refresh().await;
        assert_eq!(
            lab.world.cached_agent(agent).await["liveHealth"],
            json!("healthy")
        );

        lab.hosts[0].engine.stop().expect("a stop");
        lab.advance_clock(MINUTE).await;
        let outcome = lab.world.refresh().await;
        assert_eq!(
            (&outcome["read"], &outcome["disconnected"]),
            (&json!(0), &json!(0))
        );
        let inspected = lab.world.cached_agent(agent).await;
        assert_eq!(
            (&inspected["liveHealth"], &inspected["runtimePresent"]),
            (&json!("unknown"), &Value::Null),
            "{inspected}"
        );
        assert_eq!(
            inspected["dbStatus"],
            json!("running"),
            "one observation changes no status"
        );
        let node = lab.world.cached_host("n1").await;
        assert_eq!(node["status"], json!("degraded"));
        let runtime = &node["runtime"];
        assert_eq!(
            (&runtime["reachable"], &runtime["dockerReadable"]),
            (&json!(true), &json!(false))
        );
        for figure in [
            "diskUsedPercent",
            "memoryUsedPercent",
            "loadAverage",
            "sshLatencyMs",
        ] {
            assert!(!runtime[figure].is_null(), "{figure}: {runtime}");
        }

        lab.advance_clock(MINUTE).await;
        let outcome = lab.world.refresh().await;
        assert_eq!(outcome["disconnected"], json!(1), "{outcome}");
        let inspected = lab.world.cached_agent(agent).await;
        assert_eq!(inspected["dbStatus"], json!("disconnected"));
        assert_eq!(
            lab.placement(agent).await["container"],
            json!(format!("milady-{agent}"))
        );
        assert_eq!(lab.slots().await, [1]);

        lab.hosts[0].engine.restart().await.expect("Docker");
        wait_until_container(&lab, agent, "a life", |inspected| {
            inspected["State"]["Running"] == json!(true)
        })
        .await;
        lab.advance_clock(MINUTE).await;
        let outcome = lab.world.refresh().await;
        assert_eq!(outcome["regained"], json!(1), "{outcome}");
        assert_eq!(lab.placement(agent).await["status"], json!("running"));
    });
}

#[test]
fn f18_only_an_answering_agent_stays_healthy() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let agent = lab.running_agent(json!({})).await;
        lab.advance_clock(TimeDelta::minutes(20)).await;
        let outcome = lab.world.refresh().await;
        assert_eq!(outcome["heard"], json!(1), "{outcome}");
        let inspected = lab.world.cached_agent(agent).await;
        assert_eq!(
            (&inspected["liveHealth"], &inspected["heartbeatAgeMinutes"]),
            (&json!("healthy"), &json!(0))
        );
        // The container runs, but the agent does not answer.
        lab.world.set_columns(agent, "web_ui_port = 9").await;
        lab.advance_clock(TimeDelta::minutes(16)).await;
        let outcome = lab.world.refresh().await;
        assert_eq!(outcome["heard"], json!(0), "{outcome}");
        let inspected = lab.world.cached_agent(agent).await;
        assert_eq!(
            (&inspected["liveHealth"], &inspected["dbStatus"]),
            (&json!("stale"), &json!("running")),
            "{inspected}"
        );
    });
}

#[test]
fn a_container_missing_twice_fails_its_agent_and_frees_its_slot() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let gone = lab.running_agent(json!({})).await;
        let ended = lab.running_agent(json!({})).await;
        let stopping = lab.running_agent(json!({})).await;
        assert_eq!(lab.slots().await, [3]);
        lab.world.refresh().await;
        engine
            .remove(&format!("milady-{gone}"))
            .await
            .expect("a removal");
        engine
            .remove(&format!("milady-{stopping}"))
            .await
            .expect("a removal");
        engine
            .kill(&format!("milady-{ended}"))
            .await
            .expect("an end");
        // A job will stop this agent: the refresh leaves it alone.
        lab.world
            .set_columns(stopping, "stop_requested_at = billing_clock()")
            .await;
        lab.advance_clock(MINUTE).await;
        assert_eq!(lab.world.refresh().await["lost"], json!(0));
        assert_eq!(
            lab.world.cached_agent(gone).await["liveHealth"],
            json!("missing")
        );
        assert_eq!(
            lab.world.cached_agent(ended).await["liveHealth"],
            json!("failed")
        );
        lab.advance_clock(MINUTE).await;
        assert_eq!(lab.world.refresh().await["lost"], json!(2));
        for (agent, reason) in [
            (gone, "The agent's container is gone from its host"),
            (
                ended,
                "The agent's container has ended: it was killed (exit code 137)",
            ),
        ] {
            let placement = lab.placement(agent).await;
            assert_eq!(
                placement,
                json!({"status": "error", "node": "n1", "container": null, "ports": [null, null], "error": reason})
            );
            assert_eq!(
                lab.world.cached_agent(agent).await["liveHealth"],
                json!("failed")
            );
            let metered: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM usage_spans WHERE agent_id = $1 AND ended_at IS NULL",
            )
            .bind(agent)
            .fetch_one(&lab.world.pool)
            .await
            .expect("spans");
            assert_eq!(metered, 0, "a failed agent is not metered");
        }
        let failed = "SELECT count(*) FROM milady_sandboxes WHERE stop_reason = 'failure'";
        assert_eq!(lab.world.count(failed).await, 2);
        assert_eq!(lab.placement(stopping).await["status"], json!("running"));
        assert_eq!(lab.slots().await, [1]);
        // Its volume is on this host, so it starts here again.
        lab.advance_clock(MINUTE).await;
        lab.start(ended).await;
        assert_eq!(lab.containers(ended).await, [1]);
        lab.world
            .set_columns(stopping, "status = 'stopped', container_name = NULL")
            .await;
        lab.world.refresh().await;
        assert_eq!(lab.slots().await, [1]);
    });
}

#[test]
fn f17_a_refresh_corrects_the_count_of_taken_slots() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        lab.running_agent(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET allocated_count = 7")
            .await;
        assert_eq!(lab.world.refresh().await["slots"], json!(1));
        assert_eq!(lab.slots().await, [1]);
        assert_eq!(lab.world.refresh().await["slots"], json!(0));
        let node = lab.world.cached_host("n1").await;
        assert_eq!(
            (&node["allocatedCount"], &node["utilizationPct"]),
            (&json!(1), &json!(12))
        );
    });
}

#[test]
fn unreachable_hosts_changed_keys_and_new_pins_have_their_alerts() {
    run(async {
        let Some(lab) = Lab::new(3).await else {
            return;
        };
        lab.world.refresh().await;
        lab.hosts[0].sshd.stop().expect("a stop");
        lab.hosts[1]
            .sshd
            .change_host_key()
            .await
            .expect("another key");
        lab.world
            .execute("UPDATE docker_nodes SET host_key_fingerprint = NULL WHERE node_id = 'n3'")
            .await;
        lab.advance_clock(MINUTE).await;
        let outcome = lab.world.refresh().await;
        assert_eq!(
            (&outcome["hosts"], &outcome["read"], &outcome["late"]),
            (&json!(3), &json!(1), &json!(0)),
            "{outcome}"
        );
        let fleet = lab.world.cached_fleet().await;
        let summary = &fleet["summary"];
        assert_eq!(
            (&summary["healthyNodes"], &summary["offlineNodes"]),
            (&json!(1), &json!(2)),
            "{summary}"
        );
        let alerts = |node: &Value| {
            let all = node["alerts"].as_array().expect("alerts").iter();
            all.map(|alert| (alert["severity"].clone(), alert["code"].clone()))
                .collect::<Vec<_>>()
        };
        let nodes = fleet["nodes"].as_array().expect("nodes");
        assert!(
            alerts(&nodes[0]).contains(&(json!("critical"), json!("unreachable"))),
            "{}",
            nodes[0]
        );
        assert!(
            alerts(&nodes[1]).contains(&(json!("critical"), json!("host_key_mismatch"))),
            "{}",
            nodes[1]
        );
        // F24: the first pin of a host is reported.
        let alert_list = alerts(&nodes[2]);
        assert!(
            alert_list
                .iter()
                .any(|(severity, _)| *severity == json!("info")),
            "{}",
            nodes[2]
        );
        let statuses: Vec<(String, bool)> = sqlx::query_as(
            "SELECT status, last_health_check = billing_clock() OR last_health_check > billing_clock()
            FROM docker_nodes ORDER BY node_id",
        )
        .fetch_all(&lab.world.pool)
        .await
        .expect("nodes");
        let expected = ["offline", "offline", "healthy"].map(|status| (status.to_owned(), true));
        assert_eq!(statuses, expected);
        let pinned: Option<String> = sqlx::query_scalar(
            "SELECT host_key_fingerprint FROM docker_nodes WHERE node_id = 'n3'",
        )
        .fetch_one(&lab.world.pool)
        .await
        .expect("a pin");
        assert_eq!(
            pinned.as_deref(),
            Some(lab.hosts[2].sshd.fingerprint().as_str())
        );
    });
}

#[test]
fn before_the_adoption_a_refresh_changes_no_agents() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let agent = place_agent(&lab, None).await;
        lab.world
            .execute("UPDATE billing_adoption SET required = true, adopted_at = NULL; UPDATE docker_nodes SET allocated_count = 5")
            .await;
        for _ in 0..2 {
            lab.world.refresh().await;
            lab.advance_clock(MINUTE).await;
        }
        assert_eq!(
            lab.world.cached_agent(agent).await["liveHealth"],
            json!("missing")
        );
        assert_eq!(lab.placement(agent).await["status"], json!("running"));
        assert_eq!(lab.slots().await, [5]);
    });
}
