//! The hostile clients.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::figures::{Attacks, REFUSED_AT_THE_EDGE};
use crate::{Client, LIST};

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

/// The agents that hostile clients name.
pub struct Targets {
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
    /// Starts them on a thread of their own.
    pub fn start(client: Client, targets: Targets) -> Self {
        let (client, targets) = (Arc::new(client), Arc::new(targets));
        let reached_edge = Arc::new(Notify::new());
        let stop = Arc::new(AtomicBool::new(false));
        let attackers: Vec<_> = (0..HOSTILE_CLIENTS)
            .map(|first| {
                let (client, targets) = (Arc::clone(&client), Arc::clone(&targets));
                attack(
                    client,
                    targets,
                    first,
                    Arc::clone(&reached_edge),
                    Arc::clone(&stop),
                )
            })
            .collect();
        let thread = std::thread::spawn(|| {
            lower_priority();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let all = async {
                attackers
                    .into_iter()
                    .collect::<JoinSet<_>>()
                    .join_all()
                    .await
            };
            let mut attacks = Attacks::new();
            for (name, statuses) in runtime
                .expect("a runtime")
                .block_on(all)
                .into_iter()
                .flatten()
            {
                let sum = attacks.entry(name).or_default();
                for (status, count) in statuses {
                    *sum.entry(status).or_default() += count;
                }
            }
            attacks
        });
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

/// Gives this thread the lowest priority: in a deployment clients take no time from the functions' processors.
fn lower_priority() {
    // A link to <process>/task/<thread>.
    let link = std::fs::read_link("/proc/thread-self");
    let renice = link.ok().and_then(|link| {
        Command::new("renice")
            .args(["-n", "19", "-p"])
            .arg(link.file_name()?)
            .stdout(Stdio::null())
            .status()
            .ok()
    });
    if !renice.is_some_and(|status| status.success()) {
        println!("The hostile clients keep their priority: `renice` failed.");
    }
}

/// Sends requests one after the other until `stop`, beginning with this attack. Says when the edge refuses one.
async fn attack(
    client: Arc<Client>,
    targets: Arc<Targets>,
    first: usize,
    reached_edge: Arc<Notify>,
    stop: Arc<AtomicBool>,
) -> Attacks {
    let mut attacks = Attacks::new();
    let foreign = targets.foreign.to_string();
    for n in first.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let attack = &ATTACKS[n % ATTACKS.len()];
        let own = targets.own[n % targets.own.len()].to_string();
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
