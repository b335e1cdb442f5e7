//! Invariants of billing data that must hold in every database at any time.

use sqlx::PgPool;

/// How far a span `s` is charged, with its account `a`.
macro_rules! mark {
    () => {
        "greatest(s.started_at, s.billed_through, CASE WHEN s.caught_up THEN least(a.charged_through, s.ended_at) END)"
    };
}

/// Name and query of each invariant. The query counts violations.
const INVARIANTS: [(&str, &str); 11] = [
    (
        "no balance is below zero",
        "SELECT count(*) FROM organizations WHERE credit_balance < 0",
    ),
    (
        "a balance equals its opening balance plus all entries and other applications' rows since then",
        "SELECT count(*) FROM billing_accounts a JOIN organizations o ON o.id = a.organization_id
        LEFT JOIN (
            SELECT e.organization_id AS id, sum(e.amount) AS moved FROM ledger_entries e
            JOIN billing_accounts a USING (organization_id)
            WHERE e.created_at >= a.opened_at GROUP BY 1) AS entries USING (id)
        LEFT JOIN (
            SELECT t.organization_id AS id, sum(t.amount) AS moved FROM credit_transactions t
            JOIN billing_accounts a USING (organization_id)
            WHERE t.seq IS NULL AND t.created_at >= a.opened_at AT TIME ZONE 'UTC' GROUP BY 1) AS others USING (id)
        WHERE o.credit_balance <> a.opening_balance + coalesce(entries.moved, 0) + coalesce(others.moved, 0)",
    ),
    (
        "a usage entry is the sum of its charges",
        "SELECT count(*) FROM (SELECT * FROM ledger_entries WHERE type = 'usage') AS e FULL JOIN (
            SELECT entry AS seq, sum(amount) AS charged, min(period_start) AS first, max(period_end) AS last
            FROM usage_charges GROUP BY 1) AS c USING (seq)
        WHERE e.amount IS DISTINCT FROM -c.charged OR e.period_start <> c.first OR e.period_end <> c.last",
    ),
    (
        "no two charges of an agent overlap",
        "SELECT count(*) FROM (
            SELECT c.period_start < lag(c.period_end) OVER (PARTITION BY s.agent_id ORDER BY c.period_start)
                AS again
            FROM usage_charges c JOIN usage_spans s ON s.id = c.span) AS charges WHERE again",
    ),
    (
        "a charge lies inside one clock hour and inside its span, before its mark",
        concat!(
            "SELECT count(*) FROM usage_charges c JOIN usage_spans s ON s.id = c.span
            LEFT JOIN billing_accounts a USING (organization_id)
            WHERE date_trunc('hour', c.period_start) + interval '1 hour' < c.period_end
                OR c.period_start < s.started_at OR c.period_end > coalesce(s.ended_at, 'infinity')
                OR c.period_end > ",
            mark!()
        ),
    ),
    (
        "a span is charged without gaps up to its mark",
        concat!(
            "SELECT count(*) FROM usage_spans s LEFT JOIN billing_accounts a USING (organization_id) LEFT JOIN (
                SELECT span AS id, sum(period_end - period_start) AS length FROM usage_charges GROUP BY 1) AS charged
                USING (id)
            WHERE coalesce(charged.length, '0') <> CASE
                WHEN s.closed_reason IN ('written off', 'organization gone', 'older biller') THEN '0'
                ELSE ",
            mark!(),
            " - s.started_at END"
        ),
    ),
    (
        "an agent's row holds the charges of its spans that are stated",
        "SELECT count(*) FROM milady_sandboxes b LEFT JOIN (
            SELECT s.agent_id AS id, sum(c.amount) AS charged FROM usage_charges c JOIN usage_spans s ON s.id = c.span
            WHERE s.settled OR c.period_end <= s.stated_through GROUP BY 1) AS stated USING (id)
        WHERE b.total_billed <> coalesce(stated.charged, 0)",
    ),
    (
        "the balances of entries of one transaction form a chain",
        "SELECT count(*) FROM (
            SELECT balance_before <> lag(balance_after) OVER (
                PARTITION BY organization_id, xmin::text ORDER BY seq) AS broken
            FROM ledger_entries) AS chain WHERE broken",
    ),
    (
        "entries are in the order of their times",
        "SELECT count(*) FROM (
            SELECT created_at < lag(created_at) OVER (PARTITION BY organization_id ORDER BY seq) AS broken
            FROM ledger_entries) AS entries WHERE broken",
    ),
    (
        "amounts are rate times time, rounded half-even to six decimals",
        "SELECT count(*) FROM usage_charges c JOIN usage_spans s ON s.id = c.span
        WHERE abs(c.amount - s.hourly_rate * extract(epoch FROM c.period_end - c.period_start) / 3600) > 0.0000005",
    ),
    (
        "a settled span says that it is charged",
        "SELECT count(*) FROM usage_spans WHERE settled AND billed_through IS NULL AND NOT caught_up
            AND ended_at > started_at",
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
