-- Moves that copy the agent's volume.
SET LOCAL lock_timeout = '1s';

-- Why the agent stays on its host: its data cannot be copied in time. The move is open until the agent runs there again, and
-- a drain does not begin another one.
ALTER TABLE cloud.agent_moves ADD COLUMN IF NOT EXISTS refusal text;
