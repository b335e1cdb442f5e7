//! Calls the API through the function binaries. The routes of template.yaml choose the function.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dev::gateway::Routes;
use dev::runtime::Instance;
use dev::template::Template;
use serde_json::Value;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::suite::{Function, Request, Response};
use crate::world::World;

static ROUTES: LazyLock<Routes> =
    LazyLock::new(|| Routes::new(&Template::load().expect("template.yaml")));

/// How long `job-run` may take, as `template.yaml` says. It begins no step that it has no time for.
pub const JOB_TIMEOUT: Duration = Duration::from_mins(15);

/// Running instances that later calls of the same world reuse.
#[derive(Clone, Debug, Default)]
pub struct WarmInstances(Arc<Mutex<HashMap<String, Arc<Instance>>>>);

impl World {
    /// The event that API Gateway sends for a request.
    #[must_use]
    pub fn event(&self, request: &Request) -> Value {
        let route = ROUTES.find(&request.0.method, &request.0.path);
        let route = route.expect("every request has a route, at least the default route");
        dev::gateway::event::build(&request.0, &route.key, &route.parameters)
    }

    /// Answers a request from a warm instance, one request at a time.
    pub async fn call(&self, request: Request) -> Response {
        let route = ROUTES.find(&request.0.method, &request.0.path);
        let route = route.expect("every request has a route, at least the default route");
        let instance = self.instance(&route.function).await;
        Function::http_on(&instance, &route.key, &route.parameters, &request).await
    }

    /// Answers a request from a new instance, so that requests can run concurrently.
    pub async fn call_on_new_instance(&self, request: Request) -> Response {
        let route = ROUTES
            .find(&request.0.method, &request.0.path)
            .expect("a route");
        self.call_function(&self.function(&route.function), request)
            .await
    }

    /// Answers a request from a new instance of this function, which may have other settings.
    pub async fn call_function(&self, function: &Function, request: Request) -> Response {
        let route = ROUTES
            .find(&request.0.method, &request.0.path)
            .expect("a route");
        let instance = function.start().await;
        Function::http_on(&instance, &route.key, &route.parameters, &request).await
    }

    /// Answers a request from this instance.
    pub async fn call_instance(&self, instance: &Instance, request: Request) -> Response {
        let route = ROUTES
            .find(&request.0.method, &request.0.path)
            .expect("a route");
        Function::http_on(instance, &route.key, &route.parameters, &request).await
    }

    /// The function that a request is routed to.
    #[must_use]
    pub fn function_for(&self, request: &Request) -> Function {
        let route = ROUTES.find(&request.0.method, &request.0.path);
        self.function(&route.expect("a route").function)
    }

    /// The warm instance of a function; starts it if necessary.
    pub async fn instance(&self, function: &str) -> Arc<Instance> {
        let mut warm = self.warm_instances.0.lock().await;
        if let Some(instance) = warm.get(function).filter(|instance| instance.is_alive()) {
            return Arc::clone(instance);
        }
        let instance = Arc::new(self.function(function).start().await);
        warm.insert(function.to_owned(), Arc::clone(&instance));
        instance
    }

    /// Kills a function's warm instance and returns its log lines.
    pub async fn logs(&self, function: &str) -> Vec<String> {
        let instance = self.instance(function).await;
        instance.kill().await;
        instance.logs()
    }

    pub async fn get(&self, key: &str, path: &str) -> Response {
        self.call(Request::new("GET", path).key(key)).await
    }

    pub async fn post(&self, key: &str, path: &str) -> Response {
        self.call(Request::new("POST", path).key(key)).await
    }

    pub async fn post_json(&self, key: &str, path: &str, body: &Value) -> Response {
        self.call(Request::new("POST", path).key(key).json(body))
            .await
    }

    /// Runs a job through `job-run`, as the event `job.due` does, and returns the function's
    /// answer.
    pub async fn run_job(&self, job: Uuid) -> Value {
        let event = serde_json::json!({"detail-type": "job.due", "detail": {"jobId": job}});
        let instance = self.instance("job-run").await;
        match instance.invoke(event, JOB_TIMEOUT).await {
            dev::runtime::Outcome::Success(answer) => answer,
            other => panic!("job-run failed: {other:?}"),
        }
    }
}

/// The path of an agent, followed by `rest`.
#[must_use]
pub fn agent_path(agent: Uuid, rest: &str) -> String {
    format!("/api/v1/milady/agents/{agent}{rest}")
}
