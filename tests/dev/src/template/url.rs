//! Parses the URL of a function.
//!
//! A function URL has no paths of its own. In a deployment, whatever stands in front of it adds them;
//! `Metadata: {Routes: ["POST /path/{parameter}"]}` beside the function's properties names them.

use anyhow::{Context, Result, bail};
use serde_norway::Value;

use super::{Route, check_keys};

/// The keys that SAM knows in a `FunctionUrlConfig`.
const FUNCTION_URL_KEYS: &[&str] = &["AuthType", "Cors", "InvokeMode"];

/// The routes to the URL of a function resource; none if it has no URL.
pub(super) fn read(resource: &Value) -> Result<Vec<Route>> {
    let routes = &resource["Metadata"]["Routes"];
    let Some(url) = resource["Properties"]["FunctionUrlConfig"].as_mapping() else {
        if !routes.is_null() {
            bail!("Metadata has Routes, but there is no FunctionUrlConfig");
        }
        return Ok(Vec::new());
    };
    check_keys(url, FUNCTION_URL_KEYS).context("in FunctionUrlConfig")?;
    if url.get("InvokeMode").and_then(Value::as_str) != Some("RESPONSE_STREAM") {
        bail!(
            "FunctionUrlConfig must have InvokeMode: RESPONSE_STREAM; other routes belong to the API"
        );
    }
    let routes = routes.as_sequence().filter(|routes| !routes.is_empty());
    let routes: Option<Vec<Route>> = routes.and_then(|routes| routes.iter().map(route).collect());
    routes.context("a FunctionUrlConfig needs Metadata: {Routes: [\"METHOD /path\"]}")
}

/// `POST /path`.
fn route(text: &Value) -> Option<Route> {
    let (method, path) = text.as_str()?.split_once(' ')?;
    let is_route = !method.is_empty() && path.starts_with('/');
    is_route.then(|| Route {
        method: method.to_uppercase(),
        path: path.to_owned(),
        is_streamed: true,
    })
}
