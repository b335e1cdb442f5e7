-- What the API keeps of requests: answers that are given again, pairing tokens, what admins did.
SET LOCAL lock_timeout = '1s';

-- The first answer to a POST that carried an Idempotency-Key. outcome is null while the call runs, and
-- nobody else may run it until running_until.
CREATE TABLE cloud.idempotency_keys (
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    claim uuid NOT NULL DEFAULT gen_random_uuid(),
    request_digest bytea NOT NULL,
    outcome jsonb,
    created_at timestamptz NOT NULL,
    running_until timestamptz NOT NULL,
    PRIMARY KEY (organization_id, user_id, route, key)
);
CREATE INDEX idempotency_keys_age_idx ON cloud.idempotency_keys (created_at);

CREATE TABLE IF NOT EXISTS public.milady_pairing_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    token_hash text NOT NULL UNIQUE,
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    instance_url text NOT NULL,
    expected_origin text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- No foreign keys: it outlives whom and what it tells of.
CREATE TABLE cloud.admin_audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    result text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX admin_audit_log_subject_idx ON cloud.admin_audit_log (subject, created_at);

DO $$ BEGIN
    IF to_regclass('public.docker_nodes') IS NULL THEN
        CREATE TABLE public.docker_nodes (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            node_id text NOT NULL UNIQUE,
            hostname text NOT NULL,
            ssh_port integer NOT NULL DEFAULT 22,
            capacity integer NOT NULL DEFAULT 8,
            enabled boolean NOT NULL DEFAULT true,
            status text NOT NULL DEFAULT 'unknown',
            allocated_count integer NOT NULL DEFAULT 0,
            last_health_check timestamptz,
            ssh_user text NOT NULL DEFAULT 'root',
            host_key_fingerprint text,
            metadata jsonb NOT NULL DEFAULT '{}',
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT docker_nodes_status_check CHECK (status IN
                ('healthy', 'degraded', 'offline', 'unknown'))
        );
    END IF;
END $$;
