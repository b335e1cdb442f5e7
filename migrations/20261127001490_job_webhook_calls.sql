-- Until when a worker has a job's webhook, which it calls; null if nobody calls it. Counted for each organization, so that
-- receivers that hang occupy few workers. A worker that dies leaves a time, which passes.
SET LOCAL lock_timeout = '1s';

ALTER TABLE public.jobs ADD COLUMN IF NOT EXISTS webhook_called_until timestamptz;
