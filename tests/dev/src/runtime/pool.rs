//! Instances kept warm per function, as Lambda keeps them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::{Function, Instance, Outcome, RuntimeApi, Streamed, lock};

/// Instances of one function at the same time; more events wait for a free one.
const INSTANCES: usize = 10;

/// Functions by name, each with its idle instances. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    api: RuntimeApi,
    members: Arc<HashMap<String, Arc<Member>>>,
}

#[derive(Debug)]
struct Member {
    function: Function,
    idle: Mutex<Vec<Instance>>,
    free: Semaphore,
}

impl Pool {
    /// A pool of these functions; nothing is started before the first event.
    #[must_use]
    pub fn new(api: RuntimeApi, functions: Vec<Function>) -> Self {
        let members = functions
            .into_iter()
            .map(|function| {
                let member = Member {
                    idle: Mutex::default(),
                    free: Semaphore::new(INSTANCES),
                    function,
                };
                (member.function.name.clone(), Arc::new(member))
            })
            .collect();
        Self {
            api,
            members: Arc::new(members),
        }
    }

    /// Whether there is a function of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Invokes a function on an idle instance, or on a new one when all are busy. As in Lambda, a
    /// caller that goes away does not stop the function.
    ///
    /// # Errors
    /// When there is no such function or its binary cannot be run.
    pub async fn invoke(&self, name: &str, payload: Value, timeout: Duration) -> Result<Outcome> {
        Ok(match self.invoke_streaming(name, payload, timeout).await? {
            Ok(streamed) => streamed.whole().await,
            Err(outcome) => outcome,
        })
    }

    /// The same, but returns as soon as a streamed response has begun; the inner error is how the
    /// invocation ended when none has. The instance is idle again once the stream has ended.
    ///
    /// # Errors
    /// As [`Pool::invoke`].
    pub async fn invoke_streaming(
        &self,
        name: &str,
        payload: Value,
        timeout: Duration,
    ) -> Result<std::result::Result<Streamed, Outcome>> {
        let member = self.members.get(name);
        let member = Arc::clone(member.with_context(|| format!("no function named {name}"))?);
        let api = self.api.clone();
        let (tell, told) = oneshot::channel();
        let run = async move {
            let _permit = member.free.acquire().await;
            let instance = match member.take_idle() {
                Some(instance) => Ok(instance),
                None => api.spawn(member.function.clone()),
            };
            let instance = match instance {
                Ok(instance) => instance,
                Err(error) => return drop(tell.send(Err(error))),
            };
            // Whoever is told of an end finds the instance idle.
            match instance.invoke_streaming(payload, timeout).await {
                Ok(mut streamed) => {
                    let (ended, tell_end) = streamed.body.hold_back_the_end();
                    let _ = tell.send(Ok(Ok(streamed)));
                    let ending = ended.await;
                    member.give_back(instance);
                    if let Ok(ending) = ending {
                        let _ = tell_end.send(ending);
                    }
                }
                Err(outcome) => {
                    member.give_back(instance);
                    let _ = tell.send(Ok(Err(outcome)));
                }
            }
        };
        tokio::spawn(run);
        told.await.context("the invocation was lost")?
    }
}

impl Member {
    /// The instance used last that is still alive; dead ones are dropped on the way.
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
