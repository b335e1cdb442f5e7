-- When a due job was announced, and since when it waits because there was no room for it: so that a job is not announced
-- each minute, and a worker that has ended one can go on with the next.
SET LOCAL lock_timeout = '1s';

ALTER TABLE public.jobs
    ADD COLUMN IF NOT EXISTS announced_at timestamptz,
    ADD COLUMN IF NOT EXISTS turned_away_at timestamptz;
