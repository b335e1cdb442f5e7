//! The hostile clients.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tests::suite;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::figures::{Attacks, REFUSED_AT_THE_EDGE};
use crate::{Client, LIST, Stack, priority};

pub const HOSTILE_CLIENTS: usize = 50;
/// The argument that makes a process of this program the hostile one.
pub const HOSTILE: &str = "hostile";

/// What hostile clients send, in turn.
struct Attack {
    name: &'static str,
    method: &'static str,
    /// `{own}` is an agent of the organization, `{foreign}` one of the honest organization.
    path: &'static str,
    body: &'static str,
}

static ATTACKS: [Attack; 9] = [
    Attack {
        name: "list agents",
        method: "GET",
        path: LIST,
        body: "",
    },
    Attack {
        name: "create an agent",
        method: "POST",
        path: LIST,
        body: r#"{"agentName": "one of many"}"#,
    },
    Attack {
        name: "start",
        method: "POST",
        path: "/api/v1/milady/agents/{own}/provision",
        body: "",
    },
    Attack {
        name: "snapshot",
        method: "POST",
        path: "/api/v1/milady/agents/{own}/snapshot",
        body: "",
    },
    Attack {
        name: "stream",
        method: "POST",
        path: "/api/v1/milady/agents/{own}/stream",
        body: r#"{"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"text": "Hello"}}"#,
    },
    Attack {
        name: "log",
        method: "GET",
        path: "/api/v1/milady/agents/{own}/logs",
        body: "",
    },
    Attack {
        name: "credit page",
        method: "GET",
        path: "/api/v1/credits/transactions?limit=200",
        body: "",
    },
    Attack {
        name: "invalid JSON",
        method: "POST",
        path: LIST,
        body: "{",
    },
    Attack {
        name: "foreign agent",
        method: "GET",
        path: "/api/v1/milady/agents/{foreign}",
        body: "",
    },
];

/// What the hostile clients have.
#[derive(Debug, Deserialize, Serialize)]
pub struct Attacker {
    pub runtime_url: String,
    pub binaries: PathBuf,
    pub key: String,
    /// Agents of its organization, and one of another.
    pub own: Vec<Uuid>,
    pub foreign: Uuid,
}

/// A line that the hostile process writes.
#[derive(Debug, Deserialize, Serialize)]
enum Report {
    Ready,
    /// The edge refused a request.
    ReachedEdge,
    Ended(Attacks),
}

/// The process of the hostile clients, with a gateway and functions of their own.
pub struct Flood {
    pub started: Instant,
    process: Child,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Flood {
    pub async fn start(attacker: &Attacker) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = priority::session_of_its_own(&program)
            .arg(HOSTILE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let mut line = serde_json::to_vec(attacker).expect("JSON");
        line.push(b'\n');
        let input = process.stdin.as_mut().expect("its input");
        input.write_all(&line).await.expect("it reads");
        let output = process.stdout.take().expect("its output");
        let mut flood = Self {
            started: Instant::now(),
            process,
            reports: BufReader::new(output).lines(),
        };
        assert!(matches!(flood.next().await, Report::Ready), "it is ready");
        flood.started = Instant::now();
        flood
    }

    /// Returns when the edge refuses a request.
    pub async fn reached_edge(&mut self) {
        let report = self.next().await;
        assert!(matches!(report, Report::ReachedEdge), "{report:?}");
    }

    /// Stops the clients and returns what they were answered.
    pub async fn end(mut self) -> Attacks {
        drop(self.process.stdin.take());
        loop {
            if let Report::Ended(attacks) = self.next().await {
                return attacks;
            }
        }
    }

    async fn next(&mut self) -> Report {
        let line = self.reports.next_line().await.expect("its output");
        serde_json::from_str(&line.expect("it goes on")).expect("a report")
    }
}

/// Of this process's input. Empty at its end.
async fn next_line() -> String {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
    let line = read.await.expect("a task");
    line.transpose().expect("its input").unwrap_or_default()
}

fn report(report: &Report) {
    println!("{}", serde_json::to_string(report).expect("JSON"));
}

/// The hostile process: attacks until its input ends.
pub async fn run() {
    priority::lower_this_session();
    let attacker: Attacker = serde_json::from_str(&next_line().await).expect("JSON");
    suite::use_binaries(attacker.binaries.clone());
    let stack = Stack::start(&attacker.runtime_url, &attacker.binaries).await;
    let client = Arc::new(stack.client(attacker.key.clone()));
    let attacker = Arc::new(attacker);
    let reached_edge = Arc::new(Notify::new());
    let stop = Arc::new(AtomicBool::new(false));
    report(&Report::Ready);
    let clients: JoinSet<Attacks> = (0..HOSTILE_CLIENTS)
        .map(|first| {
            attack(
                Arc::clone(&client),
                Arc::clone(&attacker),
                first,
                Arc::clone(&reached_edge),
                Arc::clone(&stop),
            )
        })
        .collect();
    let reporter = tokio::spawn(async move {
        reached_edge.notified().await;
        report(&Report::ReachedEdge);
    });
    next_line().await;
    stop.store(true, Ordering::Relaxed);
    let mut attacks = Attacks::new();
    for (name, statuses) in clients.join_all().await.into_iter().flatten() {
        let sum = attacks.entry(name).or_default();
        for (status, count) in statuses {
            *sum.entry(status).or_default() += count;
        }
    }
    reporter.abort();
    report(&Report::Ended(attacks));
}

/// Sends requests one after the other until `stop`, beginning with this attack. Says when the edge refuses one.
async fn attack(
    client: Arc<Client>,
    attacker: Arc<Attacker>,
    first: usize,
    reached_edge: Arc<Notify>,
    stop: Arc<AtomicBool>,
) -> Attacks {
    let mut attacks = Attacks::new();
    let foreign = attacker.foreign.to_string();
    for n in first.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let attack = &ATTACKS[n % ATTACKS.len()];
        let own = attacker.own[n % attacker.own.len()].to_string();
        let path = attack
            .path
            .replace("{own}", &own)
            .replace("{foreign}", &foreign);
        let status = client.send(attack.method, &path, attack.body).await;
        if status == REFUSED_AT_THE_EDGE {
            reached_edge.notify_one();
        }
        let statuses = attacks.entry(attack.name.to_owned()).or_default();
        *statuses.entry(status).or_default() += 1;
    }
    attacks
}
