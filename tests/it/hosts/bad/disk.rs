//! A host whose disk is full.

use dev::host::{Engine, image};
use serde_json::json;
use tests::{Lab, run};

use super::{fails, worker, works};

#[test]
fn a_full_disk_is_said_and_the_next_try_works_once_there_is_room() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let small = Engine::start_small("small", 24).await.expect("an engine");
        image::import_as(&small, image::SAMPLE, &["CMD [\"/agent\"]"])
            .await
            .expect("the sample agent");
        sqlx::query("UPDATE docker_nodes SET metadata = metadata || $1")
            .bind(json!({"dockerSocket": small.socket()}))
            .execute(&lab.world.pool)
            .await
            .expect("a node");
        lab.hosts[0].engine = small;
        let engine = &lab.hosts[0].engine;

        // Each container is a copy of its image here.
        let body = json!({"Image": image::SAMPLE});
        let mut fillers = 0;
        let full = loop {
            let path = format!("/containers/create?name=filler{fillers}");
            match engine.call("POST", &path, Some(&body)).await {
                Ok(_) => fillers += 1,
                Err(error) => break error.to_string(),
            }
            assert!(fillers < 50, "the disk is not small");
        };
        assert!(full.contains("no space left on device"), "{full}");
        assert!(fillers > 0);

        let agent = lab.agent(json!({})).await;
        let job = fails(&lab, &worker(&lab), agent, "The host's disk is full").await;
        assert_eq!(lab.volumes(agent).await, [0]);
        for filler in 0..fillers {
            let name = format!("filler{filler}");
            engine.remove(&name).await.expect("removed");
        }
        works(&lab, agent, job).await;
    });
}
