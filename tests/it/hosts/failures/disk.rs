//! A host whose disk is full.

use dev::host::{Engine, image};
use serde_json::json;
use tests::{Lab, run};

use super::{assert_retry_succeeds, assert_start_fails, worker};

#[test]
fn a_start_on_a_full_disk_succeeds_once_there_is_space() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let small = Engine::start_with_disk_size("small", 24)
            .await
            .expect("an engine");
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

        // This storage driver copies the image for each container.
        let body = json!({"Image": image::SAMPLE});
        let mut fillers = 0;
        let error = loop {
            let path = format!("/containers/create?name=filler{fillers}");
            match engine.call("POST", &path, Some(&body)).await {
                Ok(_) => fillers += 1,
                Err(error) => break error.to_string(),
            }
            assert!(fillers < 50, "the disk is not small");
        };
        assert!(error.contains("no space left on device"), "{error}");
        assert!(fillers > 0);

        let agent = lab.agent(json!({})).await;
        let job = assert_start_fails(&lab, &worker(&lab), agent, "The host's disk is full").await;
        assert_eq!(lab.volumes(agent).await, [0]);
        for filler in 0..fillers {
            let name = format!("filler{filler}");
            engine.remove(&name).await.expect("removed");
        }
        assert_retry_succeeds(&lab, agent, job).await;
    });
}
