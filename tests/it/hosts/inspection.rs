//! The fleet is looked at: real containers in every state, real hosts in every trouble.

use std::time::Duration;

use chrono::TimeDelta;
use dev::host::image;
use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::{Lab, run};
use uuid::Uuid;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// An agent whose row says that it runs on `n1`, and a container for it.
async fn placed(lab: &Lab, body: Option<&Value>) -> Uuid {
    let agent = lab.agent(json!({})).await;
    lab.world
        .set(
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

/// Waits until Docker says so of an agent's container.
async fn until(lab: &Lab, agent: Uuid, what: &str, is: impl Fn(&Value) -> bool) {
    let path = format!("/containers/milady-{agent}/json");
    for _ in 0..300 {
        let seen = lab.hosts[0]
            .engine
            .call("GET", &path, None)
            .await
            .expect(what);
        if is(&seen) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come about");
}

#[test]
fn f20_each_container_is_reported_as_the_table_says() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let sample =
            |fault: &str| json!({"Image": image::SAMPLE, "Env": [format!("SAMPLE_FAULT={fault}")]});
        let well = placed(&lab, Some(&sample(""))).await;
        let paused = placed(&lab, Some(&sample(""))).await;
        let exited = placed(&lab, Some(&sample(""))).await;
        let mut body = sample("exit");
        body["HostConfig"]["RestartPolicy"]["Name"] = json!("always");
        let restarting = placed(&lab, Some(&body)).await;
        let mut body = sample("unhealthy");
        body["Image"] = json!(image::CHECKED);
        let unhealthy = placed(&lab, Some(&body)).await;
        let missing = placed(&lab, None).await;
        let ghost = format!("milady-{}", Uuid::new_v4());
        engine.run(&ghost, &sample("")).await.expect("a ghost");
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
        until(&lab, unhealthy, "bad health", |seen| {
            seen["State"]["Health"]["Status"] == json!("unhealthy")
        })
        .await;
        // From the sixth time on Docker waits some seconds before it tries again.
        until(&lab, restarting, "a pause between restarts", |seen| {
            seen["RestartCount"].as_u64() >= Some(6)
                && seen["State"]["Status"] == json!("restarting")
        })
        .await;

        let done = lab.world.refresh().await;
        assert_eq!(
            (&done["outcome"], &done["hosts"], &done["read"]),
            (&json!("done"), &json!(1), &json!(1))
        );
        for (agent, state, health, severity) in [
            (well, json!("running"), "healthy", "info"),
            (paused, json!("paused"), "degraded", "warning"),
            (exited, json!("exited"), "failed", "critical"),
            (restarting, json!("restarting"), "degraded", "warning"),
            (unhealthy, json!("running"), "failed", "critical"),
            (missing, Value::Null, "missing", "critical"),
        ] {
            let seen = lab.world.seen(agent).await;
            assert_eq!(
                (
                    &seen["runtimeState"],
                    &seen["liveHealth"],
                    &seen["liveHealthSeverity"],
                    &seen["runtimePresent"]
                ),
                (
                    &state,
                    &json!(health),
                    &json!(severity),
                    &json!(agent != missing)
                ),
                "{seen}"
            );
        }
        let node = lab.world.seen_node("n1").await;
        let ghosts = node["ghostContainers"].as_array().expect("ghosts");
        assert_eq!(ghosts.len(), 1, "{node}");
        assert_eq!(
            (&ghosts[0]["name"], &ghosts[0]["state"]),
            (&json!(ghost), &json!("running"))
        );
        // Well, paused, restarting, unhealthy and the ghost live; six rows expect one.
        assert_eq!(node["allocationDrift"], json!(-1));
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
fn f19_without_docker_agents_are_unknown_and_the_hosts_figures_stay() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let agent = lab.running(json!({})).await;
        lab.world.refresh().await;
        assert_eq!(lab.world.seen(agent).await["liveHealth"], json!("healthy"));

        lab.hosts[0].engine.stop().expect("a stop");
        lab.later(MINUTE).await;
        let done = lab.world.refresh().await;
        assert_eq!(
            (&done["read"], &done["disconnected"]),
            (&json!(0), &json!(0))
        );
        let seen = lab.world.seen(agent).await;
        assert_eq!(
            (&seen["liveHealth"], &seen["runtimePresent"]),
            (&json!("unknown"), &Value::Null),
            "{seen}"
        );
        assert_eq!(
            seen["dbStatus"],
            json!("running"),
            "one look proves nothing"
        );
        let node = lab.world.seen_node("n1").await;
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

        lab.later(MINUTE).await;
        let done = lab.world.refresh().await;
        assert_eq!(done["disconnected"], json!(1), "{done}");
        let seen = lab.world.seen(agent).await;
        assert_eq!(seen["dbStatus"], json!("disconnected"));
        assert_eq!(
            lab.place(agent).await["container"],
            json!(format!("milady-{agent}"))
        );
        assert_eq!(lab.slots().await, [1]);

        lab.hosts[0].engine.start_again().await.expect("Docker");
        until(&lab, agent, "a life", |seen| {
            seen["State"]["Running"] == json!(true)
        })
        .await;
        lab.later(MINUTE).await;
        let done = lab.world.refresh().await;
        assert_eq!(done["regained"], json!(1), "{done}");
        assert_eq!(lab.place(agent).await["status"], json!("running"));
    });
}

#[test]
fn f18_agents_that_answer_stay_healthy_and_nothing_else_keeps_them_so() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let agent = lab.running(json!({})).await;
        lab.later(TimeDelta::minutes(20)).await;
        let done = lab.world.refresh().await;
        assert_eq!(done["heard"], json!(1), "{done}");
        let seen = lab.world.seen(agent).await;
        assert_eq!(
            (&seen["liveHealth"], &seen["heartbeatAgeMinutes"]),
            (&json!("healthy"), &json!(0))
        );
        // It runs and does not answer: its container is there, and it was not heard.
        lab.world.set(agent, "web_ui_port = 9").await;
        lab.later(TimeDelta::minutes(16)).await;
        let done = lab.world.refresh().await;
        assert_eq!(done["heard"], json!(0), "{done}");
        let seen = lab.world.seen(agent).await;
        assert_eq!(
            (&seen["liveHealth"], &seen["dbStatus"]),
            (&json!("stale"), &json!("running")),
            "{seen}"
        );
    });
}

#[test]
fn a_container_that_is_lost_is_an_error_at_the_second_look_and_frees_its_slot() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let gone = lab.running(json!({})).await;
        let ended = lab.running(json!({})).await;
        let stopping = lab.running(json!({})).await;
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
        // A job is at it: what it does is its business.
        lab.world
            .set(stopping, "stop_requested_at = billing_clock()")
            .await;
        lab.later(MINUTE).await;
        assert_eq!(lab.world.refresh().await["lost"], json!(0));
        assert_eq!(lab.world.seen(gone).await["liveHealth"], json!("missing"));
        assert_eq!(lab.world.seen(ended).await["liveHealth"], json!("failed"));
        lab.later(MINUTE).await;
        assert_eq!(lab.world.refresh().await["lost"], json!(2));
        for (agent, reason) in [
            (gone, "The agent's container is gone from its host"),
            (ended, "The agent's container has ended"),
        ] {
            let place = lab.place(agent).await;
            assert_eq!(
                place,
                json!({"status": "error", "node": "n1", "container": null, "ports": [null, null], "error": reason})
            );
            assert_eq!(lab.world.seen(agent).await["liveHealth"], json!("failed"));
            let metered: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM agent_usage_spans WHERE agent_id = $1 AND ended_at IS NULL",
            )
            .bind(agent)
            .fetch_one(&lab.world.pool)
            .await
            .expect("spans");
            assert_eq!(metered, 0, "what does not run is not charged for");
        }
        assert_eq!(lab.place(stopping).await["status"], json!("running"));
        assert_eq!(lab.slots().await, [1]);
        // What it knew is in its volume: it comes back on the same host.
        lab.later(MINUTE).await;
        lab.start(ended).await;
        assert_eq!(lab.containers(ended).await, [1]);
        lab.world
            .set(stopping, "status = 'stopped', container_name = NULL")
            .await;
        lab.world.refresh().await;
        assert_eq!(lab.slots().await, [1]);
    });
}

#[test]
fn f17_the_count_of_taken_slots_follows_the_rows() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        lab.running(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET allocated_count = 7")
            .await;
        assert_eq!(lab.world.refresh().await["slots"], json!(1));
        assert_eq!(lab.slots().await, [1]);
        assert_eq!(lab.world.refresh().await["slots"], json!(0));
        let node = lab.world.seen_node("n1").await;
        assert_eq!(
            (&node["allocatedCount"], &node["utilizationPct"]),
            (&json!(1), &json!(12))
        );
    });
}

#[test]
fn hosts_that_are_away_or_are_not_who_they_were_are_told_apart() {
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
        lab.later(MINUTE).await;
        let done = lab.world.refresh().await;
        assert_eq!(
            (&done["hosts"], &done["read"], &done["late"]),
            (&json!(3), &json!(1), &json!(0)),
            "{done}"
        );
        let fleet = lab.world.fleet().await;
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
        // F24: a host without a pin is pinned at its first connection, and that is told.
        let told = alerts(&nodes[2]);
        assert!(
            told.iter().any(|(severity, _)| *severity == json!("info")),
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
fn a_pass_over_warm_connections_makes_no_new_one() {
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        for _ in 0..3 {
            assert_eq!(lab.world.refresh().await["read"], json!(2));
        }
        for host in &lab.hosts {
            assert_eq!(host.sshd.connections().expect("a count"), 1);
        }
        // A host that was away in between is found again by the same process.
        lab.hosts[0].sshd.stop().expect("a stop");
        assert_eq!(lab.world.refresh().await["read"], json!(1));
        lab.hosts[0].sshd.start_again().await.expect("a start");
        assert_eq!(lab.world.refresh().await["read"], json!(2));
    });
}

#[test]
fn an_older_deployment_is_looked_at_and_its_agents_are_left_alone() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let agent = placed(&lab, None).await;
        lab.world
            .execute("UPDATE billing_adoption SET required = true, adopted_at = NULL; UPDATE docker_nodes SET allocated_count = 5")
            .await;
        for _ in 0..2 {
            lab.world.refresh().await;
            lab.later(MINUTE).await;
        }
        assert_eq!(lab.world.seen(agent).await["liveHealth"], json!("missing"));
        assert_eq!(lab.place(agent).await["status"], json!("running"));
        assert_eq!(lab.slots().await, [5]);
    });
}

#[test]
fn one_pass_goes_on_at_a_time_and_a_dead_ones_lease_ends() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let silent = dev::host::Silent::start().expect("a silent host");
        sqlx::query(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint)
            VALUES ('silent', '127.0.0.1', $1, 'root', 'SHA256:' || repeat('A', 43))",
        )
        .bind(i32::from(silent.port()))
        .execute(&lab.world.pool)
        .await
        .expect("a node");
        let first = lab.world.function("fleet-refresh").start().await;
        let (began, beside) =
            tokio::join!(first.invoke(json!({}), Duration::from_mins(1)), async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                lab.world.refresh().await
            });
        assert_eq!(beside["outcome"], json!("busy"));
        let Outcome::Success(done) = began else {
            panic!("{began:?}")
        };
        assert_eq!(
            (&done["outcome"], &done["read"], &done["late"]),
            (&json!("done"), &json!(1), &json!(0))
        );

        // Somebody asked before that pass began: the question is answered.
        let asked = json!({"detail": {"requestedAt": "2026-02-28T23:59:59Z"}});
        let fresh = lab.world.try_refresh(asked).await;
        assert!(
            matches!(&fresh, Outcome::Success(answer) if answer["outcome"] == json!("fresh")),
            "{fresh:?}"
        );

        let dying = first.invoke(json!({}), Duration::from_mins(1));
        let (ended, ()) = tokio::join!(dying, async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            first.kill().await;
        });
        assert!(!matches!(ended, Outcome::Success(_)), "{ended:?}");
        assert_eq!(lab.world.refresh().await["outcome"], json!("busy"));
        lab.later(MINUTE).await;
        assert_eq!(lab.world.refresh().await["outcome"], json!("done"));
    });
}
