//! What a kind of jobs is, apart from its name and class.

use std::pin::Pin;

use super::context::JobContext;
use super::error::StepError;
use crate::domain::job::{RetryRule, StepName};

pub(super) struct JobDefinition {
    /// In their order. A job may leave some out.
    pub(super) steps: &'static [StepName],
    pub(super) retry: RetryRule,
    /// Runs one attempt and completes the job. An error ends the attempt.
    pub(super) run: for<'a> fn(&'a mut JobContext<'_>) -> JobBody<'a>,
}

type JobBody<'a> = Pin<Box<dyn Future<Output = Result<(), StepError>> + Send + 'a>>;
