//! The roles whose rights `cargo api-check` tests the API with.

use anyhow::{Context, Result};
use clap::ValueEnum;
use sqlx::PgPool;

use crate::command::seed;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Owner,
    Admin,
    Member,
    Viewer,
    /// An owner who is a super admin, with a key that names `admin`.
    Operator,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// Gives the first demo key this role's rights. Unchanged, it is an operator's.
    pub(super) async fn give(self, database: &PgPool) -> Result<()> {
        if self == Self::Operator {
            return Ok(());
        }
        let key = seed::DEMOS[0].key();
        for sql in [
            // The oldest user of an organization that nobody owns would be its owner.
            "INSERT INTO users (name, organization_id, role, created_at)
             SELECT 'Founder', organization_id, 'owner', '2020-01-01' FROM api_keys WHERE key = $1",
            "UPDATE api_keys SET permissions = '[]' WHERE key = $1",
            "DELETE FROM admin_users WHERE user_id = (SELECT user_id FROM api_keys WHERE key = $1)",
        ] {
            sqlx::query(sql)
                .bind(&key)
                .execute(database)
                .await
                .context("cannot take the caller's rights")?;
        }
        sqlx::query(
            "UPDATE users SET role = $2 WHERE id = (SELECT user_id FROM api_keys WHERE key = $1)",
        )
        .bind(&key)
        .bind(self.name())
        .execute(database)
        .await
        .context("cannot set the caller's role")?;
        Ok(())
    }

    /// Whether an operation, such as `GET /agents/{agentId}`, must not succeed for this role.
    pub(super) fn is_refused(self, operation: &str) -> bool {
        let (method, path) = operation.split_once(' ').unwrap_or_default();
        let is_of_operators = path.starts_with("/api/v1/admin/");
        let is_of_agents = path.starts_with("/api/v1/milady/");
        match self {
            Self::Operator => false,
            Self::Owner | Self::Admin => is_of_operators,
            Self::Member => is_of_operators || (is_of_agents && method == "DELETE"),
            Self::Viewer => is_of_operators || (is_of_agents && method != "GET"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_refused_what_the_readme_says() {
        use Role::{Admin, Member, Operator, Owner, Viewer};
        for (operation, refused) in [
            (
                "GET /api/v1/admin/docker-nodes",
                vec![Owner, Admin, Member, Viewer],
            ),
            ("POST /api/v1/milady/agents", vec![Viewer]),
            (
                "DELETE /api/v1/milady/agents/{agentId}",
                vec![Member, Viewer],
            ),
            ("GET /api/v1/milady/agents", vec![]),
            ("DELETE /api/v1/session", vec![]),
        ] {
            let mut roles = vec![Owner, Admin, Member, Viewer, Operator];
            roles.retain(|role| role.is_refused(operation));
            assert_eq!(roles, refused, "{operation}");
        }
    }
}
