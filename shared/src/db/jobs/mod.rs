//! `jobs`, as far as the rows are of this product's kinds (`milady_*`). Other applications' jobs in the table are
//! never touched.

pub mod lanes;
pub mod queue;
pub mod webhooks;
pub mod worker;
