//! Mails owners what events say, records what SES reports, and sweeps what is due, every minute.

use shared::api::notify::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::Requests)?,
        mailer: config::mailer()?,
        app_url: config::app_url()?,
    };
    lambda::serve_events("notify", |event, _| handle(deps, event)).await
}
