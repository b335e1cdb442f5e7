//! What the response holds beyond the snapshot.

use dev::sim::{Health, Script};
use serde_json::json;
use tests::run;
use tests::simulated_world::SimulatedWorld;

use super::FLEET;

#[test]
fn agents_are_shown_with_the_names_of_their_organizations_and_the_kinds_of_their_images() {
    run(async {
        let hosts = vec![Script::new("a"), Script::new("b")];
        let fleet = SimulatedWorld::new(hosts, 2, Health::Healthy).await;
        let world = &fleet.world;
        let custom = fleet.agents[0][1];
        world
            .set_columns(custom, "docker_image = 'milady/other:1'")
            .await;
        assert_eq!(world.refresh().await["outcome"], json!("done"));
        let shown = world.get(&fleet.operator, FLEET).await.json();
        let agents = shown["data"]["containers"].as_array().expect("agents");
        assert_eq!(agents.len(), 4, "{shown}");
        for agent in agents {
            assert_eq!(agent["organizationName"], json!("Test"), "{agent}");
            let is_custom = agent["id"] == json!(custom);
            let kind = if is_custom { "custom" } else { "managed" };
            assert_eq!(agent["containerKind"], json!(kind), "{agent}");
        }
    });
}
