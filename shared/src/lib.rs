//! The control plane of a cloud that runs AI agents in Docker containers on rented hosts and charges for
//! them by the hour from prepaid credit. Every Lambda function is a thin `main` over this library.
//!
//! # The map
//! ```text
//! functions -> lambda -> api -> app -> { db, hosts, cache, events, vpn, agent_databases, secrets } -> domain
//! ```
//! - [`domain`]: the rules, as pure functions: no I/O, no clock, no randomness.
//! - [`db`]: Postgres, a folder per group of tables: SQL, but no rules and no transactions.
//! - [`hosts`]: one SSH connection per host, and through it the Docker Engine API and the agents' HTTP.
//! - [`cache`]: DynamoDB: the snapshot of the last fleet inspection, and the lease of the run that renews it.
//! - [`events`]: EventBridge: publishing what happened.
//! - [`agent_databases`]: the database that each agent owns, on a Postgres server or at Neon.
//! - [`vpn`]: Headscale: the nodes of the private network.
//! - [`secrets`]: reading secrets from settings, files or Secrets Manager.
//! - [`app`]: the use cases, a folder per resource: they begin and commit transactions.
//! - [`api`]: one file per route or event: authentication, request and response types, status codes.
//! - [`invocation`]: the deadline and the identifier of one invocation, for `api` and `lambda`.
//! - [`metrics`]: metrics, written as log lines.
//! - [`random`], [`failure`]: random bytes; errors with a reason to show and a cause to log.
//! - [`lambda`]: what a `main` is made of: environment, clients, the runtime loop.
//!
//! # Direction
//! A module uses only modules to its right in the picture. Reads may go `api -> db`; every write goes through
//! `app`. There are no cycles, neither between modules nor between the files of one module. `tests/it/tidy`
//! checks it.
//!
//! # Invariants
//! 1. Money is a decimal, never a float. A balance never goes below zero, and every change we make to it
//!    equals the sum of the ledger's entries of the same transaction.
//! 2. No second of an agent's life is charged twice, and no metered second is dropped silently: it is
//!    charged, owed, or written off in a row that says so.
//! 3. Compute cannot start without a [`domain::credit_gate::Clearance`], which only the credit gate makes.
//!    The worker checks again before it starts anything.
//! 4. Intent is committed before any outside effect, and every outside effect can be repeated. A crash at any
//!    line leaves a row that a later run finishes. A worker that does not hold the fence removes nothing.
//! 5. No transaction stays open across SSH or HTTP.
//! 6. What could not be observed is `unknown`: never `missing`, never `stopped`. Nothing is done to it.
//! 7. No text from a request ever reaches a shell.
//! 8. Every query on one tenant's data takes the organization's identifier. A query without it says so in its
//!    name: `..._of_any_organization`.
//! 9. SSH coordinates, raw driver errors, SQL, secrets and mail addresses never reach a response or a log.
//!    The operators' answers about hosts are the exception: they hold host name, SSH port, user and
//!    fingerprint.
//! 10. DynamoDB is a cache: losing it loses nothing. Decisions about money and lifecycles never read it.
//!
//! # Glossary
//! One word per concept, in code, logs, errors, tests and documentation. A new concept gets its word here
//! first.
//!
//! **Hosts and the fleet**
//! - *host*: a rented machine that runs containers. It is called `node` only where the wire or a table says so
//!   (`nodeId`, `docker_nodes`).
//! - *fleet*: all hosts together.
//! - *refresh run*: one inspection of the fleet. It produces a *host observation* per host that answered and
//!   a *container observation* per container there; a host that could not be observed has a *host read
//!   error* instead.
//! - *status transition*: a change of an agent's status that follows from two matching observations.
//! - *labelled container*: a container that this product made, by its label or name. *Our containers* are these
//!   and those that a row claims.
//! - *unclaimed container*: a labelled container that no row claims. On the wire: `ghostContainers`.
//! - *missing container*: a container that a row expects and its host does not have. On the wire: `orphans`.
//! - *container action*: what an operator does to one container.
//! - *slot*: room for one agent on a host. *Drift*: containers on a host minus rows that expect one there.
//!
//! **Agents and jobs**
//! - *agent event*: something that can happen to an agent; a table says which status allows it and which
//!   follows. A *status conflict* is the refusal.
//! - *job*: work on an agent outside the request. Its row in `jobs` is the record that it is due.
//! - *class* of a job: whether it starts or stops compute. An agent has at most one active job of each class.
//! - *fence*: the number of the attempt that holds a job. A worker with an older number changes nothing.
//! - *launch*: the steps of a start job from the image to a healthy container.
//! - *cleanup*: removing what an earlier attempt left on a host.
//! - *agent state*: the data that an agent keeps (memories, configuration, files) and that a backup holds. What
//!   the row says of the agent's lifecycle is its *status*.
//! - *container kind*: *managed* if the agent's image is the deployment's default image, *custom* otherwise.
//! - *silent agent*: a running agent whose heartbeat is late.
//! - *tombstone*: the record of what is left outside of an agent whose row another application deleted.
//! - *checkpoint*: recording a job's progress under the fence.
//! - *unsaved state*: state in an agent's volume that no backup holds.
//! - *idempotency key*: the header that makes a repeated request replay the first answer.
//!
//! **Billing**
//! - *span*: a period in which an agent is metered at one rate. *Slice*: the part of a span inside one clock
//!   hour, the only thing that is charged. *Charge*: a slice that is paid. *Mark*: how far a span is charged.
//! - *entry*: a change of a balance by us, in `ledger_entries`. A usage entry is the sum of its charges.
//! - *billing run*: charging all slices up to a full hour, once per organization and hour. *Part*: one transaction of it.
//! - *statement*: what was charged on a day, counted per agent. What it has counted is *stated*; a span of which
//!   everything is stated is *settled*.
//! - *debt*: what is due and not paid. On the wire: `owed`. *Carried debt*: the part of a refund that exceeded the
//!   balance.
//! - *pricing* of an agent: whether it is exempt from billing, and its own rate.
//! - *dunning*: warning, grace period and suspension of agents in debt.
//! - *statement* of a day: adding up what was charged on it, once it is over.
//! - *finding*: a row that violates an invariant of billing, as the daily *audit* recorded it.
//! - *clearance*: the credit gate's permission to start one agent.
//!
//! **Code**
//! - `Deps`: the clients and settings that a use case needs. *Ports* are TCP ports.
//! - `redact`: removing what must not be shown. `Timestamp`: a point in time in answers.
//! - *buffer*: one of the two sets of items in the cache that snapshots are written to in turn.
//! - `F01`, `F02`, ...: known failures of earlier deployments. A test with the code in its name shows that each
//!   cannot happen here.
//! - Limits: `MAX_..._BYTES`, `MAX_...`, `MAX_ATTEMPTS`, `..._TIMEOUT`, `..._AFTER`.

pub mod agent_databases;
pub mod api;
pub mod app;
pub mod cache;
pub mod db;
pub mod domain;
pub mod events;
pub mod failure;
pub mod hosts;
pub mod invocation;
pub mod lambda;
pub mod metrics;
pub mod random;
pub mod secrets;
pub mod vpn;
