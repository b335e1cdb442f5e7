//! Comparing the containers on the hosts with the rows.

use std::time::{Duration, Instant};

use dev::host::SilentPort;
use serde_json::{Value, json};
use tests::run;
use uuid::Uuid;

use super::super::failures::HostSecrets;
use super::{AUDIT, TableLock, container_name, lab, run_container};

#[test]
fn an_audit_reports_unclaimed_and_missing_containers_only() {
    run(async {
        let Some(lab) = lab(2).await else {
            return;
        };
        let (one, other) = (&lab.hosts[0].engine, &lab.hosts[1].engine);
        let placed = async |columns: &'static str| {
            let agent = lab.agent(json!({})).await;
            lab.world.set_columns(agent, columns).await;
            agent
        };
        let running = "status = 'running', node_id = 'n1', container_name = 'milady-' || id";
        let well = placed(running).await;
        run_container(one, &container_name(well), Some(well)).await;
        let missing = placed(running).await;
        let disconnected =
            placed("status = 'disconnected', node_id = 'n1', container_name = 'milady-' || id")
                .await;
        // An agent in error whose row still names a container, which occupies a slot.
        let failed = placed("status = 'error', node_id = 'n2', container_name = 'odd-name'").await;
        // These rows expect no container.
        for columns in [
            "status = 'error', node_id = 'n1'",
            "status = 'stopped', node_id = 'n1'",
            "status = 'pending'",
            "status = 'provisioning', node_id = 'n1', container_name = 'milady-' || id",
            "status = 'running', node_id = 'gone', container_name = 'milady-' || id",
        ] {
            placed(columns).await;
        }
        let second = run_container(other, &container_name(well), Some(well)).await;
        let exited = container_name(Uuid::new_v4());
        let exited_id = run_container(one, &exited, None).await;
        one.kill(&exited).await.expect("killed");
        run_container(one, "postgres", None).await;
        // The remaining container of a stopped agent is claimed by its row.
        let stopped = placed("status = 'stopped', node_id = 'n2'").await;
        run_container(other, &container_name(stopped), Some(stopped)).await;

        let response = lab.world.post(&lab.api_key, AUDIT).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let data = response.json()["data"].clone();
        assert_eq!(data["nodesChecked"], json!(2));
        assert_eq!(
            data["ghostContainers"],
            json!([
                {"nodeId": "n1", "hostname": "127.0.0.1", "names": [exited]},
                {"nodeId": "n2", "hostname": "127.0.0.1", "names": [container_name(well)]},
            ])
        );
        let orphan = |agent: Uuid, name: String| json!({"id": agent, "containerName": name});
        let mut first = vec![missing, disconnected];
        first.sort();
        let first: Vec<Value> = first
            .into_iter()
            .map(|id| orphan(id, container_name(id)))
            .collect();
        let last = orphan(failed, "odd-name".to_owned());
        let mut all = first.clone();
        all.push(last.clone());
        assert_eq!(data["orphanRecords"], json!(all));
        assert_eq!(data["totalGhostContainers"], json!(2));
        assert_eq!(data["totalOrphanRecords"], json!(3));
        let nodes = &data["nodes"];
        assert_eq!(nodes[0]["orphanRecords"], json!(first));
        assert_eq!(nodes[1]["orphanRecords"], json!([last]));
        assert_eq!(nodes[0]["ghostContainers"], json!([exited]));
        assert_eq!(nodes[0]["hostname"], json!("127.0.0.1"));
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

/// A start writes the container's name to the row before it creates the container, so the audit reads hosts
/// before rows.
#[test]
fn a_container_claimed_during_the_audit_is_not_reported() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let agent = lab.agent(json!({})).await;
        run_container(&lab.hosts[0].engine, &container_name(agent), Some(agent)).await;
        let lock = TableLock::acquire(&lab.world, super::LOCK_AGENTS).await;
        let claim = async {
            lab.world.wait_until_a_session_is_blocked().await;
            lock.run_and_release(
                "UPDATE milady_sandboxes SET status = 'provisioning', node_id = 'n1',
                    container_name = 'milady-' || id",
            )
            .await;
        };
        let (response, ()) = tokio::join!(lab.world.post(&lab.api_key, AUDIT), claim);
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.json()["data"]["totalGhostContainers"], json!(0));
    });
}

/// F19, F23: twenty silent hosts, one that is down, one without Docker, and one that works.
#[test]
fn f23_silent_hosts_do_not_delay_or_hide_the_others() {
    run(async {
        let Some(lab) = lab(2).await else {
            return;
        };
        let silent = SilentPort::start().expect("a port");
        sqlx::query(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, host_key_fingerprint)
            SELECT 's' || to_char(n, 'FM00'), '127.0.0.1', CASE n WHEN 0 THEN 9 ELSE $1 END, 'x'
            FROM generate_series(0, 20) n",
        )
        .bind(i32::from(silent.port()))
        .execute(&lab.world.pool)
        .await
        .expect("hosts");
        let unclaimed = container_name(Uuid::new_v4());
        run_container(&lab.hosts[0].engine, &unclaimed, None).await;
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
        let response = lab.world.post(&lab.api_key, AUDIT).await;
        let took = began.elapsed();
        assert_eq!(response.status(), 200, "{response:?}");
        assert!(took < Duration::from_secs(22), "{took:?}");
        let data = response.json()["data"].clone();
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
        // Sixteen hosts at a time, ten seconds each. The rest was not reached in time.
        assert!(silent >= 13 && silent + late == 20, "{silent} {late}");
        let mut text = response.json();
        text["data"]["ghostContainers"] = Value::Null;
        for node in text["data"]["nodes"].as_array_mut().expect("nodes") {
            // Operators know it from the list of hosts.
            node["hostname"] = Value::Null;
        }
        HostSecrets::of(&lab).assert_absent_from(&text.to_string());
        for line in lab.world.logs("container-audit").await {
            HostSecrets::of(&lab).assert_absent_from(&line);
        }
    });
}
