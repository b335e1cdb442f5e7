//! Linking super admins of an existing deployment to their users, when an operator asks for it and so vouches for them.

use crate::db::Database;
use crate::db::identity::super_admins::{self, UnrecognizedSuperAdmin};
use crate::domain::ids::UserId;

/// Links super admins as whom nobody is recognized to the only user who has their wallet as a text. Returns those that
/// it linked.
pub async fn link_super_admins(database: &Database) -> sqlx::Result<Vec<UnrecognizedSuperAdmin>> {
    let mut tx = database.begin().await?;
    let admins = super_admins::unrecognized_super_admins(&mut tx).await?;
    let is_clear = |admin: &UnrecognizedSuperAdmin| admin.user_id.is_some();
    let linked: Vec<UnrecognizedSuperAdmin> = admins.into_iter().filter(is_clear).collect();
    let (wallets, users): (Vec<String>, Vec<UserId>) = linked
        .iter()
        .filter_map(|admin| Some((admin.wallet_address.clone(), admin.user_id?)))
        .unzip();
    super_admins::super_admins_link(&mut tx, &wallets, &users).await?;
    tx.commit().await?;
    Ok(linked)
}
