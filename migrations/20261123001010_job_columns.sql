-- What a job of ours has done so far, and the webhook that hears of its end. webhook_due_at: the next
-- try; null = none to come.
SET LOCAL lock_timeout = '5s';
ALTER TABLE jobs
    ADD COLUMN IF NOT EXISTS steps jsonb,
    ADD COLUMN IF NOT EXISTS webhook_secret text,
    ADD COLUMN IF NOT EXISTS webhook_attempts integer,
    ADD COLUMN IF NOT EXISTS webhook_due_at timestamptz;

-- EventBridge took the event.
ALTER TABLE outbox_events ADD COLUMN published_at timestamptz;
