-- Which of its keys a host is recognized by, so that one SSH handshake is enough.
SET LOCAL lock_timeout = '1s';

-- The type and the fingerprint of the key that a connection accepted: `ssh-ed25519 SHA256:...`. It only says which key to
-- ask for first: `host_key_fingerprint` alone decides which one is accepted, and a fingerprint that differs from it makes
-- this one void.
ALTER TABLE public.docker_nodes ADD COLUMN IF NOT EXISTS presented_host_key text;
