//! Calling the API through the very binaries: which function a request goes to is template.yaml's
//! business.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

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

/// Instances that were started for a world and serve it on.
#[derive(Clone, Debug, Default)]
pub struct Warm(Arc<Mutex<HashMap<String, Arc<Instance>>>>);

impl World {
    /// The event that a request becomes.
    #[must_use]
    pub fn event(&self, request: &Request) -> Value {
        let found = ROUTES.find(&request.0.method, &request.0.path);
        let found = found.expect("every request has a route, be it the default one");
        dev::gateway::event::build(&request.0, &found.key, &found.parameters)
    }

    /// The answer to a request, from a warm instance; one at a time.
    pub async fn call(&self, request: Request) -> Response {
        let found = ROUTES.find(&request.0.method, &request.0.path);
        let found = found.expect("every request has a route, be it the default one");
        let instance = self.instance(&found.function).await;
        Function::http_on(&instance, &found.key, &found.parameters, &request).await
    }

    /// The same from an instance of its own: for requests at the same moment.
    pub async fn call_cold(&self, request: Request) -> Response {
        let found = ROUTES
            .find(&request.0.method, &request.0.path)
            .expect("a route");
        self.call_on(&self.function(&found.function), request).await
    }

    /// The same with a function of other settings.
    pub async fn call_on(&self, function: &Function, request: Request) -> Response {
        let found = ROUTES
            .find(&request.0.method, &request.0.path)
            .expect("a route");
        let instance = function.start().await;
        Function::http_on(&instance, &found.key, &found.parameters, &request).await
    }

    /// The same on an instance there is.
    pub async fn call_at(&self, instance: &Instance, request: Request) -> Response {
        let found = ROUTES
            .find(&request.0.method, &request.0.path)
            .expect("a route");
        Function::http_on(instance, &found.key, &found.parameters, &request).await
    }

    /// The function that a request goes to.
    #[must_use]
    pub fn function_of(&self, request: &Request) -> Function {
        let found = ROUTES.find(&request.0.method, &request.0.path);
        self.function(&found.expect("a route").function)
    }

    /// The warm instance of a function.
    pub async fn instance(&self, function: &str) -> Arc<Instance> {
        let mut warm = self.warm.0.lock().await;
        if let Some(instance) = warm.get(function).filter(|instance| instance.is_alive()) {
            return Arc::clone(instance);
        }
        let instance = Arc::new(self.function(function).start().await);
        warm.insert(function.to_owned(), Arc::clone(&instance));
        instance
    }

    /// Kills a function's warm instance and answers what it logged.
    pub async fn logs(&self, function: &str) -> Vec<String> {
        let instance = self.instance(function).await;
        instance.kill().await;
        instance.logs()
    }

    /// `GET` with a key.
    pub async fn get(&self, key: &str, path: &str) -> Response {
        self.call(Request::new("GET", path).key(key)).await
    }

    /// `POST` with a key and without a body.
    pub async fn post(&self, key: &str, path: &str) -> Response {
        self.call(Request::new("POST", path).key(key)).await
    }

    /// `POST` with a key and a JSON body.
    pub async fn post_json(&self, key: &str, path: &str, body: &Value) -> Response {
        self.call(Request::new("POST", path).key(key).json(body))
            .await
    }

    /// Runs the job through its function, as the event that it is due does; what it answered.
    pub async fn run_job(&self, job: Uuid) -> Value {
        let event = serde_json::json!({"detail-type": "job.due", "detail": {"jobId": job}});
        let instance = self.instance("job-run").await;
        match instance
            .invoke(event, std::time::Duration::from_mins(1))
            .await
        {
            dev::runtime::Outcome::Success(answer) => answer,
            other => panic!("job-run failed: {other:?}"),
        }
    }
}

/// The path of an agent, with what follows it.
#[must_use]
pub fn agent_path(agent: Uuid, rest: &str) -> String {
    format!("/api/v1/milady/agents/{agent}{rest}")
}
