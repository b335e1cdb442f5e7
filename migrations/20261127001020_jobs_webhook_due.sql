-- no-transaction
-- Webhooks that are to be sent: read every minute.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_jobs_webhook_due_idx ON public.jobs (webhook_due_at) WHERE webhook_due_at IS NOT NULL;
