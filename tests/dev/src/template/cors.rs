//! The `CorsConfiguration` of the API.

use anyhow::{Context, Result};
use serde_norway::Value;

use super::known;
use super::value::{Scope, scalar};

/// Which other origins may call the API, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// The origins, or `*`.
    pub origins: Vec<String>,
    /// Methods they may use.
    pub methods: Vec<String>,
    /// Headers they may send.
    pub headers: Vec<String>,
    /// Headers of the response they may read.
    pub exposed: Vec<String>,
    /// Whether browsers may send cookies along.
    pub credentials: bool,
    /// For how many seconds the answer to a preflight holds.
    pub max_age: Option<u64>,
}

/// Reads the configuration of an `AWS::Serverless::HttpApi`; none when it has none.
pub(super) fn read(properties: &Value, scope: &Scope) -> Result<Option<Cors>> {
    let configuration = &properties["CorsConfiguration"];
    if configuration.is_null() {
        return Ok(None);
    }
    let mapping = configuration.as_mapping().context("a mapping is wanted")?;
    known(
        mapping,
        &[
            "AllowCredentials",
            "AllowHeaders",
            "AllowMethods",
            "AllowOrigins",
            "ExposeHeaders",
            "MaxAge",
        ],
    )?;
    let list = |key: &str| match mapping.get(key) {
        None => Ok(Vec::new()),
        Some(value) => scope
            .list(value)
            .with_context(|| format!("{key} is not a list")),
    };
    let single = |key: &str| mapping.get(key).and_then(scalar);
    Ok(Some(Cors {
        origins: list("AllowOrigins")?,
        methods: list("AllowMethods")?,
        headers: list("AllowHeaders")?,
        exposed: list("ExposeHeaders")?,
        credentials: single("AllowCredentials").as_deref() == Some("true"),
        max_age: single("MaxAge")
            .map(|seconds| seconds.parse().context("MaxAge is not a number"))
            .transpose()?,
    }))
}
