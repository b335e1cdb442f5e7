-- A balance that is no amount becomes 0, a rate that is no price becomes the list price. Operators find each among the
-- findings.
SET LOCAL lock_timeout = '1s';

WITH invalid AS MATERIALIZED (
    SELECT id, credit_balance AS balance, cloud.billing_clock() AS now FROM public.organizations
    WHERE credit_balance < 0 OR credit_balance = 'NaN' ORDER BY id FOR UPDATE
), cleaned AS (
    UPDATE public.organizations o SET credit_balance = 0 FROM invalid i WHERE o.id = i.id
), adjustments AS (
    INSERT INTO cloud.ledger_entries (organization_id, created_at, type, amount, balance_before, balance_after, detail)
    SELECT id, now, 'adjustment', CASE WHEN balance = 'NaN' THEN 0 ELSE -balance END,
        CASE WHEN balance = 'NaN' THEN 0 ELSE balance END, 0,
        jsonb_build_object('reason', 'the balance was no valid amount', 'balance', balance::text)
    FROM invalid
)
INSERT INTO cloud.billing_findings (kind, subject, organization_id, detail, found_at, last_seen_at)
SELECT 'invalid_balance', 'organization ' || id, id, jsonb_build_object('balance', balance::text), now, now FROM invalid;

WITH invalid AS MATERIALIZED (
    SELECT id, organization_id, hourly_rate, cloud.billing_clock() AS now FROM public.milady_sandboxes
    WHERE hourly_rate < 0 OR hourly_rate = 'NaN' ORDER BY id FOR UPDATE
), cleaned AS (
    UPDATE public.milady_sandboxes a SET hourly_rate = NULL FROM invalid i WHERE a.id = i.id
)
INSERT INTO cloud.billing_findings (kind, subject, organization_id, detail, found_at, last_seen_at)
SELECT 'invalid_rate', 'agent ' || id, organization_id, jsonb_build_object('hourlyRate', hourly_rate::text), now, now
FROM invalid;

ALTER TABLE public.organizations VALIDATE CONSTRAINT cloud_organizations_balance_check;
ALTER TABLE public.milady_sandboxes VALIDATE CONSTRAINT cloud_milady_sandboxes_rate_check;
