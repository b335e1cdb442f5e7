-- Which version of an image an agent runs, what each host was last prepared with, and how often a start only pulled.
SET LOCAL lock_timeout = '1s';

-- The digest that the agent's image had when the agent was started last: `sha256:...`. Null if the image came from no
-- registry, or if an earlier version started the agent.
ALTER TABLE public.milady_sandboxes ADD COLUMN IF NOT EXISTS image_digest text;

-- How many of the attempts do not count against the limit: they ended while their image was still being pulled.
ALTER TABLE public.jobs ADD COLUMN IF NOT EXISTS unspent_attempts integer NOT NULL DEFAULT 0;

-- The upkeep of hosts. A host without a row is due. No foreign key: see 20261127001000.
CREATE TABLE cloud.host_upkeep (
    node_id text PRIMARY KEY,
    -- Before this time no worker takes the host.
    not_before timestamptz NOT NULL,
    -- When the upkeep last ended, with success or without.
    checked_at timestamptz,
    -- The default image that the host has, and its digest. Another one makes the upkeep due.
    image text,
    image_digest text
);
