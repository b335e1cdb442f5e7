-- no-transaction
-- cloud_credit_transactions_agent_history_idx begins with its columns.
DROP INDEX CONCURRENTLY IF EXISTS public.cloud_credit_transactions_agent_idx;
