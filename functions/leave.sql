-- Gives an adopted database back to its older application: OPERATIONS.md, "Leave an adopted database", says what comes
-- before and after. It is one transaction: if something is in the way, it says so and changes nothing.
BEGIN;
SET LOCAL lock_timeout = '10s';
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL TimeZone = 'UTC';
LOCK TABLE public.organizations, public.milady_sandboxes, public.milady_sandbox_backups, public.jobs,
    public.credit_transactions, public.docker_nodes IN ACCESS EXCLUSIVE MODE;

-- What only the control plane can finish.
DO $$
DECLARE
    n bigint;
BEGIN
    SELECT count(*) INTO n FROM public.jobs WHERE class IS NOT NULL AND status IN ('pending', 'in_progress');
    IF n > 0 THEN
        RAISE EXCEPTION '% jobs are active: wait until they have ended', n;
    END IF;
    SELECT count(*) INTO n FROM public.milady_sandboxes
    WHERE stop_requested_at IS NOT NULL AND status IN ('running', 'provisioning', 'disconnected')
        OR stop_reason = 'drain' AND status IN ('stopped', 'error');
    IF n > 0 THEN
        RAISE EXCEPTION '% agents are being stopped, moved or restarted: wait until that has ended', n;
    END IF;
    SELECT count(*) INTO n FROM public.milady_sandboxes a
    WHERE EXISTS (SELECT FROM cloud.agent_environments e WHERE e.agent_id = a.id)
        OR EXISTS (SELECT FROM cloud.agent_databases d WHERE d.agent_id = a.id);
    IF n > 0 THEN
        RAISE EXCEPTION '% agents have encrypted secrets: have db-migrate decrypt them', n;
    END IF;
END $$;

-- From here on no write is metered, and the older biller is not refused.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT tgrelid::regclass AS relation, tgname AS name FROM pg_trigger
        WHERE NOT tgisinternal AND tgname LIKE 'cloud\_%'
            AND (SELECT relnamespace FROM pg_class WHERE oid = tgrelid) = 'public'::regnamespace
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.name, found.relation);
    END LOOP;
END $$;

-- The charges that no statement of a day has added up.
CREATE TEMPORARY TABLE unstated ON COMMIT DROP AS
SELECT s.organization_id, s.agent_id, s.kind, sum(c.amount) AS amount,
    (array_agg(s.agent_name ORDER BY c.period_end DESC))[1] AS agent_name,
    (array_agg(s.hourly_rate ORDER BY c.period_end DESC))[1] AS hourly_rate
FROM cloud.usage_charges c JOIN cloud.usage_spans s ON s.id = c.span
WHERE NOT s.settled AND (s.stated_through IS NULL OR c.period_end > s.stated_through)
GROUP BY s.organization_id, s.agent_id, s.kind;

INSERT INTO public.credit_transactions (organization_id, amount, type, description, metadata)
SELECT u.organization_id, -u.amount, 'debit',
    CASE u.kind WHEN 'idle' THEN 'Milady agent storage (idle)' ELSE 'Milady agent hosting (running)' END
        || ': ' || coalesce(u.agent_name, u.agent_id::text),
    jsonb_build_object('sandbox_id', u.agent_id, 'agent_name', u.agent_name, 'billing_type', 'milady_' || u.kind,
        'hourly_rate', u.hourly_rate)
FROM unstated u JOIN public.organizations o ON o.id = u.organization_id;

-- Other changes of balances that the ledger of the older application lacks.
INSERT INTO public.credit_transactions (organization_id, amount, type, description, metadata, created_at)
SELECT e.organization_id, e.amount, CASE WHEN e.amount < 0 THEN 'debit' ELSE 'credit' END,
    CASE e.type WHEN 'debt_payment' THEN 'Payment of a debt' ELSE 'Correction of the balance' END,
    jsonb_build_object('kind', e.type), e.created_at AT TIME ZONE 'UTC'
FROM cloud.ledger_entries e JOIN public.organizations o ON o.id = e.organization_id
WHERE e.type <> 'usage' AND e.amount <> 0 AND NOT EXISTS (
    SELECT FROM public.credit_transactions t WHERE t.organization_id = e.organization_id AND t.seq = e.seq);

UPDATE public.milady_sandboxes a SET total_billed = a.total_billed + u.amount
FROM (SELECT agent_id, sum(amount) AS amount FROM unstated GROUP BY agent_id) AS u WHERE u.agent_id = a.id;

-- The older biller charges an hour in advance: an agent that is charged up to 12:00 is as if it had charged it at 11:00.
UPDATE public.milady_sandboxes a SET last_billed_at = greatest(s.started_at, s.billed_through,
        CASE WHEN s.caught_up THEN b.charged_through END) - interval '1 hour'
FROM cloud.usage_spans s LEFT JOIN cloud.billing_accounts b USING (organization_id)
WHERE s.agent_id = a.id AND s.ended_at IS NULL;

-- Each agent had a rate. The older biller replaces it with each charge.
ALTER TABLE public.milady_sandboxes ALTER COLUMN hourly_rate SET DEFAULT 0.0200;
UPDATE public.milady_sandboxes SET hourly_rate = cloud.list_price('running', now()) WHERE hourly_rate IS NULL;

-- The older application would restore these as empty states.
CREATE TABLE public.milady_unreadable_backups AS
SELECT b.* FROM public.milady_sandbox_backups b
WHERE b.state_bytes IS NOT NULL OR EXISTS (SELECT FROM cloud.backup_objects o WHERE o.backup_id = b.id);
DELETE FROM public.milady_sandbox_backups b USING public.milady_unreadable_backups u WHERE u.id = b.id;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM public.milady_unreadable_backups) THEN
        DROP TABLE public.milady_unreadable_backups;
    END IF;
END $$;

DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT conrelid::regclass AS relation, conname AS name FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conname LIKE 'cloud\_%'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.relation, found.name);
    END LOOP;
    FOR found IN SELECT oid::regclass AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'i' AND relname LIKE 'cloud\_%'
    LOOP
        EXECUTE format('DROP INDEX %s', found.name);
    END LOOP;
END $$;

-- With it go the ledger, the audit log and everything else that the control plane alone knows.
DROP SCHEMA cloud CASCADE;

-- `total_billed` keeps its six decimals: with two, each total would be rounded.
ALTER TABLE public.milady_sandboxes RESET (fillfactor), DROP COLUMN stop_requested_at, DROP COLUMN compute_started_at,
    DROP COLUMN unsaved_since, DROP COLUMN data_bind, DROP COLUMN former_nodes, DROP COLUMN state_node_id,
    DROP COLUMN left_nodes, DROP COLUMN stop_reason, DROP COLUMN stop_note, DROP COLUMN image_digest;
ALTER TABLE public.organizations RESET (fillfactor);
ALTER TABLE public.milady_sandbox_backups DROP COLUMN state_bytes;
ALTER TABLE public.jobs DROP COLUMN agent_id, DROP COLUMN class, DROP COLUMN steps, DROP COLUMN webhook_secret,
    DROP COLUMN webhook_attempts, DROP COLUMN webhook_due_at, DROP COLUMN webhook_called_until, DROP COLUMN announced_at,
    DROP COLUMN turned_away_at, DROP COLUMN unspent_attempts;
ALTER TABLE public.credit_transactions DROP COLUMN seq;
ALTER TABLE public.docker_nodes DROP COLUMN presented_host_key;
COMMIT;
