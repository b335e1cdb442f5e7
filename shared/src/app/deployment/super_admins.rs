//! Linking super admins of an existing deployment to their users, when an operator asks for it and so vouches for them.

use crate::db::Database;
use crate::db::identity::super_admins;
use crate::domain::ids::UserId;

/// Links super admins whom nobody is recognized as to the only user who has their wallet as a text. Returns how many.
pub async fn link_super_admins(database: &Database) -> sqlx::Result<u64> {
    let mut tx = database.begin().await?;
    let admins = super_admins::unrecognized_super_admins(&mut tx).await?;
    let (wallets, users): (Vec<String>, Vec<UserId>) = admins
        .into_iter()
        .filter_map(|admin| Some((admin.wallet_address, admin.user_id?)))
        .unzip();
    let linked = super_admins::super_admins_link(&mut tx, &wallets, &users).await?;
    tx.commit().await?;
    Ok(linked)
}
