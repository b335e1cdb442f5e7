-- The ledger and the charges are written once: nobody changes or deletes a row, and each month is a partition.
SET LOCAL lock_timeout = '1s';

CREATE FUNCTION cloud.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% of % is not allowed: what was charged is never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Partitions inherit triggers of rows.
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON cloud.ledger_entries
    FOR EACH ROW EXECUTE FUNCTION cloud.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON cloud.usage_charges
    FOR EACH ROW EXECUTE FUNCTION cloud.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON cloud.ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION cloud.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON cloud.usage_charges
    FOR EACH STATEMENT EXECUTE FUNCTION cloud.refuse_change();

-- Creates a table's partition for the rows from `month` on, or its default one if `month` is null.
CREATE FUNCTION cloud.create_partition(parent text, month timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
DECLARE
    partition text := parent || coalesce(to_char(month, '_YYYY_MM'), '_default');
BEGIN
    EXECUTE format('CREATE TABLE cloud.%I PARTITION OF cloud.%I ', partition, parent)
        || CASE WHEN month IS NULL THEN 'DEFAULT'
            ELSE format('FOR VALUES FROM (%L) TO (%L)', month, month + interval '1 month') END;
    -- Not inherited.
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON cloud.%I
        FOR EACH STATEMENT EXECUTE FUNCTION cloud.refuse_change()', partition);
END $$;

-- Makes the partitions of the month of `at` and of the next three. Rows that came into a default partition, because
-- this was not called in time, are moved to where they belong. Returns how many partitions were made.
CREATE FUNCTION cloud.ensure_partitions(at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET lock_timeout = '5s'
AS $$
DECLARE
    parent text;
    key text;
    is_misplaced boolean;
    months timestamptz[];
    misplaced timestamptz[];
    made integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['ledger_entries', 'usage_charges'] LOOP
        key := CASE parent WHEN 'ledger_entries' THEN 'created_at' ELSE 'period_start' END;
        -- One call at a time; writers go on.
        EXECUTE format('LOCK TABLE cloud.%I IN SHARE UPDATE EXCLUSIVE MODE', parent);
        months := ARRAY(SELECT date_trunc('month', at) + make_interval(months => n) FROM generate_series(0, 3) AS n);
        EXECUTE format('SELECT EXISTS (SELECT FROM cloud.%I)', parent || '_default') INTO is_misplaced;
        IF is_misplaced THEN
            EXECUTE format('ALTER TABLE cloud.%I DETACH PARTITION cloud.%I', parent, parent || '_default');
            EXECUTE format('ALTER TABLE cloud.%I RENAME TO %I', parent || '_default', parent || '_misplaced');
            PERFORM cloud.create_partition(parent, NULL);
            EXECUTE format('SELECT array_agg(DISTINCT date_trunc(''month'', %I)) FROM cloud.%I',
                key, parent || '_misplaced') INTO misplaced;
            months := months || misplaced;
        END IF;
        months := ARRAY(SELECT DISTINCT month FROM unnest(months) AS month
            WHERE to_regclass('cloud.' || parent || to_char(month, '_YYYY_MM')) IS NULL);
        FOR n IN 1 .. coalesce(array_length(months, 1), 0) LOOP
            PERFORM cloud.create_partition(parent, months[n]);
            made := made + 1;
        END LOOP;
        IF is_misplaced THEN
            EXECUTE format('INSERT INTO cloud.%I SELECT * FROM cloud.%I', parent, parent || '_misplaced');
            EXECUTE format('DROP TABLE cloud.%I', parent || '_misplaced');
        END IF;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION cloud.refuse_change(), cloud.create_partition(text, timestamptz),
    cloud.ensure_partitions(timestamptz) FROM PUBLIC;

SELECT cloud.create_partition('ledger_entries', NULL), cloud.create_partition('usage_charges', NULL);
