//! Invariants of billing data that must hold in every database at any time.

use sqlx::PgPool;

/// Name and query of each invariant. The query counts violations.
const INVARIANTS: [(&str, &str); 8] = [
    ("no balance is below zero", "SELECT count(*) FROM organizations WHERE credit_balance < 0"),
    (
        "a balance equals its opening balance plus the ledger since then",
        "SELECT count(*) FROM billing_accounts a JOIN organizations o ON o.id = a.organization_id
        LEFT JOIN (
            SELECT t.organization_id AS id, sum(t.amount) AS moved FROM credit_transactions t
            JOIN billing_accounts a USING (organization_id)
            WHERE t.created_at >= a.opened_at AT TIME ZONE 'UTC' GROUP BY 1) AS ledger USING (id)
        WHERE o.credit_balance <> a.opening_balance + coalesce(ledger.moved, 0)",
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
        WHERE (date_trunc('hour', t.period_start) + interval '1 hour' < t.period_end
                AND t.type = 'debit')
            OR t.period_start < s.started_at OR t.period_end > coalesce(s.ended_at, 'infinity')
            OR t.period_end > s.billed_through",
    ),
    (
        "a span is charged without gaps up to its billed_through",
        "SELECT count(*) FROM agent_usage_spans s LEFT JOIN (
            SELECT usage_span_id AS id, sum(seconds) AS seconds
            FROM credit_transactions GROUP BY 1) AS charged USING (id)
        WHERE s.closed_reason IS NULL AND coalesce(charged.seconds, 0)
            <> extract(epoch FROM coalesce(s.billed_through, s.started_at) - s.started_at)",
    ),
    (
        "an agent's total equals the sum of its ledger rows",
        "SELECT count(*) FROM milady_sandboxes a LEFT JOIN (
            SELECT agent_id AS id, -sum(amount) AS charged
            FROM credit_transactions WHERE usage_span_id IS NOT NULL GROUP BY 1) AS ledger USING (id)
        WHERE a.total_billed <> coalesce(ledger.charged, 0)",
    ),
    (
        "the balances of our ledger rows of one transaction form a chain",
        "SELECT count(*) FROM (
            SELECT balance_before <> lag(balance_after) OVER (
                PARTITION BY organization_id, xmin::text ORDER BY seq) AS broken
            FROM credit_transactions WHERE seq IS NOT NULL) AS chain WHERE broken",
    ),
    (
        "amounts are rate times time, rounded half-even to six decimals",
        "SELECT count(*) FROM credit_transactions WHERE type = 'debit' AND usage_span_id IS NOT NULL
            AND abs(-amount - rate * seconds / 3600) > 0.0000005",
    ),
];

/// Panics with the name of the first violated invariant.
pub async fn check(pool: &PgPool) {
    for (invariant, sql) in INVARIANTS {
        let violations: i64 = sqlx::query_scalar(sql)
            .fetch_one(pool)
            .await
            .expect(invariant);
        assert_eq!(violations, 0, "{invariant}");
    }
}
