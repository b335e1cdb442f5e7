//! What must hold of the money in every database, whatever happened there.

use sqlx::PgPool;

/// Each statement counts violations of one law.
const LAWS: [(&str, &str); 8] = [
    ("no balance is below zero", "SELECT count(*) FROM organizations WHERE credit_balance < 0"),
    (
        "a balance is its opening plus the ledger since",
        "SELECT count(*) FROM billing_accounts a JOIN organizations o ON o.id = a.organization_id
        WHERE o.credit_balance <> a.opening_balance + (
            SELECT coalesce(sum(t.amount), 0) FROM credit_transactions t
            WHERE t.organization_id = o.id
                AND t.created_at >= a.opened_at AT TIME ZONE 'UTC')",
    ),
    (
        "no two slices of an agent overlap",
        "SELECT count(*) FROM (
            SELECT period_start < lag(period_end) OVER (PARTITION BY agent_id ORDER BY period_start)
                AS again
            FROM credit_transactions WHERE usage_span_id IS NOT NULL) AS slices WHERE again",
    ),
    (
        "a slice lies inside one clock hour and inside its span",
        "SELECT count(*) FROM credit_transactions t JOIN agent_usage_spans s ON s.id = t.usage_span_id
        WHERE date_trunc('hour', t.period_start) + interval '1 hour' < t.period_end
            OR t.period_start < s.started_at OR t.period_end > coalesce(s.ended_at, 'infinity')
            OR t.period_end > s.billed_through",
    ),
    (
        "a span is charged without a gap up to where it says",
        "SELECT count(*) FROM agent_usage_spans s WHERE s.closed_reason IS NULL
            AND extract(epoch FROM coalesce(s.billed_through, s.started_at) - s.started_at) <> (
            SELECT coalesce(sum(t.seconds), 0) FROM credit_transactions t WHERE t.usage_span_id = s.id)",
    ),
    (
        "an agent's total is the sum of its rows",
        "SELECT count(*) FROM milady_sandboxes a WHERE a.total_billed <> (
            SELECT coalesce(-sum(t.amount), 0) FROM credit_transactions t
            WHERE t.agent_id = a.id AND t.usage_span_id IS NOT NULL)",
    ),
    (
        "our rows of one transaction read as a chain",
        "SELECT count(*) FROM (
            SELECT balance_before <> lag(balance_after) OVER (
                PARTITION BY organization_id, xmin::text ORDER BY seq) AS broken
            FROM credit_transactions WHERE seq IS NOT NULL) AS chain WHERE broken",
    ),
    (
        "amounts are rate times time, half-even to six decimals",
        "SELECT count(*) FROM credit_transactions WHERE usage_span_id IS NOT NULL
            AND abs(-amount - rate * seconds / 3600) > 0.0000005",
    ),
];

/// Checks all laws.
///
/// # Panics
/// When one is broken; it says which.
pub async fn check(pool: &PgPool) {
    for (law, sql) in LAWS {
        let broken: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.expect(law);
        assert_eq!(broken, 0, "{law}");
    }
}
