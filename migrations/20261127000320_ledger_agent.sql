-- no-transaction
-- One agent's rows of the older biller, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_credit_transactions_agent_idx ON public.credit_transactions (organization_id, (metadata ->> 'sandbox_id'), created_at DESC) WHERE seq IS NULL AND (metadata ->> 'sandbox_id') IS NOT NULL;
