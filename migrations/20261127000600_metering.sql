-- Metering: triggers on the agents keep their usage spans, so that every writer is metered, whoever
-- it is. db-migrate sets the first prices; until then nothing is metered.
SET LOCAL lock_timeout = '1s';

-- The only clock of billing.
CREATE FUNCTION cloud.billing_clock() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN clock_timestamp();

-- What an agent is metered as: running, idle, or null for not at all. Storage is metered while there is a backup and
-- no container.
CREATE FUNCTION cloud.metered_kind(
    status text, billing_status text, stop_requested_at timestamptz, last_backup_at timestamptz, names_container boolean
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN billing_status = 'exempt' THEN NULL
    WHEN status = 'running' AND stop_requested_at IS NULL AND billing_status <> 'suspended' THEN 'running'
    WHEN last_backup_at IS NOT NULL AND (status = 'stopped' OR status = 'error' AND NOT names_container) THEN 'idle'
END;

-- An agent's own running rate; null for the list price, also where the rate is no price.
CREATE FUNCTION cloud.own_rate(kind text, hourly_rate numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN kind = 'running' AND hourly_rate >= 0 AND hourly_rate <> 'NaN' THEN hourly_rate END;

-- The list price at a time.
CREATE FUNCTION cloud.list_price(kind text, at timestamptz) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE kind WHEN 'running' THEN running ELSE idle END
    FROM cloud.prices WHERE valid_from <= at ORDER BY valid_from DESC LIMIT 1
$$;

-- How far an open span is charged.
CREATE FUNCTION cloud.open_span_mark(span cloud.usage_spans) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT greatest(span.started_at, span.billed_through, CASE WHEN span.caught_up THEN (
        SELECT charged_through FROM cloud.billing_accounts WHERE organization_id = span.organization_id) END)
$$;

-- Shares the lock of the account that an agent's open span is charged to, which a run takes for itself. Returns whether
-- there is such an account.
CREATE FUNCTION cloud.share_account_lock(agent uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM cloud.billing_accounts WHERE organization_id = (
        SELECT organization_id FROM cloud.usage_spans WHERE agent_id = agent AND ended_at IS NULL) FOR SHARE;
    RETURN FOUND;
END $$;

-- Ends the agent's open span and opens the one that its new state wants. Account and span are locked before the
-- clock is read: time that a concurrent run charged lies before that reading. It runs as its owner
-- because other roles may write agents without knowing of spans. A failure becomes a warning, because
-- it must not break their writes: the hourly run repairs it and counts it.
CREATE FUNCTION cloud.meter_agent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    agent uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
    wanted text;
    has_account boolean;
    clock timestamptz;
    computing_since timestamptz;
    previous_end timestamptz;
    rate numeric;
BEGIN
    IF TG_OP <> 'DELETE' THEN
        wanted := cloud.metered_kind(NEW.status, NEW.billing_status, NEW.stop_requested_at, NEW.last_backup_at,
            NEW.node_id IS NOT NULL AND NEW.container_name IS NOT NULL);
    END IF;
    IF TG_OP = 'INSERT' AND wanted IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.organization_id = NEW.organization_id
        AND OLD.hourly_rate IS NOT DISTINCT FROM NEW.hourly_rate
        AND wanted IS NOT DISTINCT FROM cloud.metered_kind(
            OLD.status, OLD.billing_status, OLD.stop_requested_at, OLD.last_backup_at,
            OLD.node_id IS NOT NULL AND OLD.container_name IS NOT NULL)
    THEN
        RETURN NULL;
    END IF;
    has_account := cloud.share_account_lock(agent);
    PERFORM FROM cloud.usage_spans WHERE agent_id = agent AND ended_at IS NULL FOR UPDATE;
    IF NOT has_account THEN
        -- The run that we waited for at the span may have opened it.
        PERFORM cloud.share_account_lock(agent);
    END IF;
    clock := cloud.billing_clock();
    UPDATE cloud.usage_spans AS s SET ended_at = greatest(clock, cloud.open_span_mark(s))
    WHERE agent_id = agent AND ended_at IS NULL;
    IF wanted IS NOT NULL THEN
        SELECT ended_at INTO previous_end FROM cloud.usage_spans
        WHERE agent_id = agent ORDER BY started_at DESC, id DESC LIMIT 1;
        -- The container ran before the agent was known to run.
        IF TG_OP = 'UPDATE' AND wanted = 'running' AND OLD.status = 'provisioning' THEN
            computing_since := NEW.compute_started_at;
        END IF;
        rate := cloud.own_rate(wanted, NEW.hourly_rate);
        INSERT INTO cloud.usage_spans (agent_id, agent_created_at, organization_id, agent_name, kind,
            hourly_rate, list_priced, started_at)
        VALUES (agent, NEW.created_at, NEW.organization_id, NEW.agent_name, wanted,
            coalesce(rate, cloud.list_price(wanted, clock)), rate IS NULL,
            greatest(least(clock, computing_since), previous_end));
    END IF;
    RETURN NULL;
EXCEPTION
-- The writer is told to repeat its transaction, as it must expect anyway: a stop that was not metered would be charged.
WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
    RAISE;
WHEN OTHERS THEN
    RAISE WARNING 'metering of agent % failed: %', agent, SQLERRM;
    RETURN NULL;
END $$;

-- An agent that starts again is no longer asked to stop and no longer suspended (F02), whatever it was before (F57).
-- An agent whose host can be read again was running all the time.
CREATE FUNCTION cloud.clear_stop_on_start() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
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

-- A trigger needs no such right. Whoever could call these functions from a trigger of their own would act as their
-- owner.
REVOKE ALL ON FUNCTION cloud.billing_clock(), cloud.clear_stop_on_start(), cloud.meter_agent(),
    cloud.share_account_lock(uuid), cloud.metered_kind(text, text, timestamptz, timestamptz, boolean),
    cloud.own_rate(text, numeric), cloud.list_price(text, timestamptz), cloud.open_span_mark(cloud.usage_spans)
    FROM PUBLIC;

-- The conditions run with the writer's rights, so they call no function: `meter_agent` decides.
CREATE TRIGGER cloud_clear_stop BEFORE UPDATE ON public.milady_sandboxes
    FOR EACH ROW WHEN (
        NEW.status = 'running' AND OLD.status NOT IN ('running', 'disconnected')
        OR NEW.status = 'provisioning' AND OLD.status <> 'provisioning')
    EXECUTE FUNCTION cloud.clear_stop_on_start();

CREATE TRIGGER cloud_meter_insert AFTER INSERT ON public.milady_sandboxes
    FOR EACH ROW WHEN (NEW.status IN ('running', 'stopped', 'error'))
    EXECUTE FUNCTION cloud.meter_agent();

CREATE TRIGGER cloud_meter_update AFTER UPDATE ON public.milady_sandboxes
    FOR EACH ROW WHEN (
        OLD.organization_id <> NEW.organization_id
        OR OLD.hourly_rate IS DISTINCT FROM NEW.hourly_rate
        OR OLD.status <> NEW.status
        OR OLD.billing_status <> NEW.billing_status
        OR OLD.stop_requested_at IS DISTINCT FROM NEW.stop_requested_at
        OR (OLD.last_backup_at IS NULL) <> (NEW.last_backup_at IS NULL)
        OR (OLD.node_id IS NULL OR OLD.container_name IS NULL) <> (NEW.node_id IS NULL OR NEW.container_name IS NULL))
    EXECUTE FUNCTION cloud.meter_agent();

CREATE TRIGGER cloud_meter_delete AFTER DELETE ON public.milady_sandboxes
    FOR EACH ROW EXECUTE FUNCTION cloud.meter_agent();
