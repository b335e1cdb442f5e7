-- The ledger. Rows of other writers (purchases, AI usage) leave our columns null.
SET LOCAL lock_timeout = '1s';

DO $$ BEGIN
    IF to_regclass('public.credit_transactions') IS NULL THEN
        CREATE TABLE public.credit_transactions (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
            user_id uuid,
            amount numeric(16,6) NOT NULL,
            type text NOT NULL,
            description text,
            metadata jsonb NOT NULL DEFAULT '{}',
            stripe_payment_intent_id text UNIQUE,
            created_at timestamp NOT NULL DEFAULT now()
        );
    END IF;
END $$;

ALTER TABLE public.credit_transactions
    ADD COLUMN IF NOT EXISTS agent_id uuid,
    ADD COLUMN IF NOT EXISTS usage_span_id uuid,
    ADD COLUMN IF NOT EXISTS period_start timestamptz,
    ADD COLUMN IF NOT EXISTS period_end timestamptz,
    ADD COLUMN IF NOT EXISTS kind text,
    ADD COLUMN IF NOT EXISTS rate numeric(16,6),
    ADD COLUMN IF NOT EXISTS seconds numeric(16,6),
    ADD COLUMN IF NOT EXISTS balance_before numeric(16,6),
    ADD COLUMN IF NOT EXISTS balance_after numeric(16,6),
    ADD COLUMN IF NOT EXISTS seq bigint;

-- Orders our rows of one instant. Not a column default: that would rewrite the table.
CREATE SEQUENCE cloud.credit_ledger_seq AS bigint CACHE 1;

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'cloud_credit_transactions_slice_check'
                   AND conrelid = 'public.credit_transactions'::regclass) THEN
        ALTER TABLE public.credit_transactions ADD CONSTRAINT cloud_credit_transactions_slice_check CHECK (
            usage_span_id IS NULL OR (
                amount <= 0 AND period_end > period_start AND seq IS NOT NULL
                AND balance_after >= 0 AND balance_after = balance_before + amount)
        ) NOT VALID;
    END IF;
END $$;
