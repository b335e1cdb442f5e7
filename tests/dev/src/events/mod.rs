//! A stand-in for `EventBridge`: accepts `PutEvents` over HTTP like the real one, and delivers each
//! event to the functions whose rules in the template match it, or to the queues in front of them.
//!
//! Delivery is asynchronous: the sender does not wait, and a function that fails is retried as
//! often as the template says. Tests can inspect the accepted events and make the bus fail.

mod pattern;
mod put_events;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::calls::{self, Call};
use crate::gateway::describe;
use crate::runtime::{Outcome, Pool, RETRY_AFTER};
use crate::template::{Queue, Template};
use pattern::Pattern;
use put_events::{AcceptedEvent, Refusal};

/// The number of events that are kept for inspection; older ones are dropped.
const MAX_RECORDED_EVENTS: usize = 10_000;

/// A running bus, which stops when dropped.
#[derive(Debug)]
pub struct EventBus {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    buses: Vec<String>,
    targets: Vec<Target>,
    retry_after: Vec<Duration>,
    state: Mutex<BusState>,
    /// The number of deliveries in progress.
    pending_deliveries: watch::Sender<usize>,
}

#[derive(Clone, Debug)]
struct Target {
    bus: String,
    pattern: Pattern,
    /// The queue in which events wait, if the rule does not invoke the function itself.
    queue: Option<Queue>,
    function: String,
    timeout: Duration,
    retries: usize,
}

#[derive(Debug, Default)]
struct BusState {
    is_down: bool,
    refused_detail_type: Option<String>,
    received: Vec<Value>,
    pool: Option<Pool>,
    deliveries: JoinSet<()>,
    /// How many more events each queue may deliver now, by the queues' names.
    free: HashMap<String, Arc<Semaphore>>,
}

impl EventBus {
    /// Starts a bus with the buses and rules of a template. It accepts events at once and delivers
    /// them from [`Self::deliver_to`] on, because functions need the bus's address before they
    /// exist.
    pub async fn start(template: &Template) -> Result<Self> {
        Self::start_with(template, &RETRY_AFTER).await
    }

    /// Like [`Self::start`], with other waits before retries, for tests.
    pub async fn start_with(template: &Template, retry_after: &[Duration]) -> Result<Self> {
        let shared = Arc::new(Shared {
            buses: template.buses.clone(),
            targets: targets(template)?,
            retry_after: retry_after.to_vec(),
            state: Mutex::default(),
            pending_deliveries: watch::Sender::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for the event bus")?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // Only a broken listener ends this; every request then fails visibly.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// Delivers the events accepted from now on to the functions of `pool`.
    pub fn deliver_to(&self, pool: Pool) {
        let free = self.shared.queue_shares(pool.max_instances());
        let mut state = self.shared.lock();
        state.free = free;
        state.pool = Some(pool);
    }

    /// The endpoint, for `AWS_ENDPOINT_URL_EVENTBRIDGE`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The accepted events, oldest first, in the form that a rule delivers.
    #[must_use]
    pub fn received(&self) -> Vec<Value> {
        self.shared.lock().received.clone()
    }

    /// While down, the bus answers every request with status 500.
    pub fn set_down(&self, down: bool) {
        self.shared.lock().is_down = down;
    }

    /// Refuses entries of this detail type only, like a throttled `EventBridge`; `None` refuses
    /// nothing.
    pub fn refuse(&self, detail_type: Option<&str>) {
        self.shared.lock().refused_detail_type = detail_type.map(str::to_owned);
    }

    /// Waits until every delivery has succeeded or has been given up.
    pub async fn wait_until_idle(&self) {
        let mut pending_deliveries = self.shared.pending_deliveries.subscribe();
        // Fails only if the sender is dropped, and `self` holds it.
        let _ = pending_deliveries.wait_for(|count| *count == 0).await;
    }
}

impl Drop for EventBus {
    fn drop(&mut self) {
        self.server.abort();
        // Whoever drops the bus stops what the functions need, too: their failures say nothing then.
        self.shared.lock().deliveries.abort_all();
    }
}

fn targets(template: &Template) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for function in &template.functions {
        let direct = function.rules.iter().map(|rule| (rule, None));
        let queued = function.queues.iter().flat_map(|queue| {
            let rules = queue.rules.iter();
            rules.map(move |rule| (rule, Some(queue)))
        });
        for (rule, queue) in direct.chain(queued) {
            let pattern = Pattern::parse(&rule.pattern)
                .with_context(|| format!("the pattern of {}", function.resource))?;
            if rule.bus != "default" && !template.buses.contains(&rule.bus) {
                bail!(
                    "the rule of {} names an unknown bus, {}",
                    function.resource,
                    rule.bus
                );
            }
            targets.push(Target {
                bus: rule.bus.clone(),
                pattern,
                queue: queue.cloned(),
                function: function.name.clone(),
                timeout: function.timeout,
                // An event in a queue expires before it would be visible again.
                retries: match queue {
                    Some(_) => 0,
                    None => usize::try_from(function.retries)?,
                },
            });
        }
    }
    Ok(targets)
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    record(&headers, &body);
    if shared.lock().is_down {
        let message = "A test has set the bus down.".to_owned();
        let code = "InternalException";
        return failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            &Refusal { code, message },
        );
    }
    let target = headers.get("x-amz-target").and_then(|to| to.to_str().ok());
    if target != Some("AWSEvents.PutEvents") {
        let message = format!(
            "the stand-in does not support {}",
            target.unwrap_or("a request without a target")
        );
        let code = "UnknownOperationException";
        return failure(StatusCode::BAD_REQUEST, &Refusal { code, message });
    }
    match put_events::read(&body, &shared.buses, chrono::Utc::now()) {
        Err(refusal) => failure(StatusCode::BAD_REQUEST, &refusal),
        Ok(entries) => {
            let results: Vec<Value> = entries
                .into_iter()
                .map(|entry| result(entry.and_then(|accepted| shared.accept(accepted))))
                .collect();
            let failed = results
                .iter()
                .filter(|result| result.get("EventId").is_none());
            let answer = json!({"FailedEntryCount": failed.count(), "Entries": results});
            reply(StatusCode::OK, &answer)
        }
    }
}

/// A call that is answered with an error needs the right to be made all the same.
fn record(headers: &HeaderMap, body: &[u8]) {
    if !calls::is_recording() {
        return;
    }
    let header = |name: &str| headers.get(name).and_then(|text| text.to_str().ok());
    let action = header("x-amz-target").unwrap_or_default();
    let action = action.replace("AWSEvents.", "events:");
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    for entry in request["Entries"].as_array().into_iter().flatten() {
        let call = Call {
            action: &action,
            resource: entry["EventBusName"].as_str().unwrap_or("default"),
            leading_keys: Vec::new(),
        };
        calls::record(header("authorization").unwrap_or_default(), &call);
    }
}

fn result(entry: Result<Value, Refusal>) -> Value {
    match entry {
        Ok(id) => json!({ "EventId": id }),
        Err(Refusal { code, message }) => json!({"ErrorCode": code, "ErrorMessage": message}),
    }
}

impl Shared {
    /// A poisoned lock guards plain data here, which is still valid.
    fn lock(&self) -> MutexGuard<'_, BusState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an event and starts its deliveries. Returns its id.
    fn accept(
        self: &Arc<Self>,
        AcceptedEvent { bus, event }: AcceptedEvent,
    ) -> Result<Value, Refusal> {
        let mut state = self.lock();
        if state.refused_detail_type.as_deref() == event["detail-type"].as_str() {
            return Err(Refusal {
                code: "ThrottlingException",
                message: "Rate exceeded".to_owned(),
            });
        }
        // Forgets those that have ended.
        while state.deliveries.try_join_next().is_some() {}
        if let Some(pool) = state.pool.clone() {
            let matching = |target: &&Target| target.bus == bus && target.pattern.matches(&event);
            for target in self.targets.iter().filter(matching) {
                self.pending_deliveries.send_modify(|count| *count += 1);
                let queue = target.queue.as_ref();
                let free = queue.and_then(|queue| state.free.get(&queue.resource).cloned());
                let delivery = Arc::clone(self);
                let delivery = delivery.deliver(pool.clone(), target.clone(), free, event.clone());
                state.deliveries.spawn(delivery);
            }
        }
        let id = event["id"].clone();
        if state.received.len() >= MAX_RECORDED_EVENTS {
            state.received.remove(0);
        }
        state.received.push(event);
        Ok(id)
    }

    /// The share of each queue in the instances of its function, in proportion to what the template allows each: in the
    /// local stack a function has fewer instances than in Lambda.
    fn queue_shares(&self, max_instances: usize) -> HashMap<String, Arc<Semaphore>> {
        let queues: HashMap<&str, (&str, usize)> = self
            .targets
            .iter()
            .filter_map(|target| {
                let queue = target.queue.as_ref()?;
                let function = target.function.as_str();
                Some((queue.resource.as_str(), (function, queue.max_concurrency)))
            })
            .collect();
        let share = |(function, max_concurrency): (&str, usize)| {
            let of_function = queues.values().filter(|(other, _)| *other == function);
            let all: usize = of_function.map(|(_, maximum)| maximum).sum();
            let share = max_instances * max_concurrency / all.max(1);
            share.clamp(1, max_concurrency.max(1))
        };
        queues
            .iter()
            .map(|(name, queue)| ((*name).to_owned(), Arc::new(Semaphore::new(share(*queue)))))
            .collect()
    }

    async fn deliver(
        self: Arc<Self>,
        pool: Pool,
        target: Target,
        free: Option<Arc<Semaphore>>,
        event: Value,
    ) {
        match (&target.queue, free) {
            (Some(queue), Some(free)) => {
                // An event that waits too long is lost, as in the queue.
                if let Ok(Ok(_place)) = timeout(queue.retention, free.acquire()).await {
                    self.invoke(&pool, &target, message(&event)).await;
                }
            }
            _ => self.invoke(&pool, &target, event).await,
        }
        self.pending_deliveries.send_modify(|count| *count -= 1);
    }

    async fn invoke(&self, pool: &Pool, target: &Target, payload: Value) {
        let mut waits = self.retry_after.iter().take(target.retries);
        loop {
            let function = &target.function;
            let failed = match pool.invoke(function, payload.clone(), target.timeout).await {
                Ok(Outcome::Success(_)) => break,
                failed => describe(failed),
            };
            println!("{function} FAILED: {failed}");
            let Some(wait) = waits.next() else { break };
            println!("  next attempt of {function} in {} s", wait.as_secs());
            tokio::time::sleep(*wait).await;
        }
    }
}

/// The event as a queue delivers it.
fn message(event: &Value) -> Value {
    json!({"Records": [{
        "messageId": event["id"],
        "body": event.to_string(),
        "eventSource": "aws:sqs",
        "awsRegion": event["region"],
    }]})
}

fn failure(status: StatusCode, Refusal { code, message }: &Refusal) -> Response<Body> {
    let mut response = reply(status, &json!({"__type": code, "message": message}));
    let code = HeaderValue::from_static(code);
    response.headers_mut().insert("x-amzn-errortype", code);
    response
}

fn reply(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/x-amz-json-1.1");
    response.headers_mut().insert("content-type", kind);
    response
}
