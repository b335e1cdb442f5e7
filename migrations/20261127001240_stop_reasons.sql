-- Why an agent stands still, and when agents that billing stopped are started again.
SET LOCAL lock_timeout = '1s';

-- A word of the functions. Null for agents that nobody stopped, or that another application did. No check: an earlier
-- version shows a word that it does not know as null.
ALTER TABLE public.milady_sandboxes ADD COLUMN IF NOT EXISTS stop_reason text;

-- As before; a start also ends the reason of the stop before it.
CREATE OR REPLACE FUNCTION cloud.clear_stop_on_start() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.stop_reason := NULL;
    IF NEW.status = 'provisioning' THEN
        NEW.compute_started_at := NULL;
        RETURN NEW;
    END IF;
    NEW.stop_requested_at := NULL;
    IF NEW.billing_status = 'suspended' THEN
        NEW.billing_status := 'active';
        NEW.shutdown_warning_sent_at := NULL;
        NEW.scheduled_shutdown_at := NULL;
    END IF;
    RETURN NEW;
END $$;

-- The last attempt to start an agent again that billing stopped. No foreign keys: see 20261127001000.
CREATE TABLE cloud.resume_attempts (
    agent_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    -- The organization's lowest balance since the attempt: a higher one is a top-up.
    lowest_balance numeric(16,6) NOT NULL,
    -- When the next attempt is due without a top-up.
    due_at timestamptz NOT NULL
);

-- Agents that were started again, until their owner is told how it went.
CREATE TABLE cloud.resume_notices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    -- The start; null for an agent whose stop had not begun, so that it keeps running.
    job_id uuid
);
CREATE INDEX resume_notices_organization_idx ON cloud.resume_notices (organization_id);
