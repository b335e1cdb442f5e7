//! What the log says of an action whose worker dies, or whose end cannot be written down.

use std::time::Duration;

use dev::runtime::Outcome;
use serde_json::json;
use tests::{Lab, run};
use uuid::Uuid;

use super::{
    AGENTS, Held, call, container, is_there, lab, last_entry, name, older, removal, until,
};

const SETTLING: &str = "LOCK TABLE admin_audit_log IN ACCESS EXCLUSIVE MODE";
const BEGUN: [&str; 2] = ["container.remove-ghost", "begun"];

/// A ghost that is old enough: its name and id.
async fn ghost(lab: &Lab) -> (String, String) {
    let engine = &lab.hosts[0].engine;
    let name = name(Uuid::new_v4());
    let id = container(engine, &name, None).await;
    older(engine, &[&id], 60).await;
    (name, id)
}

async fn is_begun(lab: &Lab) -> bool {
    last_entry(&lab.world).await == json!([BEGUN[0], BEGUN[1], null])
}

#[test]
fn a_worker_that_dies_before_the_effect_leaves_a_begun_entry_and_the_container() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let (name, id) = ghost(&lab).await;
        let request = removal("n1", &name, &id).key(&lab.key);
        let instance = lab.world.function_of(&request).start().await;
        let event = lab.world.event(&request);
        let held = Held::on(&lab.world, AGENTS).await;
        let acting = instance.invoke(event, Duration::from_secs(29));
        let death = async {
            lab.world.until_somebody_waits().await;
            instance.kill().await;
        };
        let (outcome, ()) = tokio::join!(acting, death);
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        held.and("").await;
        assert!(is_begun(&lab).await);
        assert!(is_there(&lab.hosts[0].engine, &id).await);
        let again = call(&lab, removal("n1", &name, &id)).await;
        assert_eq!(again.status(), 200, "{again:?}");
    });
}

#[test]
fn a_worker_that_dies_after_the_effect_leaves_a_begun_entry_too() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let (name, id) = ghost(&lab).await;
        let request = removal("n1", &name, &id).key(&lab.key);
        let instance = lab.world.function_of(&request).start().await;
        let event = lab.world.event(&request);
        let held = Held::on(&lab.world, AGENTS).await;
        let acting = instance.invoke(event, Duration::from_secs(29));
        let death = async {
            lab.world.until_somebody_waits().await;
            let settling = Held::on(&lab.world, SETTLING).await;
            held.and("").await;
            until("the removal", async || !is_there(engine, &id).await).await;
            lab.world.until_somebody_waits().await;
            instance.kill().await;
            settling.and("").await;
        };
        let (outcome, ()) = tokio::join!(acting, death);
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        assert!(is_begun(&lab).await);
    });
}

#[test]
fn an_end_that_cannot_be_written_down_does_not_undo_what_was_done() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let (name, id) = ghost(&lab).await;
        lab.world
            .execute(
                "CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'not here'; END $$;
                CREATE TRIGGER test_refuse BEFORE UPDATE ON admin_audit_log
                    FOR EACH ROW EXECUTE FUNCTION test_refuse();",
            )
            .await;
        let answer = call(&lab, removal("n1", &name, &id)).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(!is_there(&lab.hosts[0].engine, &id).await);
        assert!(is_begun(&lab).await);
        let logs = lab.world.logs("container-action").await.join("\n");
        assert!(logs.contains("was not written down"), "{logs}");
    });
}
