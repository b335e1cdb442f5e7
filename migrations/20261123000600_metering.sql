-- Metering: triggers on the agents keep their usage spans, so that every writer is metered, whoever
-- it is.
SET LOCAL lock_timeout = '5s';

-- The only clock of billing.
CREATE FUNCTION public.billing_clock() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN clock_timestamp();

-- What an agent is metered as: running, idle, or null for not at all.
CREATE FUNCTION public.metered_kind(
    status text, billing_status text, stop_requested_at timestamptz, last_backup_at timestamptz
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN billing_status IN ('exempt', 'suspended') THEN NULL
    WHEN status = 'running' AND stop_requested_at IS NULL THEN 'running'
    WHEN status = 'stopped' AND last_backup_at IS NOT NULL THEN 'idle'
END;

-- Ends the agent's open span and opens the one its new state wants. The span is locked before the
-- clock is read: time that a concurrent tick charged lies before that reading. It runs as its owner
-- because other roles may write agents without knowing of spans, and it never raises because it
-- must not break their writes: the tick repairs what failed here and counts it.
CREATE FUNCTION public.meter_agent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
AS $$
DECLARE
    agent uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
    wanted text;
    clock timestamptz;
    previous_end timestamptz;
BEGIN
    PERFORM FROM agent_usage_spans WHERE agent_id = agent AND ended_at IS NULL FOR UPDATE;
    clock := billing_clock();
    UPDATE agent_usage_spans
    SET ended_at = greatest(clock, started_at, billed_through)
    WHERE agent_id = agent AND ended_at IS NULL;
    IF TG_OP <> 'DELETE' THEN
        wanted := metered_kind(
            NEW.status, NEW.billing_status, NEW.stop_requested_at, NEW.last_backup_at);
        IF wanted IS NOT NULL THEN
            SELECT max(ended_at) INTO previous_end FROM agent_usage_spans WHERE agent_id = agent;
            INSERT INTO agent_usage_spans (agent_id, agent_created_at, organization_id, user_id,
                agent_name, kind, hourly_rate, started_at)
            VALUES (agent, NEW.created_at, NEW.organization_id, NEW.user_id, NEW.agent_name, wanted,
                CASE WHEN wanted = 'running' THEN NEW.hourly_rate END,
                greatest(clock, previous_end));
        END IF;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'metering of agent % failed: %', agent, SQLERRM;
    RETURN NULL;
END $$;

-- An agent that starts again is no longer asked to stop and no longer suspended (F02).
CREATE FUNCTION public.clear_stop_on_start() RETURNS trigger
LANGUAGE plpgsql
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

GRANT EXECUTE ON FUNCTION public.billing_clock(), public.clear_stop_on_start(), public.meter_agent(),
    public.metered_kind(text, text, timestamptz, timestamptz) TO PUBLIC;

CREATE TRIGGER milady_sandboxes_clear_stop BEFORE UPDATE ON milady_sandboxes
    FOR EACH ROW WHEN (
        NEW.status = 'running' AND OLD.status IN ('stopped', 'pending', 'provisioning', 'error'))
    EXECUTE FUNCTION public.clear_stop_on_start();

CREATE TRIGGER milady_sandboxes_meter_insert AFTER INSERT ON milady_sandboxes
    FOR EACH ROW WHEN (public.metered_kind(
        NEW.status, NEW.billing_status, NEW.stop_requested_at, NEW.last_backup_at) IS NOT NULL)
    EXECUTE FUNCTION public.meter_agent();

CREATE TRIGGER milady_sandboxes_meter_update AFTER UPDATE ON milady_sandboxes
    FOR EACH ROW WHEN (
        OLD.organization_id <> NEW.organization_id
        OR OLD.hourly_rate IS DISTINCT FROM NEW.hourly_rate
        OR public.metered_kind(
            OLD.status, OLD.billing_status, OLD.stop_requested_at, OLD.last_backup_at)
        IS DISTINCT FROM public.metered_kind(
            NEW.status, NEW.billing_status, NEW.stop_requested_at, NEW.last_backup_at))
    EXECUTE FUNCTION public.meter_agent();

CREATE TRIGGER milady_sandboxes_meter_delete AFTER DELETE ON milady_sandboxes
    FOR EACH ROW EXECUTE FUNCTION public.meter_agent();

-- Metering of the agents that are there starts now.
INSERT INTO agent_usage_spans (agent_id, agent_created_at, organization_id, user_id, agent_name,
    kind, hourly_rate, started_at)
SELECT id, created_at, organization_id, user_id, agent_name, kind,
    CASE WHEN kind = 'running' THEN hourly_rate END, billing_clock()
FROM milady_sandboxes,
    metered_kind(status, billing_status, stop_requested_at, last_backup_at) AS kind
WHERE kind IS NOT NULL;
