//! How urgent an alert, an incident or a verdict is.

use crate::domain::words::words;

words! {
    /// The most severe comes first.
    #[derive(PartialOrd, Ord)]
    pub enum Severity {
        /// An operator has to act now.
        Critical = "critical",
        /// An operator should look at it.
        Warning = "warning",
        Info = "info",
    }
}
