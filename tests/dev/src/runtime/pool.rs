//! Keeps warm instances per function, as Lambda does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::{Function, Instance, Outcome, RuntimeApi, StreamedResponse, lock};

/// The maximum number of instances per function, so that the local stack stays small. More events wait for a free
/// instance, in the order of their arrival.
const MAX_INSTANCES: usize = 10;

/// Functions with their idle instances. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    api: RuntimeApi,
    functions: Arc<HashMap<String, Arc<PooledFunction>>>,
    max_instances: usize,
}

#[derive(Debug)]
struct PooledFunction {
    function: Function,
    idle: Mutex<Vec<Instance>>,
    free: Semaphore,
}

impl Pool {
    /// Creates a pool. Nothing starts before the first event.
    #[must_use]
    pub fn new(api: RuntimeApi, functions: Vec<Function>) -> Self {
        Self::with_max_instances(api, functions, MAX_INSTANCES)
    }

    /// A pool with another maximum of instances per function. One that is never reached does as Lambda does, which
    /// starts an instance whenever all are busy.
    #[must_use]
    pub fn with_max_instances(
        api: RuntimeApi,
        functions: Vec<Function>,
        max_instances: usize,
    ) -> Self {
        let functions = functions
            .into_iter()
            .map(|function| {
                let pooled = PooledFunction {
                    idle: Mutex::default(),
                    free: Semaphore::new(max_instances),
                    function,
                };
                (pooled.function.name.clone(), Arc::new(pooled))
            })
            .collect();
        Self {
            api,
            functions: Arc::new(functions),
            max_instances,
        }
    }

    /// The maximum number of instances per function.
    #[must_use]
    pub fn max_instances(&self) -> usize {
        self.max_instances
    }

    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// Invokes a function on an idle instance, or on a new one if all are busy. As in Lambda, the
    /// function continues if the caller goes away.
    pub async fn invoke(&self, name: &str, payload: Value, timeout: Duration) -> Result<Outcome> {
        Ok(match self.invoke_streaming(name, payload, timeout).await? {
            Ok(streamed) => streamed.collect_response().await,
            Err(outcome) => outcome,
        })
    }

    /// Like [`Pool::invoke`], but returns as soon as a streamed response has started. The inner
    /// error is the outcome of an invocation that started no stream. The instance is idle again
    /// once the stream has ended.
    pub async fn invoke_streaming(
        &self,
        name: &str,
        payload: Value,
        timeout: Duration,
    ) -> Result<std::result::Result<StreamedResponse, Outcome>> {
        let pooled = self.functions.get(name);
        let pooled = Arc::clone(pooled.with_context(|| format!("no function named {name}"))?);
        let api = self.api.clone();
        let (result_sender, result) = oneshot::channel();
        let run = async move {
            let _permit = pooled.free.acquire().await;
            let instance = match pooled.take_idle() {
                Some(instance) => Ok(instance),
                None => api.spawn(pooled.function.clone()),
            };
            let instance = match instance {
                Ok(instance) => instance,
                Err(error) => return drop(result_sender.send(Err(error))),
            };
            // Return the instance before reporting the end, so that whoever learns of it finds the
            // instance idle.
            match instance.invoke_streaming(payload, timeout).await {
                Ok(mut streamed) => {
                    let (end, end_sender) = streamed.body.intercept_end();
                    let _ = result_sender.send(Ok(Ok(streamed)));
                    let stream_end = end.await;
                    pooled.give_back(instance);
                    if let Ok(stream_end) = stream_end {
                        let _ = end_sender.send(stream_end);
                    }
                }
                Err(outcome) => {
                    pooled.give_back(instance);
                    let _ = result_sender.send(Ok(Err(outcome)));
                }
            }
        };
        tokio::spawn(run);
        result
            .await
            .context("the invocation's task ended without a result")?
    }
}

impl PooledFunction {
    /// The most recently used instance that is alive. Drops dead ones.
    fn take_idle(&self) -> Option<Instance> {
        let mut idle = lock(&self.idle);
        while let Some(instance) = idle.pop() {
            if instance.is_alive() {
                return Some(instance);
            }
        }
        None
    }

    fn give_back(&self, instance: Instance) {
        if instance.is_alive() {
            lock(&self.idle).push(instance);
        }
    }
}
