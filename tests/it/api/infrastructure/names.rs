//! What the response holds beyond the snapshot.

use serde_json::json;
use shared::domain::fleet::FleetSnapshot;
use shared::domain::ids::OrganizationId;
use tests::suite::epoch;
use tests::{fleet, run};

use super::Operations;

#[test]
fn agents_are_shown_with_the_names_of_their_organizations_and_the_kinds_of_their_images() {
    run(async {
        let operations = Operations::new().await;
        let world = &operations.world;
        let organization = world.organization("5").await;
        let mut refresh_run = fleet::refresh_run(1, 2, epoch());
        for agent in &mut refresh_run.agents {
            agent.organization_id = OrganizationId::new(organization);
        }
        refresh_run.agents[1].docker_image = Some("milady/other:1".to_owned());
        let snapshot = FleetSnapshot::of(&refresh_run, epoch());
        world.cache_snapshot(&snapshot, epoch()).await;
        let shown = operations.get("").await.json();
        let agents = shown["data"]["containers"].as_array().expect("agents");
        for agent in agents {
            let named = agent["organizationId"] == json!(organization);
            assert_eq!(agent["organizationName"] == json!("Test"), named, "{agent}");
            let is_other = agent["dockerImage"] == json!("milady/other:1");
            let kind = if is_other { "custom" } else { "managed" };
            assert_eq!(agent["containerKind"], json!(kind), "{agent}");
        }
        let kinds = agents.iter().map(|agent| &agent["containerKind"]);
        assert!(kinds.into_iter().any(|kind| kind == "custom"));
    });
}
