-- no-transaction
-- One agent's rows of the older biller, newest first. It ends with the id, as the list's order does: a page reads its own rows, and not all that are older to sort them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_credit_transactions_agent_history_idx ON public.credit_transactions (organization_id, (metadata ->> 'sandbox_id'), created_at DESC, id DESC) WHERE seq IS NULL AND (metadata ->> 'sandbox_id') IS NOT NULL;
