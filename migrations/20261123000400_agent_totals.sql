-- Two decimals swallowed an idle hour's 0.0025 (F05). Six decimals rewrite the table once; the free
-- space kept on each page lets the tick's updates stay heap-only.
SET LOCAL lock_timeout = '5s';

ALTER TABLE milady_sandboxes SET (fillfactor = 80);

DO $$ BEGIN
    IF (SELECT (numeric_precision, numeric_scale) <> (16, 6) FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'milady_sandboxes'
          AND column_name = 'total_billed') THEN
        ALTER TABLE public.milady_sandboxes ALTER COLUMN total_billed TYPE numeric(16,6);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'milady_sandboxes_billing_status_check'
                   AND conrelid = 'public.milady_sandboxes'::regclass) THEN
        ALTER TABLE public.milady_sandboxes ADD CONSTRAINT milady_sandboxes_billing_status_check
            CHECK (billing_status IN ('active', 'warning', 'suspended', 'shutdown_pending', 'exempt'))
            NOT VALID;
    END IF;
END $$;
