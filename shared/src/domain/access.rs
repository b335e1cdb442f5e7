//! What a caller may do. Owns: roles in an organization, kinds of credentials, permissions of API keys, and which role
//! and permission an action needs.

use serde_json::Value;

use crate::domain::words::words;

words! {
    /// What a user is in their organization.
    pub enum Role {
        /// Reads.
        Viewer = "viewer",
        /// Also handles agents, but does not delete them.
        Member = "member",
        /// Does everything that the organization may do.
        Owner = "owner",
    }

    /// How a caller says who they are.
    pub enum CredentialKind {
        Key = "key",
        /// A session of the dashboard. It belongs to a key, which says what it permits.
        Session = "session",
        /// A token of the identity provider, in a header or a cookie.
        Token = "token",
    }

    /// What an API key may be used for. Every key may be used for reading.
    pub enum Permission {
        Read = "read",
        Agents = "agents",
        Billing = "billing",
        /// The routes for super admins, if the key's user is one.
        Admin = "admin",
    }
}

/// The permissions of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(Vec<Permission>);

impl Permissions {
    /// Reads the column of a key. Keys are made by another application too, whose words we do not know: a list that
    /// names no [`Permission`], or anything but a list, permits reading only. An empty list says that nobody restricted
    /// the key.
    #[must_use]
    pub fn of_key(column: &Value) -> Self {
        let Some(words) = column.as_array() else {
            return Self(vec![Permission::Read]);
        };
        if words.is_empty() {
            return Self::unrestricted();
        }
        let named = |permission: &Permission| {
            *permission == Permission::Read
                || words
                    .iter()
                    .any(|word| word.as_str() == Some(permission.as_str()))
        };
        Self(Permission::ALL.iter().copied().filter(named).collect())
    }

    /// Those of a key that nobody restricted.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self(vec![
            Permission::Read,
            Permission::Agents,
            Permission::Billing,
        ])
    }

    /// Those of a new key that is made for this, and for reading.
    #[must_use]
    pub fn of_new_key(named: &[Permission]) -> Self {
        let permits =
            |permission: &Permission| *permission == Permission::Read || named.contains(permission);
        Self(Permission::ALL.iter().copied().filter(permits).collect())
    }

    /// The column of a key with these permissions.
    #[must_use]
    pub fn to_column(&self) -> Value {
        let words = self.0.iter().map(|permission| permission.as_str());
        words.collect()
    }

    /// Those of a person who has signed in: their role alone limits them.
    #[must_use]
    pub fn all() -> Self {
        Self(Permission::ALL.to_vec())
    }

    #[must_use]
    pub fn contains(&self, permission: Permission) -> bool {
        self.0.contains(&permission)
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Permission] {
        &self.0
    }
}

/// What a request does, as far as rights matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    ManageAgents,
    DeleteAgents,
    /// Of the organization.
    ChangeSettings,
}

/// Why a caller may not do something. The texts are for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    #[error("Viewers may only read; ask an owner of the organization")]
    Viewer,
    #[error("Only owners of the organization may delete agents")]
    NotOwner,
    #[error("Only owners of the organization may change its settings")]
    NotOwnerOfSettings,
    #[error("This API key may only read: its permissions do not name \"agents\"")]
    Key,
    #[error("This API key may not change settings: its permissions do not name \"billing\"")]
    KeyWithoutBilling,
}

/// Whether somebody of this role may do something with these permissions: both must allow it.
pub fn check(role: Role, permissions: &Permissions, action: Action) -> Result<(), AccessDenied> {
    match (action, role) {
        (Action::Read, _) => return Ok(()),
        (_, Role::Viewer) => return Err(AccessDenied::Viewer),
        (Action::DeleteAgents, Role::Member) => return Err(AccessDenied::NotOwner),
        (Action::ChangeSettings, Role::Member) => return Err(AccessDenied::NotOwnerOfSettings),
        _ => {}
    }
    let (needed, denied) = match action {
        Action::ChangeSettings => (Permission::Billing, AccessDenied::KeyWithoutBilling),
        _ => (Permission::Agents, AccessDenied::Key),
    };
    if permissions.contains(needed) {
        Ok(())
    } else {
        Err(denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn f47_a_list_of_permissions_counts_for_the_known_ones_that_it_names() {
        use Permission::{Admin, Agents, Billing, Read};
        for (column, expected) in [
            (json!([]), vec![Read, Agents, Billing]),
            (json!(["read"]), vec![Read]),
            (json!(["agents"]), vec![Read, Agents]),
            (json!(["agents", "inference"]), vec![Read, Agents]),
            (json!(["billing", "read"]), vec![Read, Billing]),
            (json!(["admin"]), vec![Read, Admin]),
            (
                json!(["read", "agents", "billing", "admin"]),
                vec![Read, Agents, Billing, Admin],
            ),
            (json!(["inference"]), vec![Read]),
            (json!(["*"]), vec![Read]),
            (json!(["Agents"]), vec![Read]),
            (json!(["agents "]), vec![Read]),
            (json!([["agents"], 1, null]), vec![Read]),
            (json!(null), vec![Read]),
            (json!("agents"), vec![Read]),
            (json!({"agents": true}), vec![Read]),
        ] {
            assert_eq!(
                Permissions::of_key(&column).as_slice(),
                expected,
                "{column}"
            );
        }
    }

    #[test]
    fn the_column_of_a_new_key_says_what_the_key_was_made_for() {
        use Permission::{Admin, Agents, Billing, Read};
        for (named, words) in [
            (vec![Read], json!(["read"])),
            (vec![Agents, Agents], json!(["read", "agents"])),
            (
                vec![Admin, Billing, Read],
                json!(["read", "billing", "admin"]),
            ),
        ] {
            let permissions = Permissions::of_new_key(&named);
            assert_eq!(permissions.to_column(), words);
            assert_eq!(Permissions::of_key(&words), permissions);
        }
        let unrestricted = Permissions::unrestricted();
        assert_eq!(Permissions::of_key(&unrestricted.to_column()), unrestricted);
    }

    #[test]
    fn role_and_permissions_must_both_allow_an_action() {
        let reads = Permissions::of_key(&json!(["read"]));
        let full = Permissions::of_key(&json!([]));
        for (role, permissions, action, expected) in [
            (Role::Viewer, &reads, Action::Read, Ok(())),
            (
                Role::Viewer,
                &full,
                Action::ManageAgents,
                Err(AccessDenied::Viewer),
            ),
            (
                Role::Viewer,
                &full,
                Action::DeleteAgents,
                Err(AccessDenied::Viewer),
            ),
            (Role::Member, &full, Action::ManageAgents, Ok(())),
            (
                Role::Member,
                &full,
                Action::DeleteAgents,
                Err(AccessDenied::NotOwner),
            ),
            (
                Role::Member,
                &reads,
                Action::ManageAgents,
                Err(AccessDenied::Key),
            ),
            (Role::Owner, &full, Action::DeleteAgents, Ok(())),
            (
                Role::Owner,
                &reads,
                Action::DeleteAgents,
                Err(AccessDenied::Key),
            ),
            (Role::Owner, &reads, Action::Read, Ok(())),
            (Role::Owner, &full, Action::ChangeSettings, Ok(())),
            (
                Role::Owner,
                &reads,
                Action::ChangeSettings,
                Err(AccessDenied::KeyWithoutBilling),
            ),
            (
                Role::Member,
                &full,
                Action::ChangeSettings,
                Err(AccessDenied::NotOwnerOfSettings),
            ),
        ] {
            assert_eq!(
                check(role, permissions, action),
                expected,
                "{role:?} {action:?}"
            );
        }
    }
}
