-- Cleans up what the next migration's checks would refuse, before they would refuse every update of such a row. A
-- billing status nobody knows was never more than active: it neither exempted nor suspended. A time that no program can
-- read is no time.
SET LOCAL lock_timeout = '1s';
UPDATE public.milady_sandboxes SET billing_status = 'active'
WHERE billing_status NOT IN ('active', 'warning', 'suspended', 'shutdown_pending', 'exempt');
UPDATE public.milady_sandboxes SET created_at = now()
WHERE created_at NOT BETWEEN '1900-01-01' AND '9999-12-31';
UPDATE public.milady_sandboxes SET updated_at = now()
WHERE updated_at NOT BETWEEN '1900-01-01' AND '9999-12-31';
UPDATE public.milady_sandboxes SET last_backup_at = NULL, last_heartbeat_at = NULL, last_billed_at = NULL,
    shutdown_warning_sent_at = NULL, scheduled_shutdown_at = NULL
WHERE greatest(last_backup_at, last_heartbeat_at, last_billed_at, shutdown_warning_sent_at,
        scheduled_shutdown_at) > '9999-12-31'
    OR least(last_backup_at, last_heartbeat_at, last_billed_at, shutdown_warning_sent_at,
        scheduled_shutdown_at) < '1900-01-01';
