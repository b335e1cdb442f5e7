//! Refresh runs: the connections they share, and the lease that lets one run at a time.

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use serde_json::json;
use tests::{Lab, run, wait_until};

const MINUTE: TimeDelta = TimeDelta::minutes(1);

#[test]
fn a_refresh_reuses_connections() {
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
        // The same process reconnects to a host that was down.
        lab.hosts[0].sshd.stop().expect("a stop");
        assert_eq!(lab.world.refresh().await["read"], json!(1));
        lab.hosts[0].sshd.restart().await.expect("a start");
        assert_eq!(lab.world.refresh().await["read"], json!(2));
    });
}

async fn wait_until_run_begins(lab: &Lab) {
    wait_until("a refresh run holds the lease", async || {
        lab.world.is_fleet_lease_taken().await
    })
    .await;
}

#[test]
fn only_one_refresh_runs_at_a_time_and_a_dead_ones_lease_expires() {
    run(async {
        let Some(lab) = Lab::new(1).await else {
            return;
        };
        let silent = dev::host::SilentPort::start().expect("a silent host");
        sqlx::query(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint)
            VALUES ('silent', '127.0.0.1', $1, 'root', 'SHA256:' || repeat('A', 43))",
        )
        .bind(i32::from(silent.port()))
        .execute(&lab.world.pool)
        .await
        .expect("a node");
        let first = lab.world.function("fleet-refresh").start().await;
        let (began, concurrent) =
            tokio::join!(first.invoke(json!({}), Duration::from_mins(1)), async {
                wait_until_run_begins(&lab).await;
                lab.world.refresh().await
            });
        assert_eq!(concurrent["outcome"], json!("busy"));
        let Outcome::Success(outcome) = began else {
            panic!("{began:?}")
        };
        assert_eq!(
            (&outcome["outcome"], &outcome["read"], &outcome["late"]),
            (&json!("done"), &json!(1), &json!(0))
        );

        // A request from before that run needs no further run.
        let request = json!({"detail": {"requestedAt": "2026-02-28T23:59:59Z"}});
        let repeated = lab.world.try_refresh(request).await;
        assert!(
            matches!(&repeated, Outcome::Success(answer) if answer["outcome"] == json!("fresh")),
            "{repeated:?}"
        );

        let dying = first.invoke(json!({}), Duration::from_mins(1));
        let (ended, ()) = tokio::join!(dying, async {
            wait_until_run_begins(&lab).await;
            first.kill().await;
        });
        assert!(!matches!(ended, Outcome::Success(_)), "{ended:?}");
        assert_eq!(lab.world.refresh().await["outcome"], json!("busy"));
        lab.advance_clock(MINUTE).await;
        assert_eq!(lab.world.refresh().await["outcome"], json!("done"));
    });
}
