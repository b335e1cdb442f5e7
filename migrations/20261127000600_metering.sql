-- Metering: triggers on the agents keep their usage spans, so that every writer is metered, whoever
-- it is.
SET LOCAL lock_timeout = '1s';

-- The only clock of billing.
CREATE FUNCTION cloud.billing_clock() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN clock_timestamp();

-- What an agent is metered as: running, idle, or null for not at all.
CREATE FUNCTION cloud.metered_kind(
    status text, billing_status text, stop_requested_at timestamptz, last_backup_at timestamptz
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN billing_status IN ('exempt', 'suspended') THEN NULL
    WHEN status = 'running' AND stop_requested_at IS NULL THEN 'running'
    WHEN status = 'stopped' AND last_backup_at IS NOT NULL THEN 'idle'
END;

-- Ends the agent's open span and opens the one that its new state wants. The span is locked before the
-- clock is read: time that a concurrent run charged lies before that reading. It runs as its owner
-- because other roles may write agents without knowing of spans. A failure becomes a warning, because
-- it must not break their writes: the hourly run repairs it and counts it.
CREATE FUNCTION cloud.meter_agent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    agent uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
    wanted text;
    clock timestamptz;
    previous_end timestamptz;
BEGIN
    IF TG_OP <> 'DELETE' THEN
        wanted := cloud.metered_kind(
            NEW.status, NEW.billing_status, NEW.stop_requested_at, NEW.last_backup_at);
    END IF;
    IF TG_OP = 'INSERT' AND wanted IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.organization_id = NEW.organization_id
        AND OLD.hourly_rate IS NOT DISTINCT FROM NEW.hourly_rate
        AND wanted IS NOT DISTINCT FROM cloud.metered_kind(
            OLD.status, OLD.billing_status, OLD.stop_requested_at, OLD.last_backup_at)
    THEN
        RETURN NULL;
    END IF;
    PERFORM FROM cloud.agent_usage_spans WHERE agent_id = agent AND ended_at IS NULL FOR UPDATE;
    clock := cloud.billing_clock();
    UPDATE cloud.agent_usage_spans
    SET ended_at = greatest(clock, started_at, billed_through)
    WHERE agent_id = agent AND ended_at IS NULL;
    IF wanted IS NOT NULL THEN
        SELECT max(ended_at) INTO previous_end
        FROM cloud.agent_usage_spans WHERE agent_id = agent;
        INSERT INTO cloud.agent_usage_spans (agent_id, agent_created_at, organization_id, user_id,
            agent_name, kind, hourly_rate, started_at)
        VALUES (agent, NEW.created_at, NEW.organization_id, NEW.user_id, NEW.agent_name, wanted,
            CASE WHEN wanted = 'running' THEN NEW.hourly_rate END, greatest(clock, previous_end));
    END IF;
    RETURN NULL;
EXCEPTION
-- The writer is told to repeat its transaction, as it must expect anyway: a stop that was not metered would be charged.
WHEN serialization_failure OR deadlock_detected THEN
    RAISE;
WHEN OTHERS THEN
    RAISE WARNING 'metering of agent % failed: %', agent, SQLERRM;
    RETURN NULL;
END $$;

-- An agent that starts again is no longer asked to stop and no longer suspended (F02).
CREATE FUNCTION cloud.clear_stop_on_start() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.stop_requested_at := NULL;
    IF NEW.billing_status = 'suspended' THEN
        NEW.billing_status := 'active';
        NEW.shutdown_warning_sent_at := NULL;
        NEW.scheduled_shutdown_at := NULL;
    END IF;
    RETURN NEW;
END $$;

-- A trigger needs no such right. Whoever could call these functions from a trigger of their own would act as their
-- owner.
REVOKE ALL ON FUNCTION cloud.billing_clock(), cloud.clear_stop_on_start(), cloud.meter_agent(),
    cloud.metered_kind(text, text, timestamptz, timestamptz) FROM PUBLIC;

-- The conditions run with the writer's rights, so they call no function: `meter_agent` decides.
CREATE TRIGGER cloud_clear_stop BEFORE UPDATE ON public.milady_sandboxes
    FOR EACH ROW WHEN (
        NEW.status = 'running' AND OLD.status IN ('stopped', 'pending', 'provisioning', 'error'))
    EXECUTE FUNCTION cloud.clear_stop_on_start();

CREATE TRIGGER cloud_meter_insert AFTER INSERT ON public.milady_sandboxes
    FOR EACH ROW WHEN (NEW.status IN ('running', 'stopped'))
    EXECUTE FUNCTION cloud.meter_agent();

CREATE TRIGGER cloud_meter_update AFTER UPDATE ON public.milady_sandboxes
    FOR EACH ROW WHEN (
        OLD.organization_id <> NEW.organization_id
        OR OLD.hourly_rate IS DISTINCT FROM NEW.hourly_rate
        OR OLD.status <> NEW.status
        OR OLD.billing_status <> NEW.billing_status
        OR OLD.stop_requested_at IS DISTINCT FROM NEW.stop_requested_at
        OR (OLD.last_backup_at IS NULL) <> (NEW.last_backup_at IS NULL))
    EXECUTE FUNCTION cloud.meter_agent();

CREATE TRIGGER cloud_meter_delete AFTER DELETE ON public.milady_sandboxes
    FOR EACH ROW EXECUTE FUNCTION cloud.meter_agent();

-- Metering of the agents that are there starts now.
INSERT INTO cloud.agent_usage_spans (agent_id, agent_created_at, organization_id, user_id, agent_name,
    kind, hourly_rate, started_at)
SELECT id, created_at, organization_id, user_id, agent_name, kind,
    CASE WHEN kind = 'running' THEN hourly_rate END, cloud.billing_clock()
FROM public.milady_sandboxes,
    cloud.metered_kind(status, billing_status, stop_requested_at, last_backup_at) AS kind
WHERE kind IS NOT NULL;
