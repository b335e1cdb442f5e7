//! One running process of a function.

use std::env;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, OwnedMutexGuard, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::api::{Slot, Work};
use super::stream::{Answer, Ending, Streamed};
use super::{Function, Outcome, RuntimeApi, lock};

/// Lambda gives a function this long until its first poll.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// Lines of log kept per instance; older ones are dropped.
const LOG_LINES: usize = 10_000;

/// How long the last lines of an ended process may take to arrive.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A started function. Dropping it kills the process.
#[derive(Debug)]
pub struct Instance {
    api: RuntimeApi,
    id: String,
    slot: Arc<Slot>,
    pid: u32,
    started: Instant,
    /// Lambda gives an instance one event at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    stop: Arc<Notify>,
    ended: watch::Receiver<Option<String>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Instance {
    pub(super) fn start(api: &RuntimeApi, function: Function) -> Result<Self> {
        let id = Uuid::new_v4().simple().to_string();
        let slot = Arc::new(Slot::new(function.name.clone()));
        api.register(&id, Arc::clone(&slot));
        let mut command = command(api, &id, &function);
        let started = Instant::now();
        let spawned = command
            .spawn()
            .with_context(|| format!("cannot run {}", function.binary.display()));
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                api.forget(&id);
                return Err(error);
            }
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let prefix = api.inner.forward_logs.then_some(function.name);
        let readers = [
            collect(child.stdout.take(), Arc::clone(&log), prefix.clone()),
            collect(child.stderr.take(), Arc::clone(&log), prefix),
        ];
        let stop = Arc::new(Notify::new());
        let pid = child.id().unwrap_or_default();
        let (end, ended) = watch::channel(None);
        tokio::spawn(watch_over(child, readers, Arc::clone(&stop), end));
        Ok(Self {
            api: api.clone(),
            id,
            slot,
            pid,
            started,
            turn: Arc::default(),
            stop,
            ended,
            log,
        })
    }

    /// Sends one event and waits for the end of its handling, `timeout` at most. The time counts from
    /// the first poll, as in Lambda; the deadline the function is told is the real one. A streamed
    /// response is put together.
    pub async fn invoke(&self, payload: Value, timeout: Duration) -> Outcome {
        match self.invoke_streaming(payload, timeout).await {
            Ok(streamed) => streamed.whole().await,
            Err(outcome) => outcome,
        }
    }

    /// Sends one event and returns as soon as a streamed response has begun. The instance takes the next
    /// event when that has ended, whoever reads it; the time is up for the whole of it after `timeout`.
    ///
    /// # Errors
    /// With how it ended when no stream has begun. A function that answers in one piece has then
    /// succeeded.
    pub async fn invoke_streaming(
        &self,
        payload: Value,
        timeout: Duration,
    ) -> std::result::Result<Streamed, Outcome> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.ready().await?;
        let request_id = Uuid::new_v4().to_string();
        let (answer, answered) = oneshot::channel();
        lock(&self.slot.waiting).insert(request_id.clone(), answer);
        let up = tokio::time::Instant::now() + timeout;
        let deadline = chrono::Utc::now() + timeout;
        let work = Work {
            request_id: request_id.clone(),
            deadline_ms: deadline.timestamp_millis(),
            payload: payload.to_string().into_bytes(),
        };
        // The receiver lives in the slot, beside the sender: this cannot fail.
        let _ = self.slot.work.send(work);
        tokio::select! {
            // An answer that was sent counts, even if the process ended right after it.
            biased;
            Ok(answer) = answered => match answer {
                Answer::Whole(outcome) => Err(outcome),
                Answer::Begun(prelude, chunks, end) => {
                    let (tell, ending) = oneshot::channel();
                    tokio::spawn(self.watch_stream(end, up, turn, tell));
                    Ok(Streamed::new(prelude, chunks, ending))
                }
            },
            status = self.status() => Err(Outcome::Crashed { status }),
            () = tokio::time::sleep_until(up) => {
                lock(&self.slot.waiting).remove(&request_id);
                self.kill().await;
                Err(Outcome::TimedOut)
            }
        }
    }

    /// Keeps the instance busy until its stream has ended, and says how it did.
    fn watch_stream(
        &self,
        end: oneshot::Receiver<Ending>,
        up: tokio::time::Instant,
        turn: OwnedMutexGuard<()>,
        tell: oneshot::Sender<Ending>,
    ) -> impl Future<Output = ()> + use<> {
        let (stop, ended) = (Arc::clone(&self.stop), self.ended.clone());
        async move {
            let ending = tokio::select! {
                biased;
                told = end => if let Ok(ending) = told {
                    ending
                } else {
                    // The connection broke, so the process has ended, or it is of no use any more.
                    stop.notify_one();
                    Err(Outcome::Crashed { status: status(ended).await })
                },
                () = tokio::time::sleep_until(up) => {
                    stop.notify_one();
                    status(ended).await;
                    Err(Outcome::TimedOut)
                }
            };
            drop(turn);
            // Fails when nobody reads it any more.
            let _ = tell.send(ending);
        }
    }

    /// Kills the process (SIGKILL) and waits until it is gone. An invocation under way elsewhere
    /// then ends as [`Outcome::Crashed`].
    pub async fn kill(&self) {
        self.stop.notify_one();
        self.status().await;
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// From the start of the process to its first poll; `None` before that.
    #[must_use]
    pub fn time_to_first_poll(&self) -> Option<Duration> {
        let first = *self.slot.first_poll.borrow();
        first.map(|first| first.duration_since(self.started))
    }

    /// Waits for the first poll and says how long after the start it came.
    ///
    /// # Errors
    /// With the outcome an invocation would have when the function does not get that far.
    pub async fn ready(&self) -> std::result::Result<Duration, Outcome> {
        let mut polls = self.slot.first_poll.subscribe();
        let first_poll = async {
            polls
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|at| *at)
        };
        tokio::select! {
            biased;
            Some(first) = first_poll => Ok(first.duration_since(self.started)),
            status = self.status() => {
                Err(lock(&self.slot.init_error).clone().unwrap_or(Outcome::Crashed { status }))
            }
            () = tokio::time::sleep(INIT_LIMIT) => {
                self.kill().await;
                Err(Outcome::TimedOut)
            }
        }
    }

    /// The most memory the process has had resident so far, in KiB; `None` once it has ended.
    #[must_use]
    pub fn peak_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// The lines it has written so far, standard output and standard error in order of arrival;
    /// complete once it has ended.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// Waits for the end of the process.
    async fn status(&self) -> String {
        status(self.ended.clone()).await
    }
}

async fn status(mut ended: watch::Receiver<Option<String>>) -> String {
    match ended.wait_for(Option::is_some).await {
        Ok(status) => status.clone().unwrap_or_default(),
        Err(_) => "unknown".to_owned(),
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.notify_one();
        self.api.forget(&self.id);
    }
}

fn command(api: &RuntimeApi, id: &str, function: &Function) -> Command {
    let mut command = Command::new(&function.binary);
    command
        .env_clear()
        // Lambda's own value is host and port only; an address with a path needs the scheme.
        .env(
            "AWS_LAMBDA_RUNTIME_API",
            format!("http://{}/{id}", api.inner.address),
        )
        .env("AWS_LAMBDA_FUNCTION_NAME", &function.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env(
            "AWS_LAMBDA_LOG_GROUP_NAME",
            format!("/aws/lambda/{}", function.name),
        )
        .env("AWS_LAMBDA_LOG_STREAM_NAME", id)
        .env("AWS_REGION", "us-east-1")
        // Any keys will do; without them the SDK goes looking for some.
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(&function.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Owns the process: waits for its end, kills it when told to or when the runtime goes away. The end
/// is told once the last lines of its log are read.
async fn watch_over(
    mut child: Child,
    readers: [Option<JoinHandle<()>>; 2],
    stop: Arc<Notify>,
    end: watch::Sender<Option<String>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = stop.notified() => {
            // Fails only when it has ended by itself at this moment.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    for reader in readers.into_iter().flatten() {
        // A process of its own that outlives it may hold the pipe open: it is not waited for.
        let _ = tokio::time::timeout(LAST_LINES, reader).await;
    }
    let words = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    end.send_replace(Some(words));
}

fn collect(
    output: Option<impl AsyncRead + Unpin + Send + 'static>,
    log: Arc<Mutex<Vec<String>>>,
    prefix: Option<String>,
) -> Option<JoinHandle<()>> {
    let output = output?;
    Some(tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // Metrics in the embedded format are for CloudWatch, not for a reader.
            if let Some(prefix) = prefix
                .as_ref()
                .filter(|_| !line.contains("CloudWatchMetrics"))
            {
                eprintln!("[{prefix}] {line}");
            }
            let mut log = lock(&log);
            if log.len() >= LOG_LINES {
                log.remove(0);
            }
            log.push(line);
        }
    }))
}
