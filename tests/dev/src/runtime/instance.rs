//! A running process of a function.

use std::collections::VecDeque;
use std::env;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, OwnedMutexGuard, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::api::{InstanceState, Invocation};
use super::stream::{Answer, StreamEnd, StreamedResponse};
use super::{Function, Outcome, RuntimeApi, lock};
use crate::calls;

/// Lambda's limit from the start of the process to its first poll.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Log lines kept per instance; older ones are dropped.
const MAX_LOG_LINES: usize = 10_000;

/// Linux counts processor time in hundredths of a second for all programs (`USER_HZ`).
const MILLISECONDS_PER_TICK: u64 = 10;

/// How long to wait for the last log lines of a process that has exited.
const LOG_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A running function. Dropping it kills the process.
#[derive(Debug)]
pub struct Instance {
    registration: Registration,
    pid: u32,
    started: Instant,
    /// Held during an invocation: Lambda sends an instance one event at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    stop: Arc<Notify>,
    /// How the process exited; `None` while it runs.
    exit: watch::Receiver<Option<String>>,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// An instance's place at the runtime API, given up when dropped.
#[derive(Debug)]
struct Registration {
    api: RuntimeApi,
    id: String,
    state: Arc<InstanceState>,
}

impl Registration {
    fn new(api: &RuntimeApi, function: &Function) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let state = Arc::new(InstanceState::new(function.name.clone()));
        api.register(&id, Arc::clone(&state));
        calls::learn_settings(function);
        Self {
            api: api.clone(),
            id,
            state,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.api.unregister(&self.id);
    }
}

impl Instance {
    pub(super) fn start(api: &RuntimeApi, function: Function) -> Result<Self> {
        let registration = Registration::new(api, &function);
        let mut command = Command::new(&function.binary);
        configure(&mut command, &registration, &function);
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", function.binary.display()))?;
        let output = child.stdout.take();
        Ok(Self::watch(
            registration,
            function.name,
            child,
            output,
            started,
        ))
    }

    pub(super) async fn start_after(
        api: &RuntimeApi,
        preparation: &str,
        function: Function,
    ) -> Result<Self> {
        let registration = Registration::new(api, &function);
        let mut command = Command::new("/bin/sh");
        configure(&mut command, &registration, &function);
        // The shell says that it is ready and waits for a line. So neither its own start nor the preparation is part of
        // the function's start.
        let script = format!("{preparation}\necho\nread -r line\nexec \"$0\" < /dev/null");
        let mut child = command
            .arg("-ec")
            .arg(script)
            .arg(&function.binary)
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run /bin/sh")?;
        let mut input = child.stdin.take().context("the shell has no input")?;
        let output = child.stdout.take().context("the shell has no output")?;
        let mut output = BufReader::new(output);
        let mut ready = String::new();
        let read = output.read_line(&mut ready).await;
        read.context("the shell's output cannot be read")?;
        if ready.is_empty() {
            let ended = child.wait_with_output().await?;
            let reason = String::from_utf8_lossy(&ended.stderr);
            let reason = reason.trim();
            bail!("the preparation of {} failed: {reason}", function.name);
        }
        let started = Instant::now();
        let written = input.write_all(b"\n").await;
        written.context("the shell does not read its input")?;
        Ok(Self::watch(
            registration,
            function.name,
            child,
            Some(output),
            started,
        ))
    }

    /// Takes care of a process that runs. `output` is its standard output.
    fn watch(
        registration: Registration,
        name: String,
        mut child: Child,
        output: Option<impl AsyncRead + Unpin + Send + 'static>,
        started: Instant,
    ) -> Self {
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let prefix = registration.api.inner.forward_logs.then_some(name);
        let readers = [
            spawn_log_reader(output, Arc::clone(&log), prefix.clone()),
            spawn_log_reader(child.stderr.take(), Arc::clone(&log), prefix),
        ];
        let stop = Arc::new(Notify::new());
        let pid = child.id().unwrap_or_default();
        let (exit_sender, exit) = watch::channel(None);
        tokio::spawn(watch_over(child, readers, Arc::clone(&stop), exit_sender));
        Self {
            registration,
            pid,
            started,
            turn: Arc::default(),
            stop,
            exit,
            log,
        }
    }

    /// Sends one event and waits for the outcome, at most `timeout`. The time counts from the first
    /// poll, as in Lambda, and the function receives the real deadline. A streamed response is
    /// collected.
    pub async fn invoke(&self, payload: Value, timeout: Duration) -> Outcome {
        match self.invoke_streaming(payload, timeout).await {
            Ok(streamed) => streamed.collect_response().await,
            Err(outcome) => outcome,
        }
    }

    /// Sends one event and returns as soon as a streamed response has started. The instance takes
    /// no other event until the response has ended, whether or not anybody reads the response.
    /// `timeout` limits the whole response.
    ///
    /// The error is the outcome of an invocation that started no stream: [`Outcome::Success`] if
    /// the function answered in one piece.
    pub async fn invoke_streaming(
        &self,
        payload: Value,
        timeout: Duration,
    ) -> std::result::Result<StreamedResponse, Outcome> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.wait_until_ready().await?;
        let request_id = Uuid::new_v4().to_string();
        let (answer_sender, answer) = oneshot::channel();
        lock(&self.registration.state.waiting).insert(request_id.clone(), answer_sender);
        let expires_at = tokio::time::Instant::now() + timeout;
        let deadline = chrono::Utc::now() + timeout;
        let invocation = Invocation {
            request_id: request_id.clone(),
            deadline_ms: deadline.timestamp_millis(),
            payload: payload.to_string().into_bytes(),
        };
        // The state owns the receiver beside the sender, so this cannot fail.
        let _ = self.registration.state.invocations.send(invocation);
        tokio::select! {
            // Prefer an answer, even if the process exited right after sending it.
            biased;
            Ok(answer) = answer => match answer {
                Answer::Complete(outcome) => Err(outcome),
                Answer::Started(prelude, chunks, received_end) => {
                    let (reported_end_sender, reported_end) = oneshot::channel();
                    tokio::spawn(self.watch_stream(
                        received_end,
                        expires_at,
                        turn,
                        reported_end_sender,
                    ));
                    Ok(StreamedResponse::new(prelude, chunks, reported_end))
                }
            },
            status = self.wait_for_exit() => Err(Outcome::Crashed { status }),
            () = tokio::time::sleep_until(expires_at) => {
                lock(&self.registration.state.waiting).remove(&request_id);
                self.kill().await;
                Err(Outcome::TimedOut)
            }
        }
    }

    /// Holds the instance's turn until its stream has ended, and reports how it ended.
    fn watch_stream(
        &self,
        received_end: oneshot::Receiver<StreamEnd>,
        expires_at: tokio::time::Instant,
        turn: OwnedMutexGuard<()>,
        reported_end_sender: oneshot::Sender<StreamEnd>,
    ) -> impl Future<Output = ()> + use<> {
        let (stop, exit) = (Arc::clone(&self.stop), self.exit.clone());
        async move {
            let end = tokio::select! {
                biased;
                received = received_end => if let Ok(end) = received {
                    end
                } else {
                    // The connection broke, so the process has exited or is unusable.
                    stop.notify_one();
                    Err(Outcome::Crashed { status: wait_for_exit(exit).await })
                },
                () = tokio::time::sleep_until(expires_at) => {
                    stop.notify_one();
                    wait_for_exit(exit).await;
                    Err(Outcome::TimedOut)
                }
            };
            drop(turn);
            // Fails if nobody reads the stream any more.
            let _ = reported_end_sender.send(end);
        }
    }

    /// Kills the process (SIGKILL) and waits until it is gone. A concurrent invocation ends as
    /// [`Outcome::Crashed`].
    pub async fn kill(&self) {
        self.stop.notify_one();
        self.wait_for_exit().await;
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// From the start of the process to its first poll; `None` before that.
    #[must_use]
    pub fn time_to_first_poll(&self) -> Option<Duration> {
        let first = *self.registration.state.first_poll.borrow();
        first.map(|first| first.duration_since(self.started))
    }

    /// Waits for the first poll and returns the time from the start to it. The error is the outcome
    /// that an invocation of this instance would have.
    pub async fn wait_until_ready(&self) -> std::result::Result<Duration, Outcome> {
        let mut polls = self.registration.state.first_poll.subscribe();
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
            status = self.wait_for_exit() => {
                Err(lock(&self.registration.state.init_error).clone().unwrap_or(Outcome::Crashed { status }))
            }
            () = tokio::time::sleep(INIT_TIMEOUT) => {
                self.kill().await;
                Err(Outcome::TimedOut)
            }
        }
    }

    /// The peak resident memory in KiB; `None` once the process has exited.
    #[must_use]
    pub fn peak_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// The processor time so far, of all threads; `None` once the process has exited.
    #[must_use]
    pub fn processor_time(&self) -> Option<Duration> {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The second field, the name, may contain blanks. The times are the fields 14 and 15.
        let (_, after_name) = status.rsplit_once(')')?;
        let times = after_name.split_whitespace().skip(11).take(2);
        let ticks = times.map(|ticks| ticks.parse::<u64>().ok());
        let ticks = ticks.sum::<Option<u64>>()?;
        Some(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
    }

    /// The number of file descriptors that are open now; `None` once the process has exited.
    #[must_use]
    pub fn open_descriptors(&self) -> Option<usize> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).ok()?;
        Some(entries.count())
    }

    /// The log lines so far, of standard output and standard error in order of arrival. Complete
    /// once the process has exited.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        lock(&self.log).iter().cloned().collect()
    }

    /// Waits until the process exits. Returns its exit status as text.
    async fn wait_for_exit(&self) -> String {
        wait_for_exit(self.exit.clone()).await
    }
}

async fn wait_for_exit(mut exit: watch::Receiver<Option<String>>) -> String {
    match exit.wait_for(Option::is_some).await {
        Ok(status) => status.clone().unwrap_or_default(),
        Err(_) => "unknown".to_owned(),
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// Gives the process its environment and its outputs.
fn configure(command: &mut Command, registration: &Registration, function: &Function) {
    let Registration { api, id, .. } = registration;
    command
        .env_clear()
        // Lambda's own value is `host:port`; an address with a path needs the scheme.
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
        // Any keys will do; without them the SDK searches for some. The stand-ins tell the functions by them.
        .env("AWS_ACCESS_KEY_ID", calls::access_key_id(&function.name))
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(&function.env)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
}

/// Waits until the process exits, and kills it when `stop` is notified. Reports the exit once the
/// last log lines are read. Dropping the future kills the process.
async fn watch_over(
    mut child: Child,
    readers: [Option<JoinHandle<()>>; 2],
    stop: Arc<Notify>,
    exit_sender: watch::Sender<Option<String>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = stop.notified() => {
            // Fails only if the process exits at this moment.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    for reader in readers.into_iter().flatten() {
        // A child process that outlives the function may hold the pipe open, so do not wait
        // forever.
        let _ = tokio::time::timeout(LOG_DRAIN_TIMEOUT, reader).await;
    }
    let description = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    exit_sender.send_replace(Some(description));
}

/// Reads the lines of a process's output into the log, until the output ends.
fn spawn_log_reader(
    output: Option<impl AsyncRead + Unpin + Send + 'static>,
    log: Arc<Mutex<VecDeque<String>>>,
    prefix: Option<String>,
) -> Option<JoinHandle<()>> {
    let output = output?;
    Some(tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // Metrics in the embedded format are meant for CloudWatch, not for people.
            if let Some(prefix) = prefix
                .as_ref()
                .filter(|_| !line.contains("CloudWatchMetrics"))
            {
                eprintln!("[{prefix}] {line}");
            }
            let mut log = lock(&log);
            if log.len() >= MAX_LOG_LINES {
                log.pop_front();
            }
            log.push_back(line);
        }
    }))
}
