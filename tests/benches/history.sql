-- A year of 61 organizations of ten agents, as if billed each hour: 3.7 million charges in twelve months.
-- The agents of an organization: 1 to 6 always run; 7 runs for three minutes at a time on the first day of each month;
-- 8 ran in the first week only; 9 runs six hours a day; 10 runs two hours twice a month.
SET synchronous_commit = off;
-- Rows are not checked against each other, and no trigger meters.
SET session_replication_role = replica;
SELECT cloud.ensure_partitions(month) FROM generate_series('2025-12-01'::timestamptz, '2026-12-01', '3 months') AS month;

CREATE TEMP TABLE agent AS
SELECT n, ('00000000-0000-4000-8000-' || lpad(to_hex(o), 12, '0'))::uuid AS organization_id,
    ('00000000-0000-4000-9' || lpad(to_hex(n), 3, '0') || '-' || lpad(to_hex(o), 12, '0'))::uuid AS id,
    '2025-11-01'::timestamptz + n * interval '1 minute' AS created_at
FROM generate_series(1, 61) AS o, generate_series(1, 10) AS n;

INSERT INTO public.organizations (id, name, slug, credit_balance)
SELECT DISTINCT organization_id, 'Organization', organization_id::text, 5000 FROM agent;

INSERT INTO cloud.billing_accounts (organization_id, decided_through, charged_through, opening_balance, opened_at,
    stated_through)
SELECT DISTINCT organization_id, '2026-12-01'::timestamptz, '2026-12-01'::timestamptz, 10000, '2025-12-01'::timestamptz,
    '2026-11-29'::date FROM agent;

INSERT INTO cloud.usage_spans (agent_id, agent_created_at, organization_id, agent_name, kind, hourly_rate, list_priced,
    started_at, ended_at, billed_through, caught_up, settled)
SELECT id, created_at, organization_id, 'agent ' || n, 'running', 0.02, true, started_at, ended_at, ended_at, true,
    ended_at IS NOT NULL
FROM (
    SELECT agent.*, '2025-12-01'::timestamptz AS started_at, NULL::timestamptz AS ended_at FROM agent WHERE n <= 6
    UNION ALL
    SELECT agent.*, at, at + interval '3 minutes' FROM agent,
        generate_series('2025-12-01'::timestamptz, '2026-11-30', '1 month') AS month,
        generate_series(month, month + interval '1 day', '3 minutes 1 second') AS at WHERE n = 7
    UNION ALL
    SELECT agent.*, '2025-12-01 00:20', '2025-12-08' FROM agent WHERE n = 8
    UNION ALL
    SELECT agent.*, day + interval '8:12', day + interval '14:12' FROM agent,
        generate_series('2025-12-01'::timestamptz, '2026-11-30', '1 day') AS day WHERE n = 9
    UNION ALL
    SELECT agent.*, day + interval '8:12', day + interval '10:12' FROM agent,
        generate_series('2025-12-01'::timestamptz, '2026-11-30', '15 days') AS day WHERE n = 10
) AS span ORDER BY started_at;

CREATE TEMP TABLE slice AS
SELECT id AS span, organization_id, agent_id, hour, greatest(started_at, hour) AS start, least(till, hour + interval '1 hour') AS till,
    round(0.02 * extract(epoch FROM least(till, hour + interval '1 hour') - greatest(started_at, hour)) / 3600, 6) AS amount
FROM (SELECT *, coalesce(ended_at, '2026-12-01') AS till FROM cloud.usage_spans) AS span,
    generate_series(date_trunc('hour', started_at), till - interval '1 microsecond', '1 hour') AS hour;

CREATE TEMP TABLE entry AS
-- Hour by hour, as runs number them, so that an organization's entries are far apart.
SELECT nextval('cloud.ledger_seq') AS seq, *
FROM (
    SELECT *, sum(amount) OVER (PARTITION BY organization_id ORDER BY hour) AS spent
    FROM (
        SELECT organization_id, hour, min(start) AS start, max(till) AS till, count(DISTINCT agent_id) AS agents,
            sum(amount) AS amount
        FROM slice GROUP BY hour, organization_id
    ) AS hours
    ORDER BY hour, organization_id
) AS entries;
ANALYZE slice, entry;

INSERT INTO cloud.usage_charges
SELECT seq, span, slice.start, slice.till, slice.amount FROM slice JOIN entry USING (organization_id, hour)
ORDER BY hour, seq, span;

INSERT INTO cloud.ledger_entries (seq, organization_id, created_at, type, amount, balance_before, balance_after,
    period_start, period_end, agents)
SELECT seq, organization_id, hour + interval '1 hour 3 seconds', 'usage', -amount, 10000 - spent + amount, 10000 - spent,
    start, till, agents
FROM entry ORDER BY seq;

INSERT INTO cloud.usage_days
SELECT organization_id, start::date, agent_id, 'running', sum(extract(epoch FROM till - start)), sum(amount)
FROM slice WHERE hour + interval '1 hour' < '2026-11-30' GROUP BY 1, 2, 3 ORDER BY 2, 1, 3;

INSERT INTO cloud.ledger_days
SELECT organization_id, (hour + interval '1 hour')::date AS day, 10000 - min(spent) + min(amount), -sum(amount), 0, 0,
    10000 - max(spent)
FROM entry WHERE hour + interval '1 hour' < '2026-11-30' GROUP BY 1, 2 ORDER BY 2, 1;

-- What an older biller charged for three agents in the three months before, and a purchase every five days.
INSERT INTO public.credit_transactions (organization_id, amount, type, description, metadata, created_at)
SELECT organization_id, -0.02, 'debit', 'Milady agent hosting (running): agent',
    jsonb_build_object('sandbox_id', id, 'billing_type', 'milady_running', 'hourly_rate', 0.02, 'billing_hour', hour), hour
FROM agent, generate_series('2025-09-01'::timestamp, '2025-11-30 23:00', '1 hour') AS hour WHERE n <= 3 ORDER BY hour;
INSERT INTO public.credit_transactions (organization_id, amount, type, description, created_at)
SELECT DISTINCT organization_id, 20, 'credit', 'Purchase', day
FROM agent, generate_series('2025-12-01'::timestamp, '2026-11-30', '5 days') AS day;
-- The daily debits that the older application sees.
INSERT INTO public.credit_transactions (organization_id, amount, type, metadata, created_at, seq)
SELECT organization_id, -0.48, 'debit', jsonb_build_object('sandbox_id', id), day, 0
FROM agent, generate_series('2025-12-01'::timestamp, '2026-11-30', '1 day') AS day WHERE n <= 6;
DROP TABLE agent, slice, entry;
RESET session_replication_role;
