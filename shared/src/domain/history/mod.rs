//! An organization's history: what was charged, used and added. Owns: the order of its rows, and where pages begin.

mod keys;
mod merge;
mod period;
mod position;
mod series;

pub use keys::{ChargeKey, ChargedSpan, charge_keys};
pub use merge::{Merged, merge, oldest_of_full_page};
pub use period::{Period, days_around, hours_around};
pub use position::{AgentPosition, ChargeLinePosition, HistoryPosition, OtherPosition, Positioned};
pub use series::{BalanceChange, BalanceHistory, Opening, SeriesStep, StepLength, series};
