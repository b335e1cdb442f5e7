//! The control plane of a cloud that runs AI agents in Docker containers on rented hosts and charges for
//! them by the hour from prepaid credit. Every Lambda function is a thin `main` over this library.
//!
//! # The map
//! ```text
//! functions -> lambda -> api -> app
//!   -> { db, hosts, cache, events, mail, webhook_client, vpn, agent_databases, bucket, secrets } -> domain
//! ```
//! - [`domain`]: the rules, as pure functions: no I/O, no clock, no randomness.
//! - [`db`]: Postgres, a folder per group of tables: SQL, but no rules and no transactions.
//! - [`hosts`]: one SSH connection per host, and through it the Docker Engine API and the agents' HTTP.
//! - [`cache`]: DynamoDB: the snapshot of the last fleet inspection, and agents' figures.
//! - [`events`]: EventBridge: publishing what happened.
//! - [`mail`]: handing mails over to SES or to an SMTP server.
//! - [`webhook_client`]: calling webhooks, at checked addresses and signed.
//! - [`agent_databases`]: the database that each agent owns, on a Postgres server or at Neon.
//! - [`bucket`]: S3: the states of backups.
//! - [`vpn`]: Headscale: the nodes of the private network.
//! - [`secrets`]: reading secrets from settings, files or Secrets Manager.
//! - [`app`]: the use cases, a folder per resource: they begin and commit transactions.
//! - [`api`]: one file per route or event: authentication, request and response types, status codes.
//! - [`cloud_formation`]: answering requests for a custom resource.
//! - [`invocation`]: the deadline and the identifier of one invocation, for `api` and `lambda`.
//! - [`metrics`]: metrics, written as log lines.
//! - [`encryption`]: the keys that secrets in the database are encrypted with.
//! - [`aws`]: signed requests of AWS's services that need no SDK.
//! - [`random`], [`failure`]: random bytes; errors with a reason to show and a cause to log.
//! - [`lambda`]: what a `main` is made of: environment, clients, the runtime loop.
//!
//! # Direction
//! A module uses only modules to its right in the picture. Reads may go `api -> db`; every write goes through
//! `app`. There are no cycles, neither between modules nor between the files of one module. `tests/it/tidy`
//! checks it.
//!
//! # Invariants
//! 1. Money is a decimal, never a float. A balance never goes below zero, and each of our transactions changes it
//!    by exactly the sum of the ledger entries that it writes.
//! 2. No second of an agent's life is charged twice, and no metered second is dropped silently: it is
//!    charged, owed, or written off in a row that says so.
//! 3. Compute cannot start without a [`domain::credit_gate::Clearance`], which only the credit gate makes.
//!    The worker checks again before it starts anything.
//! 4. Intent is committed before any outside effect, and every outside effect can be repeated. A crash at any
//!    line leaves a row that a later run finishes. A worker that does not hold the fence removes nothing but the
//!    container that it created itself.
//! 5. No transaction stays open across SSH or HTTP.
//! 6. What could not be observed is `unknown`: never `missing`, never `stopped`. Nothing is removed or stopped
//!    because of it. When most of the fleet becomes unreadable at once, the fault is on this side.
//! 7. No text from a request ever reaches a shell.
//! 8. Every query on one tenant's data takes the organization's identifier. A query without it says so in its
//!    name, `..._of_any_organization`, or is listed with a reason in `tests/it/tidy/queries.rs`.
//! 9. SSH coordinates, raw driver errors, SQL, secrets and mail addresses never reach a response or a log.
//!    The operators' answers about hosts are an exception: they hold host name, SSH port, user and
//!    fingerprint. And owners see the address that they have set.
//! 10. DynamoDB is a cache: losing it loses nothing, and the fleet is inspected without it. Decisions about money and
//!     lifecycles never read it.
//!
//! # Glossary
//! One word per concept, in code, logs, errors, tests and documentation. A new concept gets its word here
//! first.
//!
//! **Hosts and the fleet**
//! - *host*: a rented machine that runs containers. It is called `node` on the wire and in tables (`nodeId`,
//!   `docker_nodes`), and in the code that serves the routes of that name. In `vpn` a *node* is a member of the
//!   private network.
//! - *fleet*: all hosts together.
//! - *refresh run*: one inspection of the fleet. It produces a *host observation* per host that answered and
//!   a *container observation* per container there; a host that could not be observed has a *host read
//!   error* instead. In a *simulation* it is told what it would observe.
//! - *shard*: a part of a large fleet that one invocation inspects. Its *digest* is what it contributes to the *overview*,
//!   the totals and incidents of the fleet. Until the fleet is large it is one shard.
//! - A *finished* snapshot is the JSON that readers get, compressed in *pieces*, of which each response is put together. A
//!   *section* is what a page shows as a whole: a host with its agents, or some of very many agents.
//! - *upkeep* of a host: having the default image there before an agent needs it, and removing what nobody needs when its
//!   disk fills up.
//! - *status transition*: a change of an agent's status that follows from refresh runs. It takes two matching
//!   observations to lose a status, and one to regain it. The first of the two is a *suspicion*.
//! - *death* of a container: it has ended, and Docker does not start it again, or starts it again and again. The next
//!   refresh run decides about an *ailing* container.
//! - *figures* of an agent: what its container uses of its host. A *sample* has those of all agents on a host at one time.
//! - *own fault*: most hosts of a run became unreadable in it, which says nothing about the hosts.
//! - *discrepancy*: what one refresh run observed that must not be: a *surplus container*, which runs although its agent
//!   is stopped, or an agent that should run on no known host. What the next run observes, too, is *repaired*.
//! - *agent container*: a container that this product made, by its label or name. *Our containers* are these
//!   and those that a row claims.
//! - *unclaimed container*: an agent container that no row claims. On the wire: `ghostContainers`.
//! - *missing container*: a container that a row expects and its host does not have. On the wire: `orphanRecords`.
//! - *container action*: what an operator does to one container.
//! - *withdrawn host*: a host that takes no agents because an operator *drains* it, which is to move its agents to other
//!   hosts, or has declared it *lost*. A lost host that answers again has *returned*.
//! - *move* of an agent: a stop, a copy of its volume, and a start elsewhere. It is *refused* if the copy would take too
//!   long: then the agent is started where it was. The *reader* is the container through which the volume is read.
//! - *roll-out*: giving a new version of the default image to agents that run another one. A *restart* is the part of one
//!   agent: a stop with a snapshot and a start on the same host. An agent that cannot be started with the new version is
//!   *put back* on the image that it ran before.
//! - *slot*: room for one agent on a host. *Drift*: containers on a host minus rows that expect one there.
//! - A host is *set aside* while starts on it fail: it takes an agent only if no other host can. What containers may use
//!   of a host is *promised* to them.
//!
//! **Users and their credentials**
//! - *API key*: what a caller presents. It belongs to a user and *permits* what it names, as far as the user's *role* in
//!   the organization allows it. To *revoke* it is to switch it off for good.
//!
//! **Agents and jobs**
//! - *owner* of an agent: the user it belongs to, and the user's organization. *Operator*: a super admin.
//! - *agent event*: something that can happen to an agent; a table says which status allows it and which
//!   follows. A *status conflict* is the refusal of a request because of the state of what it names.
//! - *job*: work on an agent outside the request. Its row in `jobs` is the record that it is due. To *supersede* a
//!   job is to end it in favour of a newer one.
//! - The events of the *outbox* are *published* when EventBridge accepts them. A mail event is *handed over* when
//!   the mail provider takes it. A due job or tombstone is *announced* by an event (on the wire: `told`). An attempt
//!   that failed is *retried* (on the wire: `again`).
//! - *product event*: what product analytics learns of an organization: figures and identifiers, never names. Events wait and
//!   travel in *batches*.
//! - *neglected agent*: an agent that no job works on although one should. The sweep ends its start (on the wire:
//!   `orphaned`) or enqueues the stop that is missing.
//! - *stop reason*: who stopped an agent, or what did. *Stop note*: what an operator who did tells the owner. A start clears
//!   both.
//! - *class* of a job: whether it starts or stops compute. An agent has at most one active job of each class.
//! - *lane*: the queue and the workers of one class. There is *room* for a job while fewer of its organization and on its
//!   host run than may; otherwise it is *turned away*, and stays due. *Backlog*: what waits and runs in the lanes.
//! - *fence*: the number of the attempt that holds a job. A worker with an older number changes nothing.
//! - *launch*: the steps of a start job from the image to a healthy container.
//! - *cleanup*: removing what an earlier attempt left on a host.
//! - *agent state*: the data that an agent keeps (memories, configuration, files) and that a backup holds. What
//!   the row says of the agent's lifecycle is its *status*.
//! - *container kind*: *managed* if the agent's image is the deployment's default image, *custom* otherwise.
//! - *silent agent*: a running agent whose heartbeat is late.
//! - *limit* of an organization: how many it may have of something at a time, or request within a period. It is the default
//!   or an operator's value (on the wire: `override`). What is *allowed* is that number, what is *used* how many there are.
//! - *open stream*: a request that holds its connection for long, whether it streams or waits.
//! - *tombstone*: the record of what an agent left on hosts and database servers when another application deleted
//!   its row.
//! - *checkpoint*: recording a job's progress under the fence.
//! - *unsaved state*: state in an agent's volume that no backup holds. It is *left* on a host if the agent was started on
//!   another one all the same.
//! - *backup*: a stored state: *manual* at the owner's request, *daily* of a running agent, *pre-shutdown* by a stop. To
//!   *stage* a state is to store it so far that only its backup's row is missing. An object in the bucket is *abandoned* if
//!   no backup refers to it.
//! - *idempotency key*: the header that makes a repeated request replay the first answer.
//!
//! **Billing**
//! - *span*: a period in which an agent is metered at one rate. *Slice*: the part of a span inside one clock
//!   hour, the only thing that is charged. *Charge*: a slice that is paid. *Mark*: how far a span is charged.
//! - *entry*: a change of a balance by us, in `ledger_entries`. A usage entry is the sum of its charges.
//! - *account*: the row that says how far an organization is charged, and what it owes besides slices.
//! - *billing run*: charging all slices up to a full hour, once per organization and hour. An organization is
//!   *decided* up to the hour to which a run has charged it and drawn the consequences. *Batch*: organizations that
//!   a run works on together. *Part*: one transaction of it.
//! - *statement* of a day: what was charged on it, added up per agent after its end. What it has counted is
//!   *stated*; a span of which everything is stated is *settled*.
//! - *debt*: what is due and not paid. On the wire: `owed`. *Refund*: taking credit back because a purchase was
//!   refunded or disputed. *Carried debt*: what refunds took beyond the balance.
//! - *pricing* of an agent: whether it is exempt from billing, and its own rate.
//! - *low-credit limit*: the price list's part of the *low-credit mark*, the balance below which the owner is warned: their
//!   own, or the limit, or what 72 hours cost if that is more.
//! - *dunning*: warning, grace period and suspension of agents in debt. *Shutdown date*: the end of the grace
//!   period. *Ceiling*: the debt above which agents are suspended without waiting for that date.
//! - *top-up*: a balance that rises, no matter who changes it. *Automatic resume*: starting agents after it that billing
//!   stopped. Each try is an *attempt*; a *notice* is what the owner has to be told of one that succeeded or failed.
//! - *finding*: a row that violates an invariant of billing, as the daily *audit* recorded it.
//! - *clearance*: the credit gate's permission to start one agent.
//!
//! **Mails**
//! - *delivery*: one attempt to reach one *recipient* with the mail of one event, repeated while it fails for now. The
//!   recipients of an organization are a *chain*: the next one is addressed when the mail to the one before is refused or
//!   bounces.
//! - *notice*: an event of which the owner is told: by a mail, and in the list of notices.
//! - *suppressed address* of an organization: one that its mails bounced from, or whose owner called one of them spam. It
//!   gets no other mail of that organization; mails of others still go there.
//! - *undeliverable* event: nobody of the chain is left.
//! - *feedback*: an event of SES about a mail that it took.
//!
//! **Webhooks**
//! - *webhook* of a job: a URL that is called when the job ends. *Webhook of an organization*: a URL to which the events that
//!   lead to mails are sent, too. Its *kind* says whether it is a server of the organization's own, which checks signatures,
//!   or Slack. Who is called is the *receiver*.
//! - *webhook delivery*: one event for one webhook, attempted until the receiver takes it.
//! - *failure series*: failed attempts of a webhook without one that succeeded between them. After each the webhook is *left
//!   alone* for a while. After three days of them, or if the receiver says that it is gone, it is *switched off*.
//!
//! **Secrets**
//! - *key*: of the operator's list `SECRETS_KEYS`; its *id* is stored with each value. *Rotation*: another key comes
//!   first. *Stored setting*: one that Secrets Manager keeps.
//! - *location* of an encrypted value: the table, column and row that it is bound to.
//! - *older application is gone*: nobody reads agents' environments in `milady_sandboxes` any more, so they are encrypted.
//!
//! **Code**
//! - `Deps`: the clients and settings that a use case needs. *Ports* are always TCP ports, never interfaces.
//! - `redact`: removing what must not be shown. `Timestamp`: a point in time in answers.
//! - *buffer*: one of the sets of items in the cache that runs over a shard write to in turn. *Head*: the item that says
//!   which buffers are valid.
//! - *older application*: the software of an earlier deployment, which shares our tables. Its parts are the *older
//!   biller*, the *older worker* and the *older web app*.
//! - `F01`, `F02`, ...: known failures of earlier deployments. For each, a test with the code in its name shows that
//!   it cannot happen here.
//! - Limits are named `MAX_...` (`MAX_..._BYTES`), time limits `..._TIMEOUT`, waits `..._AFTER`.

pub mod agent_databases;
pub mod api;
pub mod app;
pub mod aws;
pub mod bucket;
pub mod cache;
pub mod cloud_formation;
pub mod db;
pub mod domain;
pub mod encryption;
pub mod events;
pub mod failure;
pub mod hosts;
pub mod invocation;
pub mod lambda;
pub mod mail;
pub mod metrics;
pub mod random;
pub mod secrets;
pub mod vpn;
pub mod webhook_client;
