//! The routes with which operators handle organizations, their users and their credit.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Case, admin_case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        admin_case(
            "POST /api/v1/admin/credits",
            json!({"organizationId": Uuid::nil(), "amount": 1, "reason": "r"}),
        ),
        admin_case(
            "POST /api/v1/admin/credits/refund",
            json!({"organizationId": Uuid::nil(), "amount": 1, "reason": "r"}),
        ),
        admin_case(
            "POST /api/v1/admin/credits/write-off",
            json!({"organizationId": Uuid::nil(), "reason": "r"}),
        ),
        admin_case("GET /api/v1/admin/organizations", Value::Null),
        admin_case(
            "POST /api/v1/admin/organizations",
            json!({"name": "New", "ownerEmail": "new@example.test"}),
        ),
        admin_case(
            "GET /api/v1/admin/organizations/{organizationId}/users",
            Value::Null,
        ),
        admin_case(
            "POST /api/v1/admin/organizations/{organizationId}/users",
            json!({"email": "new@example.test", "role": "viewer"}),
        ),
        admin_case(
            "POST /api/v1/admin/organizations/{organizationId}/api-keys",
            json!({"userId": Uuid::nil(), "name": "new"}),
        ),
        admin_case(
            "DELETE /api/v1/admin/organizations/{organizationId}/api-keys/{keyId}",
            Value::Null,
        ),
        admin_case(
            "GET /api/v1/admin/organizations/{organizationId}/limits",
            Value::Null,
        ),
        admin_case(
            "PATCH /api/v1/admin/organizations/{organizationId}/limits",
            json!({"agents": 5}),
        ),
    ]
}
