//! Projects at Neon, against a stand-in that behaves as the API's reference says.

use std::time::{Duration, Instant};

use axum::http::Method;
use dev::host::Silent;
use shared::agent_databases::{DatabaseError, Neon, NeonProject};
use tests::neon::{Fault, KEY, NeonApi};
use tests::run;
use uuid::Uuid;

fn neon(api: &NeonApi) -> Neon {
    Neon::new(KEY, &api.url()).expect("a key")
}

async fn ensured(api: &NeonApi, agent: Uuid) -> NeonProject {
    neon(api).ensure(agent).await.expect("a project")
}

#[test]
fn a_project_is_made_once_and_found_again() {
    run(async {
        let api = NeonApi::start().await;
        let (agent, name) = agent();
        // Names that hold the same text are not the same name.
        let _ = api.put(&format!("{name}-copy"));
        let first = ensured(&api, agent).await;
        let host = format!("@{}.neon.example/neondb", first.project_id);
        assert!(first.uri.contains(&host), "{}", first.uri);
        assert_eq!(api.requests(), ["GET /projects", "POST /projects"]);
        assert_eq!(ensured(&api, agent).await, first);
        let uri = format!("GET /projects/{}/connection_uri", first.project_id);
        assert_eq!(api.requests(), ["GET /projects", &uri]);
        assert_eq!(api.names(), [format!("{name}-copy"), name]);
        let neon = neon(&api);
        let other = tokio::spawn(async move { neon.ensure(Uuid::new_v4()).await });
        let other = other.await.expect("no panic").expect("a project");
        assert_ne!(other.project_id, first.project_id);
        assert!(!format!("{first:?}").contains("word"));
    });
}

fn agent() -> (Uuid, String) {
    let agent = Uuid::new_v4();
    (agent, format!("milady-{agent}"))
}

#[test]
fn a_creation_whose_answer_is_lost_is_not_repeated_but_found() {
    run(async {
        for (fault, kind) in [
            (Fault::LostAnswer, DatabaseError::Unreachable),
            (Fault::DoneBut(500), DatabaseError::Unavailable),
            (Fault::DoneBut(504), DatabaseError::Unavailable),
        ] {
            let api = NeonApi::start().await;
            let (agent, name) = agent();
            api.fail(Method::POST, fault);
            assert_eq!(neon(&api).ensure(agent).await, Err(kind), "{fault:?}");
            assert_eq!(api.requests(), ["GET /projects", "POST /projects"]);
            ensured(&api, agent).await;
            assert_eq!(api.names(), [name]);
        }
    });
}

#[test]
fn a_project_goes_by_its_id_or_by_its_name_and_twice() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent, name), neon) = (agent(), neon(&api));
        let other = api.put(&format!("{name}-copy"));
        let made = ensured(&api, agent).await;
        let id = Some(made.project_id.as_str());
        for _ in 0..2 {
            assert_eq!(neon.drop(agent, id).await, Ok(()));
            assert_eq!(api.names(), [format!("{name}-copy")]);
        }
        ensured(&api, agent).await;
        // A second one of the same name, however it came to be, goes, too.
        let _ = api.put(&name);
        for _ in 0..2 {
            assert_eq!(neon.drop(agent, None).await, Ok(()));
            assert_eq!(api.names(), [format!("{name}-copy")]);
        }
        // An answer that is lost loses nothing.
        api.fail(Method::DELETE, Fault::DoneBut(502));
        assert_eq!(neon.drop(agent, Some(&other)).await, Ok(()));
        assert_eq!(api.names(), Vec::<String>::new());
        let elsewhere = neon.drop(agent, Some("../organizations")).await;
        assert_eq!(elsewhere, Err(DatabaseError::Protocol));
    });
}

#[test]
fn what_can_be_tried_again_is_and_not_for_ever() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent, name), neon) = (agent(), neon(&api));
        for status in [423, 429, 500] {
            api.fail(Method::GET, Fault::Status(status));
        }
        for status in [423, 429, 503] {
            api.fail(Method::POST, Fault::Status(status));
        }
        let made = ensured(&api, agent).await;
        let requests = api.requests();
        let count = |method: &str| {
            requests
                .iter()
                .filter(|made| made.starts_with(method))
                .count()
        };
        assert_eq!((count("GET"), count("POST")), (4, 4));
        assert_eq!(api.names(), [name.as_str()]);
        api.fail(Method::DELETE, Fault::Later(423, 1));
        let began = Instant::now();
        assert_eq!(neon.drop(agent, Some(&made.project_id)).await, Ok(()));
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        // Who wants us to come back much later is left alone, and so is who never has time.
        let _ = api.requests();
        api.fail(Method::GET, Fault::Later(429, 60));
        assert_eq!(neon.ensure(agent).await, Err(DatabaseError::Unavailable));
        assert_eq!(api.requests().len(), 1);
        for _ in 0..5 {
            api.fail(Method::GET, Fault::Status(503));
        }
        assert_eq!(neon.ensure(agent).await, Err(DatabaseError::Unavailable));
        assert_eq!(api.requests().len(), 5);
        assert_eq!(api.names(), Vec::<String>::new());
    });
}

#[test]
fn what_goes_wrong_has_its_kind_and_makes_nothing() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent, _), neon) = (agent(), neon(&api));
        let stranger = Neon::new("another", &api.url()).expect("a key");
        assert_eq!(stranger.ensure(agent).await, Err(DatabaseError::Refused));
        assert_eq!(
            stranger.drop(agent, None).await,
            Err(DatabaseError::Refused)
        );
        for (fault, kind) in [
            (Fault::Status(403), DatabaseError::Refused),
            (Fault::Status(400), DatabaseError::Refused),
            (Fault::Status(302), DatabaseError::Protocol),
            (Fault::Garbage, DatabaseError::Protocol),
            (Fault::LostAnswer, DatabaseError::Unreachable),
            (Fault::Incomplete, DatabaseError::Unavailable),
        ] {
            api.fail(Method::GET, fault);
            assert_eq!(neon.ensure(agent).await, Err(kind), "{fault:?}");
        }
        api.fail(Method::GET, Fault::Incomplete);
        assert_eq!(
            neon.drop(agent, None).await,
            Err(DatabaseError::Unavailable)
        );
        assert_eq!(api.names(), Vec::<String>::new());
        let nobody = Neon::new(KEY, "http://127.0.0.1:9").expect("a key");
        assert_eq!(nobody.ensure(agent).await, Err(DatabaseError::Unreachable));
    });
}

#[test]
fn silence_ends_at_the_limit_and_what_was_asked_in_it_is_found() {
    run(async {
        let api = NeonApi::start().await;
        let ((agent, name), neon) = (agent(), neon(&api));
        let silent = Silent::start().expect("a silent host");
        let mute = format!("http://127.0.0.1:{}", silent.port());
        let mute = Neon::new(KEY, &mute).expect("a key");
        api.fail(Method::POST, Fault::Silence);
        let began = Instant::now();
        let (one, two) = tokio::join!(neon.ensure(agent), mute.drop(agent, None));
        assert_eq!(
            (one, two),
            (Err(DatabaseError::TimedOut), Err(DatabaseError::TimedOut))
        );
        assert!(
            (9..13).contains(&began.elapsed().as_secs()),
            "{:?}",
            began.elapsed()
        );
        ensured(&api, agent).await;
        assert_eq!(api.names(), [name]);
    });
}
