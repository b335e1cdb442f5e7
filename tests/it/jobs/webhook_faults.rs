//! Webhooks that do not answer, answer with an error, or must not be called, and organizations that have many of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dev::runtime::{Instance, Outcome};
use serde_json::json;
use tests::{World, run};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use uuid::Uuid;

use super::webhook::{
    SECRET, WebhookReceiver, WebhookRow, allowing_private_webhooks, insert_failed_start,
    insert_failed_starts, run_and_call, signature, webhook_row,
};
use super::{ANNOUNCED, announced_jobs, due_event, seconds, start_bus, sweep, try_sweep};

/// A server that accepts connections and never answers.
pub(super) struct SilentServer {
    port: u16,
    connections: Arc<AtomicUsize>,
    arrived: Arc<Notify>,
}

impl SilentServer {
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

/// Kills a worker while it calls the webhook of a job.
async fn kill_during_call(instance: &Instance, job: Uuid, silent: &SilentServer) {
    let (outcome, ()) = tokio::join!(
        instance.invoke(due_event(job), Duration::from_mins(1)),
        async {
            silent.arrived.notified().await;
            instance.kill().await;
        }
    );
    assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
}

#[test]
fn a_failing_webhook_is_called_five_times_with_doubled_waits() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(500).await);
        let job = insert_failed_start(&world, &receiver.url()).await;
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        let mut at = 0;
        for (attempt, wait) in (1..).zip([30, 60, 120, 240]) {
            world.set_clock(seconds(at)).await;
            assert!(
                run_and_call(&worker, job).await.webhook_called,
                "attempt {attempt}"
            );
            let expected = WebhookRow::new("pending", attempt, Some(at + wait));
            assert_eq!(webhook_row(&world, job).await, expected);
            world.set_clock(seconds(at + wait - 1)).await;
            assert!(
                !run_and_call(&worker, job).await.webhook_called,
                "attempt {attempt} too early"
            );
            at += wait;
        }
        world.set_clock(seconds(at)).await;
        assert!(run_and_call(&worker, job).await.webhook_called);
        // That was the last attempt, so the secret is deleted.
        assert_eq!(
            webhook_row(&world, job).await,
            WebhookRow::new("failed", 5, None)
        );
        world.set_clock(seconds(86_400)).await;
        assert!(!run_and_call(&worker, job).await.webhook_called);
        let calls = receiver.calls();
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
fn a_webhook_that_accepts_the_second_call_is_not_called_again() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(503).await);
        let job = insert_failed_start(&world, &receiver.url()).await;
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        assert!(run_and_call(&worker, job).await.webhook_called);
        receiver.set_answer(200, None);
        world.set_clock(seconds(30)).await;
        assert!(run_and_call(&worker, job).await.webhook_called);
        assert_eq!(
            webhook_row(&world, job).await,
            WebhookRow::new("delivered", 2, None)
        );
        world.set_clock(seconds(90)).await;
        assert!(!run_and_call(&worker, job).await.webhook_called);
        assert_eq!(receiver.calls().len(), 2);
    });
}

#[test]
fn a_redirect_is_not_followed() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let elsewhere = WebhookReceiver::answering(200).await;
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        for (count, status) in (1..).zip([301, 302, 303, 307, 308]) {
            receiver.set_answer(status, Some(&elsewhere.url()));
            let job = insert_failed_start(&world, &receiver.url()).await;
            assert!(run_and_call(&worker, job).await.webhook_called);
            assert_eq!(
                webhook_row(&world, job).await,
                WebhookRow::new("pending", 1, Some(30))
            );
            assert_eq!(
                (receiver.calls().len(), elsewhere.calls().len()),
                (count, 0)
            );
        }
    });
}

#[test]
fn an_unreachable_webhook_is_a_failed_attempt() {
    run(async {
        let world = World::new().await;
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        for url in [
            format!("http://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            "http://nobody.invalid/".to_owned(),
        ] {
            let job = insert_failed_start(&world, &url).await;
            assert!(run_and_call(&worker, job).await.webhook_called, "{url}");
            assert_eq!(
                webhook_row(&world, job).await,
                WebhookRow::new("pending", 1, Some(30)),
                "{url}"
            );
        }
    });
}

#[test]
fn a_webhook_whose_caller_died_is_called_again() {
    run(async {
        let (world, silent) = (World::new().await, SilentServer::start().await);
        let job = insert_failed_start(&world, &silent.url()).await;
        let instance = allowing_private_webhooks(&world, "job-run").start().await;
        kill_during_call(&instance, job, &silent).await;
        assert_eq!(
            webhook_row(&world, job).await,
            WebhookRow::new("pending", 1, Some(30))
        );
        let receiver = WebhookReceiver::answering(200).await;
        sqlx::query("UPDATE jobs SET webhook_url = $1")
            .bind(receiver.url())
            .execute(&world.pool)
            .await
            .expect("a server that answers");
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        world.set_clock(seconds(29)).await;
        assert!(!run_and_call(&worker, job).await.webhook_called);
        world.set_clock(seconds(30)).await;
        assert!(run_and_call(&worker, job).await.webhook_called);
        assert_eq!(
            webhook_row(&world, job).await,
            WebhookRow::new("delivered", 2, None)
        );
    });
}

#[test]
fn private_addresses_are_not_called_without_the_setting() {
    run(async {
        let (world, silent) = (World::new().await, SilentServer::start().await);
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
            let job = insert_failed_start(&world, &url).await;
            // A refused address is a failed attempt like any other.
            for (attempt, at) in (1..=5).zip([0, 30, 90, 210, 450]) {
                world.set_clock(seconds(at)).await;
                assert!(run_and_call(&worker, job).await.webhook_called, "{url}");
                assert_eq!(webhook_row(&world, job).await.attempts, Some(attempt));
            }
            assert_eq!(
                webhook_row(&world, job).await,
                WebhookRow::new("failed", 5, None),
                "{url}"
            );
            world.set_clock(seconds(0)).await;
        }
        assert_eq!(silent.count(), 0);
    });
}

#[test]
fn f74_an_organization_with_many_due_webhooks_delays_no_other_one() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (silent, receiver) = (
            SilentServer::start().await,
            WebhookReceiver::answering(200).await,
        );
        let busy = world.organization("0").await;
        let jobs = insert_failed_starts(&world, busy, &silent.url(), 300).await;
        world
            .execute("UPDATE jobs SET webhook_due_at = webhook_due_at - interval '1 s'")
            .await;
        let other = insert_failed_start(&world, &receiver.url()).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(6));
        assert_eq!(announced_jobs(&bus)[1], other);
        // Their events may still be in a queue.
        world.set_clock(seconds(119)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));
        world.set_clock(seconds(120)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(6));
        let mut announced = announced_jobs(&bus);
        let again = announced.split_off(6);
        assert_eq!(announced, again);

        // Whoever dies during a call counts as calling for half a minute.
        let calling = &jobs[..3];
        for job in calling {
            let instance = allowing_private_webhooks(&world, "job-run").start().await;
            kill_during_call(&instance, *job, &silent).await;
        }
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        assert!(!run_and_call(&worker, jobs[3]).await.webhook_called);
        assert_eq!(webhook_row(&world, jobs[3]).await.attempts, None);
        assert!(run_and_call(&worker, other).await.webhook_called);
        assert_eq!((silent.count(), receiver.calls().len()), (3, 1));
        // Now there is room, and their receiver answers.
        world.set_clock(seconds(150)).await;
        let url = receiver.url();
        sqlx::query("UPDATE jobs SET webhook_url = $1")
            .bind(&url)
            .execute(&world.pool)
            .await
            .expect("a server that answers");
        assert!(run_and_call(&worker, jobs[3]).await.webhook_called);
        for job in calling {
            assert!(run_and_call(&worker, *job).await.webhook_called);
        }
        assert_eq!((silent.count(), receiver.calls().len()), (3, 5));
    });
}

#[test]
fn f74_a_webhook_that_found_no_room_or_whose_event_was_refused_is_announced_by_the_next_sweep() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let silent = SilentServer::start().await;
        let organization = world.organization("0").await;
        let jobs = insert_failed_starts(&world, organization, &silent.url(), 4).await;
        bus.set_down(true);
        let failed = try_sweep(&world, &bus).await;
        assert!(
            matches!(failed, Outcome::FunctionError { .. }),
            "{failed:?}"
        );
        bus.set_down(false);
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(4));
        for job in &jobs[..3] {
            let instance = allowing_private_webhooks(&world, "job-run").start().await;
            kill_during_call(&instance, *job, &silent).await;
        }
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        assert!(!run_and_call(&worker, jobs[3]).await.webhook_called);
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(1));
        assert_eq!(announced_jobs(&bus)[4..], jobs[3..]);
        // The others are due again after half a minute, whenever they were announced.
        world.set_clock(seconds(30)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(3));
    });
}

#[test]
fn a_webhook_that_is_due_for_a_day_is_given_up() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let job = insert_failed_start(&world, "http://127.0.0.1:9/").await;
        world.set_clock(seconds(86_399)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(1));
        world.set_clock(seconds(86_400)).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));
        let row = webhook_row(&world, job).await;
        assert_eq!(row, WebhookRow::given_up());
    });
}
