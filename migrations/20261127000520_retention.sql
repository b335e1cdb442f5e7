-- How long charges, entries and settled spans are kept. Balances, totals and the tables of days outlive them.
SET LOCAL lock_timeout = '1s';

COMMENT ON COLUMN cloud.ledger_days.charged IS
    'The sum of the usage entries, so never positive: closing = opening + charged + credited + external.';

-- Spans to be deleted, oldest first.
CREATE INDEX usage_spans_settled_idx ON cloud.usage_spans (ended_at) WHERE settled;

-- The oldest month that a table has a partition for; null if there is none.
CREATE FUNCTION cloud.oldest_month(parent text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
    SELECT min(to_timestamp(right(c.relname, 7), 'YYYY_MM'))
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('cloud.' || quote_ident(parent)) AND c.relname ~ '_\d{4}_\d{2}$'
$$;

-- The rows in a table's default partition, and the time of the oldest.
CREATE FUNCTION cloud.misplaced_rows(parent text) RETURNS TABLE (count bigint, oldest timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE parent
        WHEN 'ledger_entries' THEN
            RETURN QUERY SELECT pg_catalog.count(*), min(created_at) FROM cloud.ledger_entries_default;
        WHEN 'usage_charges' THEN
            RETURN QUERY SELECT pg_catalog.count(*), min(period_start) FROM cloud.usage_charges_default;
    END CASE;
END $$;

-- Drops the partition of a month if nothing needs it any more, and returns whether it did. A month of charges is kept
-- for 13 months after its end, a month of entries for 25; what the entries came to is added to the opening balances.
CREATE FUNCTION cloud.drop_partition(parent text, month timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET lock_timeout = '5s'
AS $$
DECLARE
    month_end timestamptz := month + interval '1 month';
    partition regclass := to_regclass('cloud.' || quote_ident(parent || to_char(month, '_YYYY_MM')));
    kept interval := CASE parent WHEN 'usage_charges' THEN '13 months' ELSE '25 months' END;
    is_in_use boolean;
BEGIN
    IF parent NOT IN ('ledger_entries', 'usage_charges') OR month <> date_trunc('month', month) THEN
        RAISE EXCEPTION '% has no partition for %', parent, month USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF partition IS NULL OR NOT EXISTS (SELECT FROM pg_inherits
            WHERE inhrelid = partition AND inhparent = to_regclass('cloud.' || parent))
        OR month_end + kept > cloud.billing_clock()
    THEN
        RETURN false;
    END IF;
    -- One call at a time.
    EXECUTE format('LOCK TABLE cloud.%I IN SHARE UPDATE EXCLUSIVE MODE', parent);
    EXECUTE format('SELECT EXISTS (SELECT FROM cloud.%I)', parent || '_default') INTO is_in_use;
    -- A day that is not stated has entries and charges that no day counts yet.
    is_in_use := is_in_use OR EXISTS (SELECT FROM cloud.billing_accounts
        WHERE opened_at < month_end AND (stated_through IS NULL OR stated_through < (month_end - interval '1 day')::date));
    IF parent = 'usage_charges' THEN
        -- What is stated is charged.
        is_in_use := is_in_use OR EXISTS (SELECT FROM cloud.usage_spans
            WHERE NOT settled AND started_at < month_end
                AND coalesce(stated_through, started_at) < least(ended_at, month_end));
    ELSE
        is_in_use := is_in_use OR cloud.oldest_month('usage_charges') < month_end
            OR EXISTS (SELECT FROM cloud.usage_charges_default);
    END IF;
    IF is_in_use THEN
        RETURN false;
    END IF;
    IF parent = 'ledger_entries' THEN
        -- Before the accounts, as whoever writes entries does.
        LOCK TABLE cloud.ledger_entries IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('UPDATE cloud.billing_accounts AS a
            SET opening_balance = a.opening_balance + e.amount, opened_at = greatest(a.opened_at, $1)
            FROM (SELECT e.organization_id, sum(e.amount) AS amount
                FROM %s AS e JOIN cloud.billing_accounts AS o USING (organization_id)
                WHERE e.created_at >= o.opened_at GROUP BY 1) AS e
            WHERE a.organization_id = e.organization_id', partition) USING month_end;
        UPDATE cloud.billing_accounts SET opened_at = month_end WHERE opened_at < month_end;
    END IF;
    EXECUTE format('DROP TABLE %s', partition);
    RETURN true;
END $$;

-- Deletes at most `max_rows` settled spans that ended 13 months ago and whose charges are dropped. Returns how many.
CREATE FUNCTION cloud.delete_settled_spans(max_rows integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET lock_timeout = '5s'
AS $$
DECLARE
    deleted integer;
BEGIN
    DELETE FROM cloud.usage_spans WHERE id IN (
        SELECT id FROM cloud.usage_spans
        WHERE settled AND ended_at <= least(cloud.billing_clock() - interval '13 months',
            cloud.oldest_month('usage_charges'), (SELECT min(period_start) FROM cloud.usage_charges_default))
        ORDER BY ended_at LIMIT max_rows);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$;
REVOKE ALL ON FUNCTION cloud.oldest_month(text), cloud.misplaced_rows(text),
    cloud.drop_partition(text, timestamptz), cloud.delete_settled_spans(integer) FROM PUBLIC;
