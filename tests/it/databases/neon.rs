//! Neon projects, against a stand-in that follows Neon's API reference.

use std::time::{Duration, Instant};

use axum::http::Method;
use dev::host::SilentPort;
use serde_json::json;
use shared::agent_databases::{DatabaseErrorReason, Neon, NeonProject};
use shared::domain::ids::AgentId;
use tests::neon::{Fault, KEY, NeonApi};
use tests::{reason, run};
use uuid::Uuid;

fn neon(api: &NeonApi) -> Neon {
    Neon::new(KEY, &api.url()).expect("a key")
}

async fn ensure(api: &NeonApi, agent_id: AgentId) -> NeonProject {
    neon(api).ensure(agent_id).await.expect("a project")
}

#[test]
fn a_project_is_created_once_and_then_found() {
    run(async {
        let api = NeonApi::start().await;
        let (agent_id, name) = agent();
        // A project whose name only contains the agent's name is not the agent's.
        let _ = api.add_project(&format!("{name}-copy"));
        let first = ensure(&api, agent_id).await;
        let host = format!("@{}.neon.example/neondb", first.project_id);
        assert!(first.uri.contains(&host), "{}", first.uri);
        assert_eq!(api.take_requests(), ["GET /projects", "POST /projects"]);
        assert_eq!(ensure(&api, agent_id).await, first);
        let uri = format!("GET /projects/{}/connection_uri", first.project_id);
        assert_eq!(api.take_requests(), ["GET /projects", &uri]);
        assert_eq!(api.project_names(), [format!("{name}-copy"), name]);
        let neon = neon(&api);
        let ensuring = tokio::spawn(async move { neon.ensure(AgentId::new(Uuid::new_v4())).await });
        let other = ensuring.await.expect("no panic").expect("a project");
        assert_ne!(other.project_id, first.project_id);
        assert!(!format!("{first:?}").contains("word"));
    });
}

#[test]
fn f42_a_new_project_has_a_quota_for_its_size() {
    run(async {
        let api = NeonApi::start().await;
        let neon = neon(&api).with_quota(1 << 30);
        assert!(neon.ensure(agent().0).await.is_ok());
        let quota = json!({"quota": {"logical_size_bytes": 1_073_741_824}});
        assert_eq!(api.last_settings(), quota);
    });
}

/// A new agent's id, and the name of its project.
fn agent() -> (AgentId, String) {
    let agent_id = AgentId::new(Uuid::new_v4());
    (agent_id, format!("milady-{agent_id}"))
}

#[test]
fn a_creation_with_a_lost_response_is_found_and_not_repeated() {
    run(async {
        for (fault, expected) in [
            (Fault::LostAnswer, DatabaseErrorReason::Unreachable),
            (Fault::DoneWithStatus(500), DatabaseErrorReason::Unavailable),
            (Fault::DoneWithStatus(504), DatabaseErrorReason::Unavailable),
        ] {
            let api = NeonApi::start().await;
            let (agent_id, name) = agent();
            api.fail_next(Method::POST, fault);
            assert_eq!(
                reason(neon(&api).ensure(agent_id).await),
                Err(expected),
                "{fault:?}"
            );
            assert_eq!(api.take_requests(), ["GET /projects", "POST /projects"]);
            ensure(&api, agent_id).await;
            assert_eq!(api.project_names(), [name]);
        }
    });
}

#[test]
fn deleting_by_id_or_by_name_can_be_repeated() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent_id, name), neon) = (agent(), neon(&api));
        let other = api.add_project(&format!("{name}-copy"));
        let project = ensure(&api, agent_id).await;
        let id = Some(project.project_id.as_str());
        for _ in 0..2 {
            assert_eq!(reason(neon.delete(agent_id, id).await), Ok(()));
            assert_eq!(api.project_names(), [format!("{name}-copy")]);
        }
        ensure(&api, agent_id).await;
        // Without an id, all projects of the name are removed.
        let _ = api.add_project(&name);
        for _ in 0..2 {
            assert_eq!(reason(neon.delete(agent_id, None).await), Ok(()));
            assert_eq!(api.project_names(), [format!("{name}-copy")]);
        }
        // A duplicate that Neon cannot read at the moment is not forgotten.
        ensure(&api, agent_id).await;
        let _ = api.add_project(&name);
        api.fail_next(Method::GET, Fault::LastUnavailable);
        let incomplete = neon.delete(agent_id, None).await;
        assert_eq!(reason(incomplete), Err(DatabaseErrorReason::Unavailable));
        assert_eq!(api.project_names(), [format!("{name}-copy"), name.clone()]);
        assert_eq!(reason(neon.delete(agent_id, None).await), Ok(()));
        assert_eq!(api.project_names(), [format!("{name}-copy")]);
        // A DELETE with a lost response is repeated.
        api.fail_next(Method::DELETE, Fault::DoneWithStatus(502));
        assert_eq!(reason(neon.delete(agent_id, Some(&other)).await), Ok(()));
        assert_eq!(api.project_names(), Vec::<String>::new());
        let traversal = neon.delete(agent_id, Some("../organizations")).await;
        assert_eq!(reason(traversal), Err(DatabaseErrorReason::Protocol));
    });
}

#[test]
fn temporary_failures_are_repeated_up_to_the_limits() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent_id, name), neon) = (agent(), neon(&api));
        for status in [423, 429, 500] {
            api.fail_next(Method::GET, Fault::Status(status));
        }
        for status in [423, 429, 503] {
            api.fail_next(Method::POST, Fault::Status(status));
        }
        let project = ensure(&api, agent_id).await;
        let requests = api.take_requests();
        let count = |method: &str| {
            requests
                .iter()
                .filter(|request| request.starts_with(method))
                .count()
        };
        assert_eq!((count("GET"), count("POST")), (4, 4));
        assert_eq!(api.project_names(), [name.as_str()]);
        api.fail_next(Method::DELETE, Fault::RetryAfter(423, 1));
        let began = Instant::now();
        assert_eq!(
            reason(neon.delete(agent_id, Some(&project.project_id)).await),
            Ok(())
        );
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        // A long `Retry-After` ends the attempts at once, the fifth attempt ends them at last.
        let _ = api.take_requests();
        api.fail_next(Method::GET, Fault::RetryAfter(429, 60));
        assert_eq!(
            reason(neon.ensure(agent_id).await),
            Err(DatabaseErrorReason::Unavailable)
        );
        assert_eq!(api.take_requests().len(), 1);
        for _ in 0..5 {
            api.fail_next(Method::GET, Fault::Status(503));
        }
        assert_eq!(
            reason(neon.ensure(agent_id).await),
            Err(DatabaseErrorReason::Unavailable)
        );
        assert_eq!(api.take_requests().len(), 5);
        assert_eq!(api.project_names(), Vec::<String>::new());
    });
}

#[test]
fn every_failure_has_its_reason_and_creates_nothing() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent_id, _), neon) = (agent(), neon(&api));
        let wrong_key = Neon::new("another", &api.url()).expect("a key");
        assert_eq!(
            reason(wrong_key.ensure(agent_id).await),
            Err(DatabaseErrorReason::Refused)
        );
        assert_eq!(
            reason(wrong_key.delete(agent_id, None).await),
            Err(DatabaseErrorReason::Refused)
        );
        for (fault, expected) in [
            (Fault::Status(403), DatabaseErrorReason::Refused),
            (Fault::Status(400), DatabaseErrorReason::Refused),
            (Fault::Status(302), DatabaseErrorReason::Protocol),
            (Fault::Garbage, DatabaseErrorReason::Protocol),
            (Fault::LostAnswer, DatabaseErrorReason::Unreachable),
            (Fault::Incomplete, DatabaseErrorReason::Unavailable),
        ] {
            api.fail_next(Method::GET, fault);
            assert_eq!(
                reason(neon.ensure(agent_id).await),
                Err(expected),
                "{fault:?}"
            );
        }
        api.fail_next(Method::GET, Fault::Incomplete);
        assert_eq!(
            reason(neon.delete(agent_id, None).await),
            Err(DatabaseErrorReason::Unavailable)
        );
        assert_eq!(api.project_names(), Vec::<String>::new());
        let unreachable = Neon::new(KEY, "http://127.0.0.1:9").expect("a key");
        assert_eq!(
            reason(unreachable.ensure(agent_id).await),
            Err(DatabaseErrorReason::Unreachable)
        );
    });
}

#[test]
fn a_silent_service_times_out_and_its_late_creation_is_found() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent_id, name), neon) = (agent(), neon(&api));
        let silent = SilentPort::start().expect("a silent host");
        let silent_url = format!("http://127.0.0.1:{}", silent.port());
        let silent_neon = Neon::new(KEY, &silent_url).expect("a key");
        api.fail_next(Method::POST, Fault::NoReply);
        let began = Instant::now();
        let (ensured, dropped) =
            tokio::join!(neon.ensure(agent_id), silent_neon.delete(agent_id, None));
        let ensured = reason(ensured).map(drop);
        assert_eq!(ensured, Err(DatabaseErrorReason::TimedOut));
        assert_eq!(reason(dropped), Err(DatabaseErrorReason::TimedOut));
        assert!(
            (9..13).contains(&began.elapsed().as_secs()),
            "{:?}",
            began.elapsed()
        );
        ensure(&api, agent_id).await;
        assert_eq!(api.project_names(), [name]);
    });
}

#[test]
fn f65_a_reset_password_is_in_the_projects_new_uri() {
    run(async {
        let api = NeonApi::start().await;
        let project = ensure(&api, agent().0).await;
        let _ = api.take_requests();
        let id = project.project_id.as_str();
        let reset = neon(&api).reset_password(id).await.expect("a project");
        assert_eq!(reset.project_id, project.project_id);
        assert_ne!(reset.uri, project.uri);
        assert_eq!(
            api.take_requests(),
            [
                format!("GET /projects/{id}/branches"),
                format!("POST /projects/{id}/branches/br-main/roles/neondb_owner/reset_password"),
                format!("GET /projects/{id}/connection_uri"),
            ]
        );
    });
}
