//! Which version of an image an agent gets, with a registry whose tags move.

use dev::host::{Registry, image};
use serde_json::{Value, json};
use tests::lab::can_run;
use tests::{Lab, run};
use uuid::Uuid;

/// The image in the agent's row, the recorded digest, and the engine's identifier of the image that it runs.
async fn version(lab: &Lab, agent: Uuid) -> (Option<String>, Option<String>, Value) {
    let row: (Option<String>, Option<String>) =
        sqlx::query_as("SELECT docker_image, image_digest FROM milady_sandboxes WHERE id = $1")
            .bind(agent)
            .fetch_one(&lab.world.pool)
            .await
            .expect("an agent");
    let path = format!("/containers/milady-{agent}/json");
    let container = lab.hosts[0].engine.call("GET", &path, None).await;
    let id = container.expect("a container")["Image"].clone();
    (row.0, row.1, id)
}

async fn restart(lab: &Lab, agent: Uuid) {
    let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
    assert_eq!(outcome, "completed");
    lab.start(agent).await;
}

#[test]
fn f69_a_start_takes_the_version_that_the_tag_names_now_and_the_row_names_what_was_asked_for() {
    run(async {
        if !can_run(&Registry::availability()) {
            return;
        }
        // The second host only pushes images.
        let Some(mut lab) = Lab::new(2).await else {
            return;
        };
        let registry = Registry::start().await.expect("a registry");
        lab.world
            .execute("UPDATE docker_nodes SET enabled = node_id = 'n1'")
            .await;
        let builder = &lab.hosts[1].engine;
        let pushed = registry.push(builder, image::SAMPLE, "team/agent").await;
        let default = pushed.expect("pushed");
        let (user, password) = registry.credentials();
        let accounts = json!({registry.name(): {"username": user, "password": password}});
        lab.allow_images(&registry.name());
        let settings = [
            ("DEFAULT_AGENT_IMAGE", default.clone()),
            ("REGISTRY_ACCOUNTS", accounts.to_string()),
        ];
        for (name, value) in settings {
            lab.world.settings.insert(name.to_owned(), value);
        }

        let agent = lab.running_agent(json!({})).await;
        let asking = lab.running_agent(json!({"dockerImage": default})).await;
        let (image, first_digest, first) = version(&lab, agent).await;
        assert_eq!(
            image, None,
            "the default image is not written into the agent"
        );
        assert!(
            first_digest
                .as_ref()
                .is_some_and(|digest| digest.starts_with("sha256:"))
        );
        assert_eq!(
            version(&lab, asking).await,
            (None, first_digest.clone(), first.clone())
        );

        // The tag moves. A running agent keeps its version, and the next start takes the new one.
        let builder = &lab.hosts[1].engine;
        let pushed = registry.push(builder, image::CHECKED, "team/agent").await;
        assert_eq!(pushed.expect("pushed"), default);
        assert_eq!(version(&lab, agent).await.2, first);
        restart(&lab, agent).await;
        let (_, second_digest, second) = version(&lab, agent).await;
        assert_ne!(second, first);
        assert_ne!(second_digest, first_digest);

        // The registry is gone: the agent starts with what its host has.
        drop(registry);
        restart(&lab, agent).await;
        assert_eq!(version(&lab, agent).await, (None, second_digest, second));

        // The worker reads its settings when it starts.
        lab.world.logs("job-run").await;
        // An image that was asked for stays in the row, and one that is made on the host has no digest.
        lab.world
            .settings
            .insert("DEFAULT_AGENT_IMAGE".to_owned(), image::SAMPLE.to_owned());
        let custom = lab.running_agent(json!({"dockerImage": default})).await;
        assert_eq!(version(&lab, custom).await.0, Some(default));
        let local = lab.running_agent(json!({})).await;
        let (image, digest, _) = version(&lab, local).await;
        assert_eq!((image, digest), (None, None));
    });
}
