//! What the audit of billing can find. Owns: the kinds.

use serde::{Deserialize, Serialize};

use crate::domain::words::words;

words! {
    /// What is wrong. Every kind but `external_change` is an error.
    pub enum FindingKind {
        /// Other applications changed a balance and wrote no row that explains it.
        ExternalChange = "external_change",
        EntryWithoutCharges = "entry_without_charges",
        /// A usage entry is not the sum of its charges.
        EntryDiffersFromCharges = "entry_differs_from_charges",
        /// Charges refer to an entry that is not a usage entry.
        ChargesOfWrongEntryType = "charges_of_other_entry",
        EntryNumberRepeated = "entry_number_repeated",
        /// Entries of one organization are not in the order of their times.
        EntryOutOfOrder = "entry_out_of_order",
        /// The balance after an entry is not the balance before plus its amount.
        EntryArithmetic = "entry_arithmetic",
        /// A usage entry of an organization without an account.
        EntryWithoutAccount = "entry_without_account",
        ChargeWithoutEntry = "charge_without_entry",
        ChargeWithoutSpan = "charge_without_span",
        /// A charge's entry and its span belong to different organizations.
        ChargeOfOtherOrganization = "charge_of_other_organization",
        ChargeOutsideSpan = "charge_outside_span",
        ChargeAcrossHours = "charge_across_hours",
        /// The amount is not the rate times the time, rounded half to even.
        ChargeAmount = "charge_amount",
        ChargesOverlap = "charges_overlap",
        SpanChargedBeyondMark = "span_charged_beyond_mark",
        SpanChargedShortOfMark = "span_charged_short_of_mark",
        SpanStatedBeyondMark = "span_stated_beyond_mark",
        /// A span is settled although part of it is not stated.
        SpanSettledEarly = "span_settled_early",
        /// Two spans of one agent overlap.
        SpansOverlap = "spans_overlap",
        /// An agent is to be metered and is not.
        OpenSpanMissing = "open_span_missing",
        OpenSpanUnwanted = "open_span_unwanted",
        /// An agent is metered for another organization, kind or rate than its row says.
        OpenSpanDiffers = "open_span_differs",
        /// A day's usage is not the sum of its charges.
        UsageDayDiffers = "usage_day_differs",
        /// A day of the ledger does not match the entries or the day before.
        LedgerDayDiffers = "ledger_day_differs",
        /// The opening balance and all days do not add up to the last closing balance.
        OpeningBalanceDiffers = "opening_balance_differs",
        TotalBilledDiffers = "total_billed_differs",
        /// A complete run left an account charged further than it is decided.
        ChargedBeyondDecided = "charged_beyond_decided",
        /// Rows are in a default partition.
        MisplacedRows = "misplaced_rows",
        /// A trigger that refuses changes of the ledger is missing or disabled.
        UnprotectedTable = "unprotected_table",
        /// An agent was suspended although the mail provider never took its warning.
        SuspendedUnwarned = "suspended_unwarned",
        InvalidBalance = "invalid_balance",
        InvalidRate = "invalid_rate",
    }
}

/// How many findings of a kind are open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFindings {
    /// A word of [`FindingKind`], of this version or another.
    pub kind: String,
    pub count: i64,
}

impl OpenFindings {
    /// Kinds with their counts, for people.
    #[must_use]
    pub fn summary(open: &[Self]) -> String {
        let kinds = open
            .iter()
            .map(|open| format!("{} {}", open.count, open.kind));
        kinds.collect::<Vec<_>>().join(", ")
    }
}
