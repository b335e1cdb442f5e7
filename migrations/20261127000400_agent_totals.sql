-- Two decimals swallowed an idle hour's 0.0025 (F05). Six decimals rewrite the table once. The statement of a day
-- updates every agent, and a run every organization, many in one transaction: with more than half of each page kept free
-- the new versions fit beside the old ones, no index is touched, and the table does not grow (measured: at 80
-- every second update moved to another page).
SET LOCAL lock_timeout = '1s';

ALTER TABLE public.milady_sandboxes SET (fillfactor = 45);
ALTER TABLE public.organizations SET (fillfactor = 45);

DO $$ BEGIN
    IF (SELECT (numeric_precision, numeric_scale) <> (16, 6) FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'milady_sandboxes'
          AND column_name = 'total_billed') THEN
        ALTER TABLE public.milady_sandboxes ALTER COLUMN total_billed TYPE numeric(16,6);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'cloud_milady_sandboxes_billing_status_check'
                   AND conrelid = 'public.milady_sandboxes'::regclass) THEN
        ALTER TABLE public.milady_sandboxes ADD CONSTRAINT cloud_milady_sandboxes_billing_status_check
            CHECK (billing_status IN ('active', 'warning', 'suspended', 'shutdown_pending', 'exempt'))
            NOT VALID;
    END IF;
    -- Such a time would end every run that reads it.
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'cloud_milady_sandboxes_times_check'
                   AND conrelid = 'public.milady_sandboxes'::regclass) THEN
        ALTER TABLE public.milady_sandboxes ADD CONSTRAINT cloud_milady_sandboxes_times_check CHECK (
            greatest(created_at, updated_at, last_backup_at, last_heartbeat_at, last_billed_at,
                shutdown_warning_sent_at, scheduled_shutdown_at, stop_requested_at, unsaved_since,
                compute_started_at)
                < '9999-12-31 00:00:00+00'
            AND least(created_at, updated_at, last_backup_at, last_heartbeat_at, last_billed_at,
                shutdown_warning_sent_at, scheduled_shutdown_at, stop_requested_at, unsaved_since,
                compute_started_at)
                > '1900-01-01 00:00:00+00'
        ) NOT VALID;
    END IF;
END $$;
