//! The hostile clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::figures::{Attacks, REFUSED_AT_THE_EDGE};
use crate::{Client, LIST, Stack, priority};

pub const HOSTILE_CLIENTS: usize = 50;

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
pub struct Attacker {
    pub runtime_url: String,
    pub binaries: PathBuf,
    pub key: String,
    /// Agents of its organization, and one of another.
    pub own: Vec<Uuid>,
    pub foreign: Uuid,
}

/// The running clients.
pub struct Flood {
    /// Notified when the edge refuses one of them.
    pub reached_edge: Arc<Notify>,
    stop: Arc<AtomicBool>,
    pub started: Instant,
    thread: JoinHandle<Attacks>,
}

impl Flood {
    /// Starts them on a thread of their own, with a gateway and functions of their own.
    pub async fn start(attacker: Attacker) -> Self {
        let reached_edge = Arc::new(Notify::new());
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::spawn({
            let (reached_edge, stop) = (Arc::clone(&reached_edge), Arc::clone(&stop));
            move || {
                priority::lower_this_thread();
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime
                    .expect("a runtime")
                    .block_on(run(attacker, ready, reached_edge, stop))
            }
        });
        is_ready.await.expect("the hostile clients are ready");
        Self {
            reached_edge,
            stop,
            started: Instant::now(),
            thread,
        }
    }

    /// Stops them and returns what they were answered.
    pub async fn end(self) -> Attacks {
        self.stop.store(true, Ordering::Relaxed);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        ended.expect("a task").expect("the hostile clients")
    }
}

/// Attacks until `stop`. Returns what was answered.
async fn run(
    attacker: Attacker,
    ready: oneshot::Sender<()>,
    reached_edge: Arc<Notify>,
    stop: Arc<AtomicBool>,
) -> Attacks {
    let stack = Stack::start(&attacker.runtime_url, &attacker.binaries).await;
    let client = Arc::new(stack.client(attacker.key.clone()));
    let attacker = Arc::new(attacker);
    ready.send(()).expect("somebody waits");
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
    let mut attacks = Attacks::new();
    for (name, statuses) in clients.join_all().await.into_iter().flatten() {
        let sum = attacks.entry(name).or_default();
        for (status, count) in statuses {
            *sum.entry(status).or_default() += count;
        }
    }
    attacks
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
        let statuses = attacks.entry(attack.name).or_default();
        *statuses.entry(status).or_default() += 1;
    }
    attacks
}
