-- Who owns agents and who may call. On an existing deployment these tables are there already and
-- stay as they are.
SET LOCAL lock_timeout = '1s';

-- Whether an older biller may still be charging agents. Charging waits for the adoption of a deployment that
-- could have agents before these tables.
CREATE TABLE cloud.billing_adoption (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    required boolean NOT NULL,
    adopted_at timestamptz
);
INSERT INTO cloud.billing_adoption (required)
SELECT pg_catalog.to_regclass('public.milady_sandboxes') IS NOT NULL;

CREATE TABLE IF NOT EXISTS public.organizations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    slug text NOT NULL UNIQUE,
    credit_balance numeric(16,6) NOT NULL DEFAULT 100.000000,
    billing_email text,
    stripe_customer_id text,
    stripe_payment_method_id text,
    stripe_default_payment_method text,
    auto_top_up_enabled boolean DEFAULT false,
    auto_top_up_amount numeric(10,2),
    auto_top_up_threshold numeric(10,2),
    is_active boolean NOT NULL DEFAULT true,
    settings jsonb DEFAULT '{}',
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    CONSTRAINT organizations_credit_balance_check CHECK (credit_balance >= 0)
);

CREATE TABLE IF NOT EXISTS public.organization_billing (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL UNIQUE REFERENCES public.organizations (id) ON DELETE CASCADE,
    billing_email text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    privy_user_id text UNIQUE,
    email text UNIQUE,
    wallet_address text UNIQUE,
    name text,
    organization_id uuid REFERENCES public.organizations (id) ON DELETE CASCADE,
    role text NOT NULL DEFAULT 'member',
    is_active boolean NOT NULL DEFAULT true,
    is_anonymous boolean NOT NULL DEFAULT false,
    wallet_verified boolean NOT NULL DEFAULT false,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    key text NOT NULL UNIQUE,
    key_hash text NOT NULL UNIQUE,
    key_prefix text NOT NULL,
    organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    permissions jsonb NOT NULL DEFAULT '[]',
    rate_limit integer NOT NULL DEFAULT 1000,
    is_active boolean NOT NULL DEFAULT true,
    usage_count integer NOT NULL DEFAULT 0,
    expires_at timestamp,
    last_used_at timestamp,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

DO $$ BEGIN
    IF to_regtype('public.admin_role') IS NULL THEN
        CREATE TYPE public.admin_role AS ENUM ('super_admin', 'moderator', 'viewer');
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS public.admin_users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid REFERENCES public.users (id) ON DELETE SET NULL,
    wallet_address text NOT NULL UNIQUE,
    role public.admin_role NOT NULL DEFAULT 'moderator',
    is_active boolean NOT NULL DEFAULT true,
    notes text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    revoked_at timestamp
);
