//! What a kind of jobs does.

use std::pin::Pin;

use super::context::JobContext;
use super::error::StepError;
use crate::domain::job::StepName;

pub(super) struct JobDefinition {
    /// In their order. A job may leave some out.
    pub(super) steps: &'static [StepName],
    /// Runs one attempt and completes the job. An error ends the attempt.
    pub(super) run: for<'a> fn(&'a mut JobContext<'_>) -> JobBody<'a>,
}

type JobBody<'a> = Pin<Box<dyn Future<Output = Result<(), StepError>> + Send + 'a>>;
