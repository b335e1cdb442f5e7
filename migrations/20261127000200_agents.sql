-- Agents, their backups and the work queue. Constraints and indexes that an existing deployment
-- may have under other names are created only together with the table.
SET LOCAL lock_timeout = '1s';

DO $$ BEGIN
    IF to_regclass('public.milady_sandboxes') IS NULL THEN
        CREATE TABLE public.milady_sandboxes (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
            user_id uuid NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
            character_id uuid,
            sandbox_id text,
            status text NOT NULL DEFAULT 'pending',
            bridge_url text,
            health_url text,
            agent_name text,
            agent_config jsonb,
            neon_project_id text,
            neon_branch_id text,
            database_uri text,
            database_status text NOT NULL DEFAULT 'none',
            database_error text,
            snapshot_id text,
            last_backup_at timestamptz,
            last_heartbeat_at timestamptz,
            error_message text,
            error_count integer NOT NULL DEFAULT 0,
            environment_vars jsonb NOT NULL DEFAULT '{}',
            node_id text,
            container_name text,
            bridge_port integer,
            web_ui_port integer,
            headscale_ip text,
            docker_image text,
            billing_status text NOT NULL DEFAULT 'active',
            last_billed_at timestamptz,
            hourly_rate numeric(10,4),
            total_billed numeric(10,2) NOT NULL DEFAULT 0.00,
            shutdown_warning_sent_at timestamptz,
            scheduled_shutdown_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT milady_sandboxes_status_check CHECK (status IN
                ('pending', 'provisioning', 'running', 'stopped', 'disconnected', 'error')),
            CONSTRAINT milady_sandboxes_database_status_check CHECK (database_status IN
                ('none', 'provisioning', 'ready', 'error'))
        );
        CREATE INDEX milady_sandboxes_organization_idx
            ON public.milady_sandboxes (organization_id);
        CREATE UNIQUE INDEX milady_sandboxes_node_bridge_port_key
            ON public.milady_sandboxes (node_id, bridge_port)
            WHERE status IN ('running', 'provisioning', 'pending');
        CREATE UNIQUE INDEX milady_sandboxes_node_web_ui_port_key
            ON public.milady_sandboxes (node_id, web_ui_port)
            WHERE status IN ('running', 'provisioning', 'pending');
    END IF;

    IF to_regclass('public.milady_sandbox_backups') IS NULL THEN
        CREATE TABLE public.milady_sandbox_backups (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            sandbox_record_id uuid NOT NULL
                REFERENCES public.milady_sandboxes (id) ON DELETE CASCADE,
            snapshot_type text NOT NULL,
            state_data jsonb NOT NULL,
            vercel_snapshot_id text,
            size_bytes bigint,
            created_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX milady_sandbox_backups_newest_idx
            ON public.milady_sandbox_backups (sandbox_record_id, created_at DESC);
    END IF;

    IF to_regclass('public.jobs') IS NULL THEN
        CREATE TABLE public.jobs (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            type text NOT NULL,
            status text NOT NULL DEFAULT 'pending',
            data jsonb NOT NULL,
            result jsonb,
            error text,
            attempts integer NOT NULL DEFAULT 0,
            max_attempts integer NOT NULL DEFAULT 3,
            organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
            user_id uuid,
            api_key_id uuid,
            generation_id uuid,
            webhook_url text,
            webhook_status text,
            estimated_completion_at timestamp,
            scheduled_for timestamp NOT NULL DEFAULT now(),
            started_at timestamp,
            completed_at timestamp,
            created_at timestamp NOT NULL DEFAULT now(),
            updated_at timestamp NOT NULL DEFAULT now()
        );
        CREATE INDEX jobs_organization_idx ON public.jobs (organization_id);
    END IF;
END $$;

-- An accepted stop (suspend, delete) ends metering at once, however late the host answers.
-- compute_started_at: when the container of the start in progress, or of the last one, began to run.
ALTER TABLE public.milady_sandboxes
    ADD COLUMN IF NOT EXISTS stop_requested_at timestamptz,
    ADD COLUMN IF NOT EXISTS compute_started_at timestamptz;

-- unsaved_since: the volume on node_id holds state that no backup does; the agent is not started
-- elsewhere. data_bind: a directory of the host that an older deployment mounted at /app/data; it is
-- kept. former_nodes: where volumes of earlier stays may be left.
ALTER TABLE public.milady_sandboxes
    ADD COLUMN IF NOT EXISTS unsaved_since timestamptz,
    ADD COLUMN IF NOT EXISTS data_bind text,
    ADD COLUMN IF NOT EXISTS former_nodes text[];

-- What a backup holds that JSONB cannot: compressed with gzip; state_data is then an empty object.
ALTER TABLE public.milady_sandbox_backups ADD COLUMN IF NOT EXISTS state_bytes bytea;

-- agent_id, class: the agent a job works on, and whether it starts or stops it. Rows of other job types
-- and of an older web app leave both null. A generated column would rewrite the table.
-- steps: what a job of ours has done so far. webhook_due_at: the next try of the webhook that hears of
-- its end; null = none to come.
ALTER TABLE public.jobs
    ADD COLUMN IF NOT EXISTS agent_id uuid,
    ADD COLUMN IF NOT EXISTS class text,
    ADD COLUMN IF NOT EXISTS steps jsonb,
    ADD COLUMN IF NOT EXISTS webhook_secret text,
    ADD COLUMN IF NOT EXISTS webhook_attempts integer,
    ADD COLUMN IF NOT EXISTS webhook_due_at timestamptz;
