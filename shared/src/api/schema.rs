//! The JSON schemas of values that many routes have: identifiers, dates, money, enumerations, texts with a form.
//! Owns: their schemas. The types themselves know nothing of schemas, so that `domain` stays free of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::domain::access::{CredentialKind, Permission, Role};
use crate::domain::agent::{AgentStatus, BillingStatus, DatabaseStatus, StopReason};
use crate::domain::billing::SpanKind;
use crate::domain::container::ContainerKind;
use crate::domain::fleet::{
    AlertCode, ContainerAction, DockerHealth, Health, HostStatus, Metadata, Scope, Severity,
};
use crate::domain::ids::{
    AgentId, ApiKeyId, BackupId, CharacterId, DeliveryId, HostId, JobId, OrganizationId,
    TransactionId, UserId,
};
use crate::domain::job::{JobKind, JobStatus, JobVerb, StepName, StepStatus};
use crate::domain::limits::LimitName;
use crate::domain::mail::{DeliveryState, MailTemplate};
use crate::domain::money::Money;
use crate::domain::roll_out::{RestartOutcome, RollOutState};
use crate::domain::slug::MAX_SLUG_BYTES;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::WebhookKind;
use crate::domain::withdrawal::{DrainFate, HostService};

/// Implements `JsonSchema` with a schema that stands in `components` under this name.
macro_rules! schemas {
    ($($type:ty, $name:expr, $schema:expr;)+) => {$(
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    )+};
}
pub(super) use schemas;

/// A type that exists for its schema only: the value itself is read or written as a text or a number.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident, $schema:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
        )+
        schemas! { $($name, stringify!($name), $schema;)+ }
    };
}

fn uuid() -> Schema {
    json_schema!({
        "type": "string", "format": "uuid", "pattern": UUID,
    })
}

/// The schema of a text that is one of these words.
pub(super) fn words<T>(all: &[T], word: impl Fn(&T) -> &'static str) -> Schema {
    let words: Vec<&str> = all.iter().map(word).collect();
    json_schema!({"type": "string", "enum": words})
}

schemas! {
    OrganizationId, "Uuid", uuid();
    UserId, "Uuid", uuid();
    ApiKeyId, "Uuid", uuid();
    AgentId, "Uuid", uuid();
    CharacterId, "Uuid", uuid();
    BackupId, "Uuid", uuid();
    JobId, "Uuid", uuid();
    HostId, "Uuid", uuid();
    TransactionId, "Uuid", uuid();
    DeliveryId, "Uuid", uuid();
    Timestamp, "Date", json_schema!({
        "type": "string", "format": "date-time",
        "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
    });
    Money, "Money", json_schema!({
        "type": "number", "description": "US dollars, with at most six decimals.",
    });
    Role, "Role", words(Role::ALL, |role| role.as_str());
    CredentialKind, "CredentialKind", words(CredentialKind::ALL, |kind| kind.as_str());
    Permission, "Permission", words(Permission::ALL, |permission| permission.as_str());
    ContainerKind, "ContainerKind", words(ContainerKind::ALL, |kind| kind.as_str());
    AgentStatus, "AgentStatus", words(AgentStatus::ALL, |status| status.as_str());
    BillingStatus, "BillingStatus", words(BillingStatus::ALL, |status| status.as_str());
    StopReason, "StopReason", words(StopReason::ALL, |reason| reason.as_str());
    DatabaseStatus, "DatabaseStatus", words(DatabaseStatus::ALL, |status| status.as_str());
    JobKind, "JobKind", words(JobKind::ALL, |kind| kind.as_str());
    JobVerb, "JobVerb", words(JobKind::ALL, |kind| kind.verb().as_str());
    JobStatus, "JobStatus", words(JobStatus::ALL, |status| status.as_str());
    StepName, "StepName", words(StepName::ALL, |name| name.as_str());
    StepStatus, "StepStatus", words(StepStatus::ALL, |status| status.as_str());
    MailTemplate, "MailTemplate", words(MailTemplate::ALL, |template| template.as_str());
    DeliveryState, "MailState", words(DeliveryState::ALL, |state| state.as_str());
    WebhookKind, "WebhookKind", words(WebhookKind::ALL, |kind| kind.as_str());
    LimitName, "LimitName", words(LimitName::ALL, |limit| limit.as_str());
    SpanKind, "MeteredKind", words(SpanKind::ALL, |kind| kind.as_str());
    HostStatus, "NodeStatus", words(HostStatus::ALL, |status| status.as_str());
    HostService, "NodeService", words(HostService::ALL, |service| service.as_str());
    DrainFate, "DrainFate", words(DrainFate::ALL, |fate| fate.as_str());
    RollOutState, "RollOutState", words(RollOutState::ALL, |state| state.as_str());
    RestartOutcome, "RestartOutcome", words(RestartOutcome::ALL, |outcome| outcome.as_str());
    ContainerAction, "ContainerAction", words(ContainerAction::ALL, |action| action.as_str());
    Severity, "Severity", words(Severity::ALL, |severity| severity.as_str());
    Scope, "Scope", words(Scope::ALL, |scope| scope.as_str());
    Health, "Health", words(Health::ALL, |health| health.as_str());
    DockerHealth, "DockerHealth", words(DockerHealth::ALL, |health| health.as_str());
    // There will be more of them.
    AlertCode, "AlertCode", json_schema!({"type": "string", "pattern": "^[a-z_]+$"});
    Metadata, "Metadata", json_schema!({
        "type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]},
    });
}

const UUID: &str = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$";
const PLAIN_TEXT: &str = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$";
const MAIL_ADDRESS: &str = concat!(
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}){0,2}",
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$"
);
const HOSTNAME: &str = r"^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$";

forms! {
    Cursor, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[A-Za-z0-9_-]+$",
    });
    SyncText, json_schema!({"type": "string", "enum": ["true", "false"], "default": "false"});
    KeyText, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$",
    });
    Etag, json_schema!({"type": "string"});
    WebhookUrl, json_schema!({
        "type": "string", "format": "uri", "pattern": "^https://[!-~]+$", "maxLength": 2048,
    });
    SlackUrl, json_schema!({
        "type": "string", "format": "uri", "pattern": "^https://hooks\\.slack\\.com/[!-~]+$", "maxLength": 2048,
    });
    OriginText, json_schema!({
        "type": "string", "format": "uri", "pattern": r"^https?://[A-Za-z0-9.:\[\]-]+$",
        "maxLength": 2048,
    });
    NodeId, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 64,
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    });
    ImageDigest, json_schema!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"});
    /// The address of an agent's page.
    AgentUrl, json_schema!({"type": "string", "format": "uri", "pattern": "^https://"});
    Text, json_schema!({
        "type": "string", "pattern": r"^[^\u0000]*$",
        "description": "Any text without U+0000.",
    });
    PlainText, json_schema!({
        "type": "string", "pattern": PLAIN_TEXT,
        "description": "No control characters, not only spaces.",
    });
    /// A host in a request. Older deployments allowed names that are refused today.
    NodeName, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 64, "pattern": PLAIN_TEXT,
        "description": "No control characters, not only spaces.",
    });
    Hostname, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 253, "pattern": HOSTNAME,
    });
    SshUser, json_schema!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,31}$"});
    HostKeyFingerprint, json_schema!({
        "type": "string", "pattern": "^(SHA256:)?[A-Za-z0-9+/]{43}=?$",
    });
    DockerId, json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
    SnapshotType, json_schema!({"type": "string", "enum": ["auto", "manual", "pre-shutdown"]});
    /// The filter of the list of containers.
    KnownAgentStatus, words(
        &AgentStatus::ALL
            .iter()
            .filter(|status| **status != AgentStatus::Unknown)
            .collect::<Vec<_>>(),
        |status| status.as_str(),
    );
    /// As `domain::slug` has it.
    Slug, json_schema!({
        "type": "string", "minLength": 1, "maxLength": MAX_SLUG_BYTES, "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
    });
    /// As `domain::mail` accepts it.
    MailAddress, json_schema!({
        "type": "string", "minLength": 6, "maxLength": 254, "pattern": MAIL_ADDRESS,
    });
    /// A time zone. There are others in the server's list.
    TimeZone, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^(UTC|[A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$",
    });
    FindingState, json_schema!({"type": "string", "enum": ["open", "resolved", "all"]});
    /// `type` of a transaction, as a filter.
    TransactionType, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 100, "pattern": PLAIN_TEXT,
    });
    /// A filter that is compared with names.
    FilterText, json_schema!({
        "type": "string", "minLength": 1, "maxLength": 200, "pattern": PLAIN_TEXT,
    });
    TimeText, json_schema!({"anyOf": [
        {
            "type": "string", "format": "date-time",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$",
        },
        {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
    ]});
    UsageGroupText, json_schema!({
        "type": "string", "enum": ["agent", "day", "hour"], "default": "day",
    });
    StepLengthText, json_schema!({"type": "string", "enum": ["hour", "day"], "default": "day"});
    /// `view` of the fleet.
    FleetPart, json_schema!({"type": "string", "enum": ["summary"]});
    Number, json_schema!({"type": "number"});
    LogSince, json_schema!({"anyOf": [
        {
            "type": "string", "format": "date-time",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$",
        },
        {"type": "string", "pattern": "^[0-9]{1,4}[smhd]$"},
    ]});
}

/// The member `success` of every response that is not a refusal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Succeeded;

impl Serialize for Succeeded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

/// An object whose keys and texts hold no U+0000, such as an agent's configuration.
#[derive(Clone, Copy, Debug)]
pub struct TextMap<T>(std::marker::PhantomData<T>);

impl<T: JsonSchema> JsonSchema for TextMap<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}Map", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "propertyNames": generator.subschema_for::<Text>(),
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

/// Environment variables by name.
#[derive(Clone, Copy, Debug)]
pub struct VariableMap;

impl JsonSchema for VariableMap {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "VariableMap".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 128},
            "additionalProperties": generator.subschema_for::<Text>(),
        })
    }
}

schemas! { Succeeded, "Succeeded", json_schema!({"type": "boolean", "const": true}); }

/// `limit` of a list.
#[derive(Clone, Copy, Debug)]
pub struct PageSize<const DEFAULT: i64, const MAX: i64>;

impl<const DEFAULT: i64, const MAX: i64> JsonSchema for PageSize<DEFAULT, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("PageSize{DEFAULT}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MAX, "default": DEFAULT})
    }
}

/// A member that always has this value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always<const VALUE: bool>;

impl<const VALUE: bool> Serialize for Always<VALUE> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(VALUE)
    }
}

impl<const VALUE: bool> JsonSchema for Always<VALUE> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Always{VALUE}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "boolean", "const": VALUE})
    }
}

/// Any JSON value that the database can store.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<Text>();
        let json = generator.subschema_for::<Json>();
        json_schema!({
            "description": "Any JSON value without U+0000 in its texts and keys.",
            "anyOf": [
                {"type": ["null", "boolean", "number"]},
                text,
                {"type": "array", "items": json},
                {"type": "object", "propertyNames": text, "additionalProperties": json},
            ],
        })
    }
}
