//! What is on the hosts against what the rows say.

use std::time::{Duration, Instant};

use dev::host::Silent;
use serde_json::{Value, json};
use tests::run;
use uuid::Uuid;

use super::super::bad::Canary;
use super::{AUDIT, Held, container, lab, name};

#[test]
fn ghosts_and_orphans_are_found_and_nothing_else() {
    run(async {
        let Some(lab) = lab(2).await else {
            return;
        };
        let (one, other) = (&lab.hosts[0].engine, &lab.hosts[1].engine);
        let placed = async |columns: &'static str| {
            let agent = lab.agent(json!({})).await;
            lab.world.set(agent, columns).await;
            agent
        };
        let running = "status = 'running', node_id = 'n1', container_name = 'milady-' || id";
        let well = placed(running).await;
        container(one, &name(well), Some(well)).await;
        let missing = placed(running).await;
        let disconnected =
            placed("status = 'disconnected', node_id = 'n1', container_name = 'milady-' || id")
                .await;
        // In error, and its row goes on naming a container, which holds a slot.
        let failed = placed("status = 'error', node_id = 'n2', container_name = 'odd-name'").await;
        // None of these expects one.
        for columns in [
            "status = 'error', node_id = 'n1'",
            "status = 'stopped', node_id = 'n1'",
            "status = 'pending'",
            "status = 'provisioning', node_id = 'n1', container_name = 'milady-' || id",
            "status = 'running', node_id = 'gone', container_name = 'milady-' || id",
        ] {
            placed(columns).await;
        }
        let second = container(other, &name(well), Some(well)).await;
        let exited = name(Uuid::new_v4());
        let exited_id = container(one, &exited, None).await;
        one.kill(&exited).await.expect("killed");
        container(one, "postgres", None).await;
        // What a stopped agent has left is its own.
        let stopped = placed("status = 'stopped', node_id = 'n2'").await;
        container(other, &name(stopped), Some(stopped)).await;

        let answer = lab.world.post(&lab.key, AUDIT).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let data = answer.json()["data"].clone();
        assert_eq!(data["nodesChecked"], json!(2));
        assert_eq!(
            data["ghostContainers"],
            json!([
                {"nodeId": "n1", "hostname": "127.0.0.1", "names": [exited]},
                {"nodeId": "n2", "hostname": "127.0.0.1", "names": [name(well)]},
            ])
        );
        let orphan = |agent: Uuid, name: String| json!({"id": agent, "containerName": name});
        let mut first = vec![missing, disconnected];
        first.sort();
        let first: Vec<Value> = first.into_iter().map(|id| orphan(id, name(id))).collect();
        let last = orphan(failed, "odd-name".to_owned());
        let mut all = first.clone();
        all.push(last.clone());
        assert_eq!(data["orphanRecords"], json!(all));
        assert_eq!(data["totalGhostContainers"], json!(2));
        assert_eq!(data["totalOrphanRecords"], json!(3));
        let nodes = &data["nodes"];
        assert_eq!(nodes[0]["orphans"], json!(first));
        assert_eq!(nodes[1]["orphans"], json!([last]));
        assert_eq!(nodes[0]["ghosts"][0]["containerId"], json!(exited_id));
        assert_eq!(nodes[0]["ghosts"][0]["state"], json!("exited"));
        assert_eq!(nodes[1]["ghosts"][0]["containerId"], json!(second));
        assert_eq!(nodes[1]["ghosts"][0]["elsewhere"], json!("n1"));
        for node in [&nodes[0], &nodes[1]] {
            assert_eq!(
                (&node["read"], &node["error"]),
                (&json!(true), &Value::Null)
            );
        }
    });
}

/// A start names its container in its row before it makes it: hosts are read first.
#[test]
fn what_is_claimed_while_the_hosts_are_read_is_no_ghost() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let agent = lab.agent(json!({})).await;
        container(&lab.hosts[0].engine, &name(agent), Some(agent)).await;
        let held = Held::on(&lab.world, super::AGENTS).await;
        let claim = async {
            lab.world.until_somebody_waits().await;
            held.and(
                "UPDATE milady_sandboxes SET status = 'provisioning', node_id = 'n1',
                    container_name = 'milady-' || id",
            )
            .await;
        };
        let (answer, ()) = tokio::join!(lab.world.post(&lab.key, AUDIT), claim);
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.json()["data"]["totalGhostContainers"], json!(0));
    });
}

/// F19, F23: twenty hosts that say nothing, one that is down, one without Docker, and one that is well.
#[test]
fn f23_silent_hosts_cost_no_more_than_their_own_part_of_the_answer() {
    run(async {
        let Some(lab) = lab(2).await else {
            return;
        };
        let silent = Silent::start().expect("a port");
        sqlx::query(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, host_key_fingerprint)
            SELECT 's' || to_char(n, 'FM00'), '127.0.0.1', CASE n WHEN 0 THEN 9 ELSE $1 END, 'x'
            FROM generate_series(0, 20) n",
        )
        .bind(i32::from(silent.port()))
        .execute(&lab.world.pool)
        .await
        .expect("hosts");
        let ghost = name(Uuid::new_v4());
        container(&lab.hosts[0].engine, &ghost, None).await;
        lab.hosts[1].engine.stop().expect("stopped");
        for node in ["'n1'", "'n2'", "'s00'", "'s01'"] {
            let agent = lab.agent(json!({})).await;
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "UPDATE milady_sandboxes SET status = 'running', node_id = {node},
                    container_name = 'c' WHERE id = $1"
            )))
            .bind(agent)
            .execute(&lab.world.pool)
            .await
            .expect("an agent");
        }
        let began = Instant::now();
        let answer = lab.world.post(&lab.key, AUDIT).await;
        let took = began.elapsed();
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(took < Duration::from_secs(22), "{took:?}");
        let data = answer.json()["data"].clone();
        assert_eq!(data["nodesChecked"], json!(1));
        assert_eq!(
            (&data["totalGhostContainers"], &data["totalOrphanRecords"]),
            (&json!(1), &json!(1))
        );
        let nodes = data["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 23);
        let error = |n: usize| nodes[n]["error"].as_str();
        assert_eq!(error(0), None);
        assert_eq!(error(1), Some("Docker does not answer on the host"));
        assert_eq!(error(2), Some("The host cannot be reached"));
        let (mut silent, mut late) = (0, 0);
        for n in 3..nodes.len() {
            match error(n) {
                Some("The host did not answer in time") => silent += 1,
                Some("The host was not inspected in time") => late += 1,
                other => panic!("{n} {other:?}"),
            }
        }
        // Sixteen at a time, ten seconds each; the others had no time of their own.
        assert!(silent >= 13 && silent + late == 20, "{silent} {late}");
        let mut text = answer.json();
        text["data"]["ghostContainers"] = Value::Null;
        Canary::of(&lab).is_silent_in(&text.to_string());
        for line in lab.world.logs("container-audit").await {
            Canary::of(&lab).is_silent_in(&line);
        }
    });
}
