//! `cargo dev --time-lapse --host`, watched from outside: its API, its mailbox, and the Docker Engine of its host. What
//! happens there is the story of an owner who pays too late.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use dev::host::{Host, containers, remove_engine_data};
use dev::mailbox::Parsed;
use dev::postgres;
use serde_json::{Value, json};

use super::persistence::temporary_directory;
use super::{Running, is_missing, until};
use crate::http::send;

/// The whole story: two days and a few hours.
const STORY_TIMEOUT: Duration = Duration::from_mins(3);
/// Nobody knows how much of the functions must be built.
const BUILD_TIMEOUT: Duration = Duration::from_mins(20);
const OWNER: &str = "owner@forgetful.example";

/// A running `cargo dev`.
struct TimeLapse {
    process: Running,
    /// The data.
    directory: PathBuf,
    printed: Arc<Mutex<Vec<String>>>,
}

impl TimeLapse {
    /// Starts it. It ends by itself after more hours than the story has.
    fn start() -> Self {
        let directory = temporary_directory("time-lapse");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dev"));
        command
            .args(["--time-lapse", "0.3", "--runs", "90", "--host"])
            .args(["--no-dashboard", "--port", "0", "--data"])
            .arg(&directory)
            // An engine of its own, rather than the machine's, from which nothing is ever removed.
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(directory.join("stderr")).unwrap());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&printed);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self {
            process: Running(process),
            directory,
            printed,
        }
    }

    fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    /// The first line that begins like this, once it is printed.
    async fn line(&mut self, start: &str) -> String {
        let deadline = Instant::now() + BUILD_TIMEOUT;
        loop {
            let lines = self.printed();
            if let Some(line) = lines.iter().find(|line| line.starts_with(start)) {
                return line.clone();
            }
            let is_running = self.process.0.try_wait().unwrap().is_none();
            assert!(
                is_running && Instant::now() < deadline,
                "{start:?} is not printed:\n{}\n{}",
                lines.join("\n"),
                fs::read_to_string(self.directory.join("stderr")).unwrap()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends it as Ctrl-C does, and removes its data.
    async fn end(mut self) {
        let id = self.process.0.id();
        let signal = Command::new("sh")
            .args(["-c", &format!("kill {id}")])
            .status();
        assert!(signal.unwrap().success());
        let process = &mut self.process.0;
        until("it ends", async || process.try_wait().unwrap()).await;
        remove_engine_data(&self.directory.join("engine"))
            .await
            .unwrap();
        postgres::remove(&self.directory).unwrap();
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// What somebody outside can see.
struct Outside {
    address: SocketAddr,
    /// Of the organization.
    key: String,
    socket: PathBuf,
    deadline: Instant,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Outside {
    async fn get(&self, path: &str) -> Value {
        let key = format!("x-api-key: {}", self.key);
        let answer = send(self.address, &format!("GET /api/v1/{path}"), &[&key], b"").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.body
    }

    /// The agent, if it has this status.
    async fn agent_if(&self, status: &str) -> Option<Value> {
        let agents = self.get("milady/agents").await;
        let agent = agents["data"].get(0).cloned();
        agent.filter(|agent| agent["status"] == status)
    }

    async fn ledger(&self) -> Vec<Value> {
        let page = self.get("credits/transactions?limit=100").await;
        page["data"].as_array().unwrap().clone()
    }

    /// The mails to the owner, oldest first.
    async fn mails(&self) -> Vec<Parsed> {
        let mut mails = Vec::new();
        for number in 1.. {
            let path = format!("GET /dev/mails/{number}/raw");
            let answer = send(self.address, &path, &[], b"").await;
            if answer.status != 200 {
                break;
            }
            let mail = Parsed::read(&answer.text);
            if mail.header("to") == Some(OWNER) {
                mails.push(mail);
            }
        }
        mails
    }

    /// The state of the agent's container in the Docker Engine; `None` if there is none.
    async fn container(&self, agent: &str) -> Option<String> {
        let containers = containers(&self.socket).await.unwrap();
        let name = format!("milady-{agent}");
        let found = containers.into_iter().find(|one| one.name == name)?;
        Some(found.state)
    }

    /// Waits for what the story has next.
    async fn until<T>(&self, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            assert!(
                Instant::now() < self.deadline,
                "the story has not come to this: {what}\n{}",
                self.printed.lock().unwrap().join("\n")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for this mail to the owner, counted from 0, whose subject must begin like this.
    async fn mail(&self, index: usize, subject: &str) -> Parsed {
        let mail = self.until(subject, async || self.mails().await.get(index).cloned());
        let mail = mail.await;
        assert!(mail.subject().starts_with(subject), "{}", mail.subject());
        mail
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_owner_who_pays_too_late_is_warned_suspended_resumed_and_charged_again() {
    if is_missing(Host::availability()) {
        return;
    }
    let mut stack = TimeLapse::start();
    let api = stack.line("The API is at ").await;
    let address = api.split("//").nth(1).unwrap().split('/').next().unwrap();
    let host = stack.line("Agents ").await;
    assert!(host.starts_with("Agents run on this machine"), "{host}");
    let (_, socket) = host.rsplit_once(" at ").unwrap();
    let key = stack.line("  key of Forgetful").await;
    let outside = Outside {
        address: address.parse().unwrap(),
        key: key.rsplit(' ').next().unwrap().to_owned(),
        socket: Path::new(socket).to_owned(),
        deadline: Instant::now() + STORY_TIMEOUT,
        printed: Arc::clone(&stack.printed),
    };
    let agent = outside
        .until("the agent runs", async || outside.agent_if("running").await)
        .await;
    let agent = agent["id"].as_str().unwrap();
    check_spending(&outside, agent).await;
    let deadline = check_warnings(&outside, agent).await;
    check_suspension(&outside, agent, deadline).await;
    check_resumption(&outside, agent, deadline).await;
    check_printed(&stack.printed());
    stack.end().await;
}

/// The agent runs, and the balance runs down.
async fn check_spending(outside: &Outside, agent: &str) {
    assert_eq!(outside.container(agent).await.as_deref(), Some("running"));
    let ledger = outside
        .until("three hours are charged", async || {
            Some(outside.ledger().await).filter(|ledger| ledger.len() >= 3)
        })
        .await;
    // The ledger begins with the newest.
    let oldest = ledger.iter().rev().take(3);
    let balances: Vec<&Value> = oldest.map(|row| &row["balanceAfter"]).collect();
    assert_eq!(balances, [&json!(4.5), &json!(3.5), &json!(2.5)]);
}

/// First the credit is low, by the owner's own mark of $2. When it is used up, the shutdown is announced, with its time
/// in the organization's time zone. Returns that time.
async fn check_warnings(outside: &Outside, agent: &str) -> DateTime<Utc> {
    outside.mail(0, "Low credit: $1.50 left").await;
    let warning = outside.mail(1, "1 agent will be shut down on ").await;
    let pending = outside.agent_if("running").await.unwrap();
    let deadline = time(&pending["scheduledShutdownAt"]);
    let date = deadline.format("%Y-%m-%d %H:%M UTC");
    assert_eq!(
        warning.subject(),
        format!("1 agent will be shut down on {date}")
    );
    // India has no daylight saving time.
    let local = deadline + TimeDelta::minutes(330);
    let local = local.format("%Y-%m-%d %H:%M");
    let text = &warning.text;
    assert!(
        text.contains(&format!("({local} in Asia/Kolkata)")),
        "{text}"
    );
    assert!(text.contains("You owe $1.00 now"), "{text}");
    assert_eq!(outside.container(agent).await.as_deref(), Some("running"));
    deadline
}

/// 48 hours after the warning the container is gone, and the owner is told.
async fn check_suspension(outside: &Outside, agent: &str, deadline: DateTime<Utc>) {
    outside
        .until("the container is gone", async || {
            outside.container(agent).await.is_none().then_some(())
        })
        .await;
    let stopped = outside
        .until("the agent is stopped", async || {
            outside.agent_if("stopped").await
        })
        .await;
    assert_eq!(stopped["stopReason"], "billing");
    outside.mail(2, "Shut down: 1 agent").await;
    let notices = outside.get("notices").await;
    let at = |kind: &str| {
        let mut notices = notices["data"].as_array().unwrap().iter();
        let notice = notices.find(|notice| notice["kind"] == kind);
        time(&notice.unwrap()["at"])
    };
    let (announced, suspended) = (at("agent.shutdown_scheduled"), at("agent.suspended"));
    assert_eq!(suspended, deadline);
    assert_eq!(suspended - announced, TimeDelta::hours(48));
    assert!(at("credit.low") < announced);
}

/// The owner pays, and nobody starts the agent: it runs again by itself, and its hours are charged again.
async fn check_resumption(outside: &Outside, agent: &str, suspended: DateTime<Utc>) {
    let payment = outside
        .until("the owner pays", async || {
            let mut ledger = outside.ledger().await.into_iter();
            ledger.find(|row| row["amount"] == json!(80.0))
        })
        .await;
    let paid = time(&payment["createdAt"]);
    assert!(paid > suspended, "{paid}");
    outside
        .until("the container is back", async || {
            let state = outside.container(agent).await;
            state.filter(|state| state == "running")
        })
        .await;
    outside.mail(3, "Running again: 1 agent").await;
    outside
        .until("an hour after the payment is charged", async || {
            let ledger = outside.ledger().await.into_iter();
            let usage = ledger.filter(|row| row["type"] == "usage");
            let mut hours = usage.filter(|row| row["amount"] == json!(-1.0));
            hours.find(|row| time(&row["periodStart"]) > paid)
        })
        .await;
    let running = outside.agent_if("running").await.unwrap();
    assert_eq!(running["billingStatus"], "active");
}

/// Whoever reads what `cargo dev` prints can follow it.
fn check_printed(printed: &[String]) {
    let mut lines = printed.iter();
    for start in [
        "agent diary of Forgetful: running; its container is in the Docker Engine",
        "mail to owner@forgetful.example: Low credit: $1.50 left",
        "mail to owner@forgetful.example: 1 agent will be shut down on ",
        "agent diary of Forgetful: stopped (billing); its container is gone from the Docker Engine",
        "mail to owner@forgetful.example: Shut down: 1 agent",
        "Forgetful pays $80",
        "agent diary of Forgetful: running; its container is in the Docker Engine",
        "mail to owner@forgetful.example: Running again: 1 agent",
    ] {
        let is_next = lines.any(|line| line.trim_start().starts_with(start));
        assert!(is_next, "{start}:\n{}", printed.join("\n"));
    }
}
