-- The server keeps the plans of a function for as long as its session lives, also behind a pooler. Planning a statement
-- anew for each page takes up to a millisecond and more, because both tables have a partition for each month.
SET LOCAL lock_timeout = '1s';

-- The charges among these keys, in any order. The keys are in descending order. created_at is when a charge was paid.
CREATE OR REPLACE FUNCTION cloud.charges_of_keys(organization uuid, spans bigint[], starts timestamptz[])
RETURNS TABLE (span bigint, period_start timestamptz, period_end timestamptz, amount numeric, entry bigint,
    created_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- With these bounds, only partitions of the months between them are opened.
    newest timestamptz := starts[1];
    oldest timestamptz := starts[cardinality(starts)];
    -- A charge is usually paid at the next full hour.
    usually_paid_before timestamptz := newest + interval '24 hours';
BEGIN
    -- OFFSET 0 keeps the planner from merging the subqueries into one join, for which it may scan whole months: each
    -- row is looked up by an index.
    RETURN QUERY
    SELECT c.span, c.period_start, c.period_end, c.amount, c.entry, coalesce(e.created_at,
        (SELECT l.created_at FROM cloud.ledger_entries l
        WHERE l.organization_id = organization AND l.seq = c.entry AND l.created_at >= usually_paid_before))
    FROM unnest(spans, starts) AS k (span, period_start)
    CROSS JOIN LATERAL (
        SELECT u.* FROM cloud.usage_charges u
        WHERE u.span = k.span AND u.period_start = k.period_start
            AND u.period_start >= oldest AND u.period_start <= newest OFFSET 0) AS c
    LEFT JOIN LATERAL (
        SELECT l.created_at FROM cloud.ledger_entries l
        WHERE l.organization_id = organization AND l.seq = c.entry
            AND l.created_at >= oldest AND l.created_at < usually_paid_before OFFSET 0) AS e ON true;
END $$;
REVOKE ALL ON FUNCTION cloud.charges_of_keys(uuid, bigint[], timestamptz[]) FROM PUBLIC;
