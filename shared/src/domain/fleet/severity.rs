//! How urgent an alert, an incident or a verdict is.

use serde::{Deserialize, Serialize};

/// The most severe comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// An operator has to act now.
    Critical,
    /// An operator should look at it.
    Warning,
    Info,
}
