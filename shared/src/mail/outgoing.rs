//! A mail to be handed over, and why it was not.

use crate::domain::ids::DeliveryId;

/// A mail to one recipient.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Goes with the mail, so that the provider's feedback names it.
    pub id: DeliveryId,
    pub to: String,
    /// One line.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Why a mail was not handed over, or may not have been. `reason` holds neither addresses nor texts of servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The provider has not taken the mail, and may take it later.
    #[error("not handed over for now: {reason}")]
    Temporary { reason: String },
    /// The provider does not take this mail for this recipient.
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// The provider may have taken the mail: it had all of it, and its answer was lost.
    #[error("the outcome is unknown: {reason}")]
    Unknown { reason: String },
}

impl SendError {
    pub(super) fn temporary(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Temporary { reason }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Refused { reason }
    }

    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Unknown { reason }
    }
}
