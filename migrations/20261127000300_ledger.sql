-- The ledger of the older application. It gets our credits at once and our debits once a day; money itself moves in
-- `cloud.ledger_entries`.
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

-- Null: not ours. 0: a day's debit of an agent. Otherwise the entry of `cloud.ledger_entries` that the row repeats.
ALTER TABLE public.credit_transactions ADD COLUMN IF NOT EXISTS seq bigint;
