-- What an operator who stopped an agent tells its owner.
SET LOCAL lock_timeout = '1s';

-- It belongs to `stop_reason`, and ends with it. Null if nobody wrote one.
ALTER TABLE public.milady_sandboxes ADD COLUMN IF NOT EXISTS stop_note text;

-- As before; a start also ends the note of the stop before it.
CREATE OR REPLACE FUNCTION cloud.clear_stop_on_start() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.stop_reason := NULL;
    NEW.stop_note := NULL;
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
