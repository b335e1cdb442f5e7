-- no-transaction
-- An organization's users, oldest first: where nobody is its owner, the oldest active one acts as such.
CREATE INDEX CONCURRENTLY IF NOT EXISTS cloud_users_organization_idx ON public.users (organization_id, created_at, id);
