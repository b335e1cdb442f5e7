//! `/api/v1/admin/docker-containers` and `/api/v1/admin/infrastructure/containers/actions`, without a
//! host that answers

mod action;
mod audit;
mod list;
mod logs;

use serde_json::json;
use tests::suite::Request;
use tests::{World, run};
use uuid::Uuid;

const LIST: &str = "/api/v1/admin/docker-containers";
const AUDIT: &str = "/api/v1/admin/docker-containers/audit";
const ACTIONS: &str = "/api/v1/admin/infrastructure/containers/actions";

#[test]
fn only_super_admins_may_call_the_container_routes() {
    run(async {
        let world = World::new().await;
        let (_, walletless) = world.tenant("100").await;
        let (moderator, moderators_key) = world.tenant("100").await;
        world.make_admin(moderator, "moderator").await;
        let body = json!({"action": "inspect", "nodeId": "n1", "containerName": "c"});
        let logs = format!("{LIST}/{}/logs", Uuid::new_v4());
        for request in [
            Request::new("GET", LIST),
            Request::new("GET", &logs),
            Request::new("POST", AUDIT),
            Request::new("POST", ACTIONS).json(&body),
        ] {
            for (key, status) in [
                (None, 401),
                (Some("eliza_nonsense"), 401),
                (Some(walletless.as_str()), 403),
                (Some(moderators_key.as_str()), 403),
            ] {
                let request = match key {
                    Some(key) => request.clone().key(key),
                    None => request.clone(),
                };
                let answer = world.call(request).await;
                assert_eq!(answer.status(), status, "{answer:?}");
            }
        }
        let entries = world.count("SELECT count(*) FROM admin_audit_log").await;
        assert_eq!(entries, 0);
    });
}
