//! Ports of a host that somebody has taken who is in no row.

use std::net::{Ipv4Addr, TcpListener};

use dev::host::image;
use serde_json::json;
use tests::{Lab, run};

use super::{asked, fails, run_in, worker, works_now};

/// So often a start tries other ports.
const TRIES: u16 = 5;

/// Ports in a row on which nobody listens, held.
fn hold() -> (u16, Vec<TcpListener>) {
    for first in (18_790..19_700).step_by(usize::from(TRIES)) {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let held: Result<Vec<_>, _> = (first..first + TRIES).map(bind).collect();
        if let Ok(held) = held {
            return (first, held);
        }
    }
    panic!("no free ports");
}

#[test]
fn a_port_that_somebody_else_has_taken_is_not_the_end() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let (first, mut held) = hold();
        // By the rows all other ports for bridges are taken.
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
        let bridge = async |agent| {
            let place = lab.place(agent).await;
            place["ports"][0].as_u64().expect("a port")
        };

        // All of them are taken on the host.
        let agent = lab.agent(json!({})).await;
        let job = fails(&lab, &worker(&lab), agent, "A port is taken").await;
        // All but the last two.
        held.truncate(usize::from(TRIES) - 2);
        lab.later(super::BACK_OFF).await;
        works_now(&lab, agent, job).await;
        let given = bridge(agent).await;
        let free = u64::from(first + TRIES - 2)..u64::from(first + TRIES);
        assert!(free.contains(&given), "{given}");
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;

        // The engine itself has published one for somebody.
        drop(held.remove(0));
        let engine = &lab.hosts[0].engine;
        let publish = json!([{"HostIp": "127.0.0.1", "HostPort": first.to_string()}]);
        let body = json!({
            "Image": image::SAMPLE, "ExposedPorts": {"31337/tcp": {}},
            "HostConfig": {
                "NetworkMode": "milady-agents", "PortBindings": {"31337/tcp": publish},
            },
        });
        engine.run("theirs", &body).await.expect("a container");
        drop(held);
        let agent = lab.agent(json!({})).await;
        let job = asked(&lab, agent).await;
        assert_eq!(run_in(&lab, &worker(&lab), job).await, "completed");
        let given = bridge(agent).await;
        let free = u64::from(first) + 1..u64::from(first + TRIES);
        assert!(free.contains(&given), "{given}");
        assert_eq!(
            lab.ask(agent, "status.get", json!({})).await["memories"],
            json!(0)
        );
        assert_eq!(lab.containers(agent).await, [1]);
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}
