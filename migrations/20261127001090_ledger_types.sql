-- no-transaction
-- The rows of other applications in an organization's history that are of one type, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_credit_transactions_type_idx ON public.credit_transactions (organization_id, type, created_at DESC, id DESC) WHERE seq IS NULL;
