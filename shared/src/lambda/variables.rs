//! The settings of the functions in words. Owns: their descriptions, from which the table in `functions/README.md` is
//! derived. Does not own: reading them (`config`).

#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// As in `template.yaml`.
    pub name: &'static str,
    /// In Markdown: what it holds, its unit, its default, and which other variables can hold it instead.
    pub meaning: &'static str,
}

const fn variable(name: &'static str, meaning: &'static str) -> Variable {
    Variable { name, meaning }
}

/// Every variable that `template.yaml` sets.
pub const VARIABLES: &[Variable] = &[
    variable(
        "RUNTIME_DATABASE_URL_ARN",
        "the secret with the `postgres://` address of the role that the functions log in as; it may lead through a \
        pooler in transaction mode",
    ),
    variable(
        "OWNER_DATABASE_URL_ARN",
        "the secret with the `postgres://` address of the role that owns the tables; it leads directly to the server",
    ),
    variable(
        "DATABASE_CONNECTIONS",
        "how many connections all functions together may have, 5 to 10,000; 90 unless set in the template",
    ),
    variable(
        "DATABASE_CA_BUNDLE",
        "certificates (PEM) of authorities that may sign those of database servers, besides the public ones and those \
        of Amazon RDS",
    ),
    variable(
        "LOG_LEVEL",
        "`error`, `warn`, `info` (the default), `debug` or `trace`",
    ),
    variable(
        "STACK_NAME",
        "the dimension `Stack` of the metrics; without it they have none",
    ),
    variable(
        "SECRETS_REVISION",
        "read by nobody: another value replaces all instances, which then read their secrets again",
    ),
    variable(
        "ORIGIN_SECRET_ARN",
        "the secret with what stands in front of the API sends as `X-Origin-Secret`, at least 32 bytes: requests without \
        it get 403; unset if everybody may call the functions",
    ),
    variable(
        "ORIGIN_SECRET_OTHER_ARN",
        "the secret with another value of that header, which is accepted, too, while it is rotated",
    ),
    variable(
        "ALLOWED_ORIGINS",
        "the origins of pages that may call the API, separated by commas",
    ),
    variable(
        "PRIVY_APP_ID",
        "the audience of the identity provider's tokens; unset if there are none",
    ),
    variable("PRIVY_VERIFICATION_KEY", "the provider's public key (PEM)"),
    variable(
        "PRIVY_JWKS_URL",
        "where the provider publishes its keys, instead of one key",
    ),
    variable(
        "SESSION_SECRET_ARN",
        "the secret with the key that signs session cookies, at least 32 bytes; unset if there are no sessions",
    ),
    variable(
        "SECRETS_KEYS_ARN",
        "the secret with `<id>:<base64 of 32 bytes>`, separated by commas: the first key encrypts secrets in the \
        database, all decrypt; without it webhooks are refused and agents do not start",
    ),
    variable(
        "OLDER_APPLICATION",
        "`present` (the default) as long as an older application reads agents' environments, then `gone`: they are \
        encrypted",
    ),
    variable(
        "CRON_SECRET_ARN",
        "the secret with the bearer token of the caller of `POST /api/cron/milady-billing`",
    ),
    variable(
        "MILADY_RUNNING_HOURLY",
        "the price of a running agent: dollars per hour, at most four decimals; 0.02 unless set",
    ),
    variable(
        "MILADY_IDLE_HOURLY",
        "the price of a stopped agent's backup, likewise; 0.0025 unless set",
    ),
    variable(
        "MILADY_MINIMUM_DEPOSIT",
        "the balance that a start needs, in dollars; 5 unless set",
    ),
    variable(
        "MILADY_LOW_CREDIT",
        "the balance below which an owner without a mark of their own is warned at the latest, in dollars; 2 unless set",
    ),
    variable(
        "MILADY_GRACE_HOURS",
        "how long after its warning an agent in debt gets its shutdown date: hours, 1 to 8,760; 48 unless set",
    ),
    variable(
        "EVENT_BUS",
        "the EventBridge bus of our events; the template creates it",
    ),
    variable(
        "FLEET_TABLE",
        "the DynamoDB table of the fleet snapshot and of agents' figures; the template creates it",
    ),
    variable(
        "AGENT_BASE_DOMAIN",
        "agents are reached at `https://<id>.<domain>`; unset if they are not public",
    ),
    variable(
        "ALLOW_PRIVATE_WEBHOOKS",
        "`true` allows webhooks to this machine and to private networks, over http too",
    ),
    variable(
        "ALLOW_PRIVATE_NODES",
        "`true` allows hosts on this machine and in private networks",
    ),
    variable(
        "MILADY_SSH_KEY_ARN",
        "the secret with the private key for the hosts; or `MILADY_SSH_KEY` (base64) or `MILADY_SSH_KEY_PATH`",
    ),
    variable(
        "DEFAULT_AGENT_IMAGE",
        "the image of agents that name none; always allowed",
    ),
    variable(
        "AGENT_IMAGE_ALLOW",
        "paths of registries whose images agents may run, separated by commas; `milady/,elizaos/agent:` unless set",
    ),
    variable(
        "REGISTRY_ACCOUNTS_ARN",
        "the secret with `{\"<registry>\": {\"username\", \"password\"}}`; or `REGISTRY_ACCOUNTS` or \
        `REGISTRY_ACCOUNTS_PATH`; unset if all images are public",
    ),
    variable(
        "AGENT_DATABASE_ADMIN_URL_ARN",
        "the secret with the `postgres://` address of a role that may create roles and databases for the agents",
    ),
    variable(
        "NEON_API_KEY_ARN",
        "the secret with the key of a Neon organization, used instead of the server; `NEON_BASE_URL` replaces the \
        address of its API",
    ),
    variable(
        "ALLOW_SHARED_DATABASE_SERVER",
        "`true` allows agents' databases on the control plane's own server; for a stack on one machine",
    ),
    variable(
        "AGENT_DATABASE_MAX_BYTES",
        "an agent's database is too large at this size: bytes, 33,554,432 or more; 1,073,741,824 unless set",
    ),
    variable(
        "AGENT_HEALTH_SECONDS",
        "how long a started agent may take to become healthy: seconds, 1 to 600; 120 unless set",
    ),
    variable(
        "BACKUP_BUCKET",
        "the S3 bucket with the states of backups; unset if they are kept in the database",
    ),
    variable(
        "HEADSCALE_API_URL",
        "Headscale's https address; without it or its key the operators' network route answers 503",
    ),
    variable(
        "HEADSCALE_API_KEY_ARN",
        "the secret with a key of its API; or `HEADSCALE_API_KEY` or `HEADSCALE_API_KEY_PATH`",
    ),
    variable(
        "HEADSCALE_USER",
        "the user whose nodes are shown; `milady` unless set",
    ),
    variable(
        "MAIL_FROM",
        "the sender of mails: an address, or a name with an address in angle brackets",
    ),
    variable(
        "APP_URL",
        "the https address of the dashboard, to which mails and messages in Slack link; http only at this machine",
    ),
    variable(
        "SES_CONFIGURATION_SET",
        "the configuration set of SES, which has SES report what became of mails; the template creates it",
    ),
    variable(
        "SMTP_URL_ARN",
        "the secret with the address of an SMTP server, which sends the mails instead of SES: \
        `smtps://user:password@host`, or `smtp://` with STARTTLS; unset for SES",
    ),
];
