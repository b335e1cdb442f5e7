//! The audit log of an action whose worker dies, or whose result cannot be written.

use std::time::Duration;

use dev::runtime::Outcome;
use serde_json::json;
use tests::{Lab, run, wait_until};
use uuid::Uuid;

use super::{
    LOCK_AGENTS, TableLock, backdate, call, container_name, exists, lab, last_audit_entry,
    remove_ghost_request, run_container,
};

const LOCK_AUDIT_LOG: &str = "LOCK TABLE admin_audit_log IN ACCESS EXCLUSIVE MODE";
const BEGUN: [&str; 2] = ["container.remove-ghost", "begun"];

/// The name and id of an unclaimed container that is old enough to be removed.
async fn run_old_unclaimed_container(lab: &Lab) -> (String, String) {
    let engine = &lab.hosts[0].engine;
    let name = container_name(Uuid::new_v4());
    let id = run_container(engine, &name, None).await;
    backdate(engine, &[&id], 60).await;
    (name, id)
}

async fn last_entry_is_begun(lab: &Lab) -> bool {
    last_audit_entry(&lab.world).await == json!([BEGUN[0], BEGUN[1], null])
}

#[test]
fn a_worker_that_dies_before_the_removal_leaves_a_begun_entry_and_the_container() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let (name, id) = run_old_unclaimed_container(&lab).await;
        let request = remove_ghost_request("n1", &name, &id).key(&lab.api_key);
        let instance = lab.world.function_for(&request).start().await;
        let event = lab.world.event(&request);
        let lock = TableLock::acquire(&lab.world, LOCK_AGENTS).await;
        let acting = instance.invoke(event, Duration::from_secs(29));
        let death = async {
            lab.world.wait_until_a_session_is_blocked().await;
            instance.kill().await;
        };
        let (outcome, ()) = tokio::join!(acting, death);
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        lock.run_and_release("").await;
        assert!(last_entry_is_begun(&lab).await);
        assert!(exists(&lab.hosts[0].engine, &id).await);
        let again = call(&lab, remove_ghost_request("n1", &name, &id)).await;
        assert_eq!(again.status(), 200, "{again:?}");
    });
}

#[test]
fn a_worker_that_dies_after_the_removal_leaves_a_begun_entry() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let (name, id) = run_old_unclaimed_container(&lab).await;
        let request = remove_ghost_request("n1", &name, &id).key(&lab.api_key);
        let instance = lab.world.function_for(&request).start().await;
        let event = lab.world.event(&request);
        let lock = TableLock::acquire(&lab.world, LOCK_AGENTS).await;
        let acting = instance.invoke(event, Duration::from_secs(29));
        let death = async {
            lab.world.wait_until_a_session_is_blocked().await;
            let settling = TableLock::acquire(&lab.world, LOCK_AUDIT_LOG).await;
            lock.run_and_release("").await;
            wait_until("the removal", async || !exists(engine, &id).await).await;
            lab.world.wait_until_a_session_is_blocked().await;
            instance.kill().await;
            settling.run_and_release("").await;
        };
        let (outcome, ()) = tokio::join!(acting, death);
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        assert!(last_entry_is_begun(&lab).await);
    });
}

#[test]
fn a_result_that_cannot_be_written_does_not_fail_the_request() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let (name, id) = run_old_unclaimed_container(&lab).await;
        lab.world
            .execute(
                "CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'not here'; END $$;
                CREATE TRIGGER test_refuse BEFORE UPDATE ON admin_audit_log
                    FOR EACH ROW EXECUTE FUNCTION test_refuse();",
            )
            .await;
        let response = call(&lab, remove_ghost_request("n1", &name, &id)).await;
        assert_eq!(response.status(), 200, "{response:?}");
        assert!(!exists(&lab.hosts[0].engine, &id).await);
        assert!(last_entry_is_begun(&lab).await);
        let logs = lab.world.logs("container-action").await.join("\n");
        assert!(logs.contains("not recorded"), "{logs}");
    });
}
