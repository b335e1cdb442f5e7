//! Webhooks that do not answer, answer badly, or must not be called.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dev::runtime::Outcome;
use tests::{World, run};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::webhook::{Hook, SECRET, failed_start, is, kept, open, signature, work};
use super::{due, seconds};

/// A server that takes connections and says nothing.
pub(super) struct Silent {
    port: u16,
    connections: Arc<AtomicUsize>,
    arrived: Arc<Notify>,
}

impl Silent {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (connections, arrived) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (count, notify) = (Arc::clone(&connections), Arc::clone(&arrived));
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                open.push(connection);
                notify.notify_one();
            }
        });
        Self {
            port,
            connections,
            arrived,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[test]
fn a_webhook_that_fails_is_called_five_times_with_doubled_waits() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(500).await);
        let job = failed_start(&world, &hook.url()).await;
        let worker = open(&world, "job-run").start().await;
        let mut at = 0;
        for (attempt, wait) in (1..).zip([30, 60, 120, 240]) {
            world.at(seconds(at)).await;
            assert!(work(&worker, job).await.1, "try {attempt}");
            let expected = is("pending", attempt, Some(at + wait));
            assert_eq!(kept(&world, job).await, expected);
            world.at(seconds(at + wait - 1)).await;
            assert!(!work(&worker, job).await.1, "try {attempt} too early");
            at += wait;
        }
        world.at(seconds(at)).await;
        assert!(work(&worker, job).await.1);
        // That was the last one, and nobody needs the secret any more.
        assert_eq!(kept(&world, job).await, is("failed", 5, None));
        world.at(seconds(86_400)).await;
        assert!(!work(&worker, job).await.1);
        let calls = hook.calls();
        assert_eq!(calls.len(), 5);
        for (call, at) in calls.iter().zip([0, 30, 90, 210, 450]) {
            assert_eq!(call.body, calls[0].body);
            assert_eq!(
                call.headers["x-milady-signature"],
                signature(SECRET, seconds(at).timestamp(), &call.body)
            );
        }
    });
}

#[test]
fn a_webhook_that_answers_at_the_second_try_is_not_called_again() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(503).await);
        let job = failed_start(&world, &hook.url()).await;
        let worker = open(&world, "job-run").start().await;
        assert!(work(&worker, job).await.1);
        hook.answer(200, None);
        world.at(seconds(30)).await;
        assert!(work(&worker, job).await.1);
        assert_eq!(kept(&world, job).await, is("delivered", 2, None));
        world.at(seconds(90)).await;
        assert!(!work(&worker, job).await.1);
        assert_eq!(hook.calls().len(), 2);
    });
}

#[test]
fn a_redirect_is_not_followed() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(200).await);
        let elsewhere = Hook::answering(200).await;
        let worker = open(&world, "job-run").start().await;
        for (count, status) in (1..).zip([301, 302, 303, 307, 308]) {
            hook.answer(status, Some(&elsewhere.url()));
            let job = failed_start(&world, &hook.url()).await;
            assert!(work(&worker, job).await.1);
            assert_eq!(kept(&world, job).await, is("pending", 1, Some(30)));
            assert_eq!((hook.calls().len(), elsewhere.calls().len()), (count, 0));
        }
    });
}

#[test]
fn a_dead_address_is_a_failed_try() {
    run(async {
        let world = World::new().await;
        let worker = open(&world, "job-run").start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        for url in [
            format!("http://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            "http://nobody.invalid/".to_owned(),
        ] {
            let job = failed_start(&world, &url).await;
            assert!(work(&worker, job).await.1, "{url}");
            assert_eq!(kept(&world, job).await, is("pending", 1, Some(30)), "{url}");
        }
    });
}

#[test]
fn a_call_whose_worker_died_is_made_again() {
    run(async {
        let (world, silent) = (World::new().await, Silent::start().await);
        let job = failed_start(&world, &silent.url()).await;
        let instance = open(&world, "job-run").start().await;
        let (outcome, ()) =
            tokio::join!(instance.invoke(due(job), Duration::from_mins(1)), async {
                silent.arrived.notified().await;
                instance.kill().await;
            });
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        assert_eq!(kept(&world, job).await, is("pending", 1, Some(30)));
        let hook = Hook::answering(200).await;
        sqlx::query("UPDATE jobs SET webhook_url = $1")
            .bind(hook.url())
            .execute(&world.pool)
            .await
            .expect("a server that answers");
        let worker = open(&world, "job-run").start().await;
        world.at(seconds(29)).await;
        assert!(!work(&worker, job).await.1);
        world.at(seconds(30)).await;
        assert!(work(&worker, job).await.1);
        assert_eq!(kept(&world, job).await, is("delivered", 2, None));
    });
}

#[test]
fn without_the_setting_this_machine_is_never_called() {
    run(async {
        let (world, silent) = (World::new().await, Silent::start().await);
        let worker = world.function("job-run").start().await;
        let port = silent.port;
        for url in [
            format!("http://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("https://localhost:{port}/"),
            format!("https://[::ffff:127.0.0.1]:{port}/"),
            format!("https://2130706433:{port}/"),
            format!("http://user:word@127.0.0.1:{port}/"),
            "https://127.0.0.1/".to_owned(),
            "https://localhost/".to_owned(),
            "https://169.254.169.254/latest/meta-data".to_owned(),
            "not a url".to_owned(),
        ] {
            let job = failed_start(&world, &url).await;
            // It is a failed try like any other, and ends like one.
            for (attempt, at) in (1..=5).zip([0, 30, 90, 210, 450]) {
                world.at(seconds(at)).await;
                assert!(work(&worker, job).await.1, "{url}");
                assert_eq!(kept(&world, job).await.1, Some(attempt));
            }
            assert_eq!(kept(&world, job).await, is("failed", 5, None), "{url}");
            world.at(seconds(0)).await;
        }
        assert_eq!(silent.count(), 0);
    });
}
