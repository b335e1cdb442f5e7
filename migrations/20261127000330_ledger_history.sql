-- no-transaction
-- An organization's history, newest first, one page at a time. Rows of one instant are few and sorted when read.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_credit_transactions_history_idx ON public.credit_transactions (organization_id, created_at DESC);
