-- no-transaction
-- The rows of other applications in an organization's history, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_credit_transactions_history_idx ON public.credit_transactions (organization_id, created_at DESC, id DESC) WHERE seq IS NULL;
