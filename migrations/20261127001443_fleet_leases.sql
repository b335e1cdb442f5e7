-- Which refresh run may work on a shard of the fleet. Without the cache, too, one run at a time does.
SET LOCAL lock_timeout = '1s';

CREATE TABLE cloud.fleet_leases (
    shard integer PRIMARY KEY,
    -- Greater than that of every lease of the shard before. What a run writes to the cache carries it.
    token bigint NOT NULL,
    -- The invocation, and when its lease is over. Null while nobody has it.
    owner uuid,
    until timestamptz
);
