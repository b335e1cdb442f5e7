//! How identifiers are sent to Postgres and read from it: as the UUIDs and numbers they are.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type};
use uuid::Uuid;

use crate::domain::ids::{
    AgentId, ApiKeyId, BackupId, CharacterId, ClaimId, DeliveryId, HostId, JobId, OrganizationId,
    SnapshotRequestId, SpanId, StreamId, TransactionId, UserId, WebhookDeliveryId,
};

macro_rules! as_uuid {
    ($($name:ty),+ $(,)?) => {$(
        impl Type<Postgres> for $name {
            fn type_info() -> PgTypeInfo {
                <Uuid as Type<Postgres>>::type_info()
            }
        }

        impl PgHasArrayType for $name {
            fn array_type_info() -> PgTypeInfo {
                <Uuid as PgHasArrayType>::array_type_info()
            }
        }

        impl Encode<'_, Postgres> for $name {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <Uuid as Encode<'_, Postgres>>::encode_by_ref(&self.uuid(), buffer)
            }
        }

        impl Decode<'_, Postgres> for $name {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                <Uuid as Decode<'_, Postgres>>::decode(value).map(Self::new)
            }
        }
    )+};
}

as_uuid! {
    OrganizationId, UserId, ApiKeyId, AgentId, CharacterId, BackupId, JobId, HostId, TransactionId,
    ClaimId, StreamId, SnapshotRequestId, DeliveryId, WebhookDeliveryId,
}

impl Type<Postgres> for SpanId {
    fn type_info() -> PgTypeInfo {
        <i64 as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for SpanId {
    fn array_type_info() -> PgTypeInfo {
        <i64 as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for SpanId {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<'_, Postgres>>::encode_by_ref(&self.get(), buffer)
    }
}

impl Decode<'_, Postgres> for SpanId {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        <i64 as Decode<'_, Postgres>>::decode(value).map(Self::new)
    }
}
