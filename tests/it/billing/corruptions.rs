//! Corruptions of billing's tables that the audit must find.

use shared::domain::billing::FindingKind;

/// SQL that corrupts the database, with triggers off.
pub struct Corruption {
    pub kind: FindingKind,
    pub sql: &'static str,
}

const fn corruption(kind: FindingKind, sql: &'static str) -> Corruption {
    Corruption { kind, sql }
}

/// `{entry}` is the last usage entry, `{charge}` the last charge, `{span}` its span, which is open.
pub const CORRUPTIONS: &[Corruption] = &[
    corruption(FindingKind::EntryWithoutCharges, "DELETE FROM usage_charges WHERE entry = {entry}"),
    corruption(
        FindingKind::EntryDiffersFromCharges,
        "UPDATE ledger_entries SET amount = amount - 0.01, balance_after = balance_after - 0.01 WHERE seq = {entry}",
    ),
    corruption(
        FindingKind::ChargesOfWrongEntryType,
        "UPDATE ledger_entries SET type = 'adjustment' WHERE seq = {entry}",
    ),
    corruption(
        FindingKind::EntryNumberRepeated,
        "INSERT INTO ledger_entries SELECT * FROM ledger_entries WHERE seq = {entry}",
    ),
    corruption(
        FindingKind::EntryOutOfOrder,
        "UPDATE ledger_entries SET created_at = created_at - interval '90 minutes' WHERE seq = {entry}",
    ),
    corruption(
        FindingKind::EntryArithmetic,
        "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_check;
        UPDATE ledger_entries SET balance_after = balance_after + 1 WHERE seq = {entry}",
    ),
    corruption(
        FindingKind::EntryWithoutAccount,
        "DELETE FROM billing_accounts WHERE organization_id =
            (SELECT organization_id FROM ledger_entries WHERE seq = {entry})",
    ),
    corruption(FindingKind::ChargeWithoutEntry, "DELETE FROM ledger_entries WHERE seq = {entry}"),
    corruption(FindingKind::ChargeWithoutSpan, "DELETE FROM usage_spans WHERE id = {span}"),
    corruption(
        FindingKind::ChargeOfOtherOrganization,
        "UPDATE usage_spans SET organization_id = gen_random_uuid() WHERE id = {span}",
    ),
    corruption(
        FindingKind::ChargeOutsideSpan,
        "UPDATE usage_spans SET started_at = (SELECT max(period_start) + interval '1 minute' FROM usage_charges
            WHERE span = {span}), billed_through = NULL WHERE id = {span}",
    ),
    corruption(
        FindingKind::ChargeAcrossHours,
        "UPDATE usage_charges SET period_end = period_end + interval '1 second' WHERE {charge}",
    ),
    corruption(FindingKind::ChargeAmount, "UPDATE usage_charges SET amount = amount + 0.000001 WHERE {charge}"),
    corruption(
        FindingKind::ChargesOverlap,
        "INSERT INTO usage_charges SELECT entry, span, period_start + interval '59 minutes', period_end, 0
            FROM usage_charges WHERE {charge}",
    ),
    corruption(
        FindingKind::SpanChargedBeyondMark,
        "INSERT INTO usage_charges SELECT entry, span, period_end, period_end + interval '1 hour', amount
            FROM usage_charges WHERE {charge}",
    ),
    corruption(
        FindingKind::SpanChargedShortOfMark,
        "DELETE FROM usage_charges WHERE {charge}",
    ),
    corruption(
        FindingKind::SpanStatedBeyondMark,
        "UPDATE usage_spans SET stated_through = billing_clock() + interval '1 day' WHERE id = {span}",
    ),
    corruption(
        FindingKind::SpanSettledEarly,
        "UPDATE usage_spans SET settled = true, ended_at = billing_clock(), billed_through = billing_clock()
            WHERE id = {span}",
    ),
    corruption(
        FindingKind::SpansOverlap,
        "INSERT INTO usage_spans (agent_id, agent_created_at, organization_id, kind, hourly_rate, list_priced,
            started_at, ended_at)
        SELECT agent_id, agent_created_at, organization_id, kind, hourly_rate, list_priced,
            started_at + interval '1 second', started_at + interval '2 seconds' FROM usage_spans WHERE id = {span}",
    ),
    corruption(
        FindingKind::OpenSpanMissing,
        "UPDATE usage_spans SET ended_at = billing_clock() WHERE id = {span}",
    ),
    corruption(
        FindingKind::OpenSpanUnwanted,
        "UPDATE milady_sandboxes SET status = 'pending' WHERE id = (SELECT agent_id FROM usage_spans WHERE id = {span})",
    ),
    corruption(
        FindingKind::OpenSpanDiffers,
        "UPDATE milady_sandboxes SET status = 'running' WHERE id IN (SELECT agent_id FROM usage_spans
            WHERE ended_at IS NULL AND kind = 'idle')",
    ),
    corruption(
        FindingKind::UsageDayDiffers,
        "UPDATE usage_days SET amount = amount + 0.000001 WHERE day = (SELECT max(day) FROM usage_days)",
    ),
    corruption(
        FindingKind::LedgerDayDiffers,
        "UPDATE ledger_days SET charged = charged - 1, external = external + 1
            WHERE day = (SELECT max(day) FROM ledger_days)",
    ),
    corruption(
        FindingKind::OpeningBalanceDiffers,
        "UPDATE billing_accounts SET opening_balance = opening_balance + 0.000001",
    ),
    corruption(
        FindingKind::TotalBilledDiffers,
        "UPDATE milady_sandboxes SET total_billed = total_billed + 0.000001",
    ),
    corruption(
        FindingKind::ChargedBeyondDecided,
        "UPDATE billing_accounts SET decided_through = decided_through - interval '1 hour'",
    ),
    corruption(
        FindingKind::MisplacedRows,
        "INSERT INTO ledger_entries (organization_id, created_at, type, amount, balance_before, balance_after)
        SELECT id, '2099-01-01', 'adjustment', 0, credit_balance, credit_balance FROM organizations",
    ),
    corruption(
        FindingKind::UnprotectedTable,
        "ALTER TABLE usage_charges_2026_05 DISABLE TRIGGER refuse_change",
    ),
    corruption(FindingKind::UnprotectedTable, "DROP TRIGGER refuse_change ON ledger_entries"),
    corruption(FindingKind::UnprotectedTable, "DROP TRIGGER refuse_truncate ON ledger_entries_2026_04"),
    corruption(
        FindingKind::SuspendedUnwarned,
        "UPDATE milady_sandboxes SET billing_status = 'suspended', shutdown_warning_sent_at = e.occurred_at
        FROM outbox_events e WHERE e.type = 'agent.shutdown_scheduled'
            AND e.organization_id = milady_sandboxes.organization_id;
        UPDATE outbox_events SET handed_over_at = NULL",
    ),
    // Suspended in an organization that has no warning.
    corruption(
        FindingKind::SuspendedUnwarned,
        "UPDATE milady_sandboxes SET billing_status = 'suspended',
            shutdown_warning_sent_at = billing_clock() - interval '7 days';
        INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
        SELECT id::text, 'agent.suspended', organization_id,
            jsonb_build_object('agents', jsonb_build_array(jsonb_build_object('id', id))), billing_clock()
        FROM milady_sandboxes",
    ),
    corruption(
        FindingKind::InvalidBalance,
        "ALTER TABLE organizations DROP CONSTRAINT cloud_organizations_balance_check;
        UPDATE organizations SET credit_balance = 'NaN'",
    ),
    corruption(
        FindingKind::InvalidRate,
        "ALTER TABLE milady_sandboxes DROP CONSTRAINT cloud_milady_sandboxes_rate_check;
        UPDATE milady_sandboxes SET hourly_rate = 'NaN'",
    ),
];

const LAST_ENTRY: &str = "(SELECT max(seq) FROM ledger_entries WHERE type = 'usage')";
/// The open span of the rich organization's running agent.
const SPAN: &str = "(SELECT id FROM usage_spans WHERE ended_at IS NULL AND kind = 'running' AND hourly_rate = 0.0307)";

pub fn corrupting_sql(sql: &str) -> String {
    let charge = "(span, period_start) = (SELECT span, max(period_start) FROM usage_charges WHERE span = {span}
        GROUP BY span)";
    let sql = sql
        .replace("{charge}", charge)
        .replace("{span}", SPAN)
        .replace("{entry}", LAST_ENTRY);
    format!("SET session_replication_role = replica; {sql}; SET session_replication_role = origin")
}
