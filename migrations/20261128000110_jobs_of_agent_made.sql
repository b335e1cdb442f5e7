-- The index is one of ours in a table that other applications share, so each billing run compares it, too.
SET LOCAL lock_timeout = '1s';
INSERT INTO cloud.shared_objects_made
SELECT name, definition FROM cloud.shared_objects WHERE name = 'index cloud_jobs_of_agent_idx on jobs';
