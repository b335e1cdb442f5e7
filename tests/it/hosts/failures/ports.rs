//! Ports of a host that are taken, but free by the rows.

use std::net::{Ipv4Addr, TcpListener};

use dev::host::image;
use serde_json::json;
use tests::{Lab, run};

use super::{assert_job_succeeds, assert_start_fails, request_start, run_job, worker};

/// How many ports a start tries.
const PORT_ATTEMPTS: u16 = 5;

/// Occupies this many consecutive free ports. Returns the first port and the listeners.
fn occupy_ports() -> (u16, Vec<TcpListener>) {
    for first in (18_790..19_700).step_by(usize::from(PORT_ATTEMPTS)) {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let occupied: Result<Vec<_>, _> = (first..first + PORT_ATTEMPTS).map(bind).collect();
        if let Ok(occupied) = occupied {
            return (first, occupied);
        }
    }
    panic!("no free ports");
}

#[test]
fn a_start_tries_other_ports_if_its_port_is_taken() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let (first, mut occupied) = occupy_ports();
        lab.world.set_limit(lab.organization, "agents", 1_010).await;
        // By the rows, all other bridge ports are taken.
        sqlx::query(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, node_id,
                bridge_port)
            SELECT $1, (SELECT id FROM users WHERE organization_id = $1), 'other', 'stopped', 'n1',
                port
            FROM generate_series(18790, 19789) AS port
            WHERE port NOT BETWEEN $2 AND $2 + 4",
        )
        .bind(lab.organization)
        .bind(i32::from(first))
        .execute(&lab.world.pool)
        .await
        .expect("agents");
        let bridge_port = async |agent| {
            let placement = lab.placement(agent).await;
            placement["ports"][0].as_u64().expect("a port")
        };

        // All ports are taken on the host.
        let agent = lab.agent(json!({})).await;
        let job = assert_start_fails(&lab, &worker(&lab), agent, "A port is taken").await;
        // All but the last two ports are taken.
        occupied.truncate(usize::from(PORT_ATTEMPTS) - 2);
        lab.advance_clock(super::RETRY_AFTER).await;
        assert_job_succeeds(&lab, agent, job).await;
        let port = bridge_port(agent).await;
        let free = u64::from(first + PORT_ATTEMPTS - 2)..u64::from(first + PORT_ATTEMPTS);
        assert!(free.contains(&port), "{port}");
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;

        // One port is published by another container.
        drop(occupied.remove(0));
        let engine = &lab.hosts[0].engine;
        let publish = json!([{"HostIp": "127.0.0.1", "HostPort": first.to_string()}]);
        let body = json!({
            "Image": image::SAMPLE, "ExposedPorts": {"31337/tcp": {}},
            "HostConfig": {
                "NetworkMode": "milady-agents", "PortBindings": {"31337/tcp": publish},
            },
        });
        engine.run("theirs", &body).await.expect("a container");
        drop(occupied);
        let agent = lab.agent(json!({})).await;
        let job = request_start(&lab, agent).await;
        assert_eq!(run_job(&lab, &worker(&lab), job).await, "completed");
        let port = bridge_port(agent).await;
        let free = u64::from(first) + 1..u64::from(first + PORT_ATTEMPTS);
        assert!(free.contains(&port), "{port}");
        assert_eq!(
            lab.bridge_result(agent, "status.get", json!({})).await["memories"],
            json!(0)
        );
        assert_eq!(lab.containers(agent).await, [1]);
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}
