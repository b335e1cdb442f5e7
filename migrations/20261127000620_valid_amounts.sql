-- NaN is greater than any number, so the existing checks let it pass (F56). What is there is cleaned up next.
SET LOCAL lock_timeout = '1s';

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'cloud_organizations_balance_check'
                   AND conrelid = 'public.organizations'::regclass) THEN
        ALTER TABLE public.organizations ADD CONSTRAINT cloud_organizations_balance_check
            CHECK (credit_balance >= 0 AND credit_balance <> 'NaN') NOT VALID;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'cloud_milady_sandboxes_rate_check'
                   AND conrelid = 'public.milady_sandboxes'::regclass) THEN
        ALTER TABLE public.milady_sandboxes ADD CONSTRAINT cloud_milady_sandboxes_rate_check
            CHECK (hourly_rate >= 0 AND hourly_rate <> 'NaN') NOT VALID;
    END IF;
END $$;
