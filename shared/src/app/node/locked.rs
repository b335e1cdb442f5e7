//! A host under its lock. Owns: what every operator's change of it begins with.

use crate::app::error::RequestError;
use crate::db;
use crate::db::Connection;
use crate::db::hosts::withdrawals::Withdrawal;

/// Locks a host. Returns its withdrawal if it is drained or declared lost.
///
/// # Errors
/// [`RequestError::NotFound`].
pub(super) async fn host_lock(
    conn: &mut Connection,
    node_id: &str,
) -> Result<Option<Withdrawal>, RequestError> {
    if !db::hosts::registry::host_lock(conn, node_id).await? {
        return Err(RequestError::NODE_NOT_FOUND);
    }
    Ok(db::hosts::withdrawals::withdrawal_find(conn, node_id).await?)
}
