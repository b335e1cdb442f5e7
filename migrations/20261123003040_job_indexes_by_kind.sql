-- The indexes that named the kinds. Others took their place.
SET LOCAL lock_timeout = '5s';
DROP INDEX IF EXISTS jobs_one_start_key, jobs_one_stop_key, jobs_active_agent_work_idx, jobs_due_idx;
