-- How many starts a move has requested: one whose starts fail again and again ends.
SET LOCAL lock_timeout = '1s';

ALTER TABLE cloud.agent_moves ADD COLUMN IF NOT EXISTS starts integer NOT NULL DEFAULT 0;
