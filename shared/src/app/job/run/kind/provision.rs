//! `milady_provision`: starts an agent.

use crate::app::job::run::context::JobContext;
use crate::app::job::run::definition::JobDefinition;
use crate::app::job::run::error::StepError;
use crate::app::job::run::start::{self, RestoreBackup, StartTransaction};

pub(super) const PROVISION: JobDefinition = JobDefinition {
    steps: start::STEPS,
    run: |context| Box::pin(run(context)),
};

async fn run(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let start = StartTransaction::begin(context).await?;
    if start.is_running() {
        return start.complete(context).await;
    }
    let record = start.pass_gate(context).await?;
    let launched = start::launch_agent(context, record, RestoreBackup::UnlessVolumeIsThere);
    Box::pin(launched).await
}
