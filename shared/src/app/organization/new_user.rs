//! Adding a user to an organization. Owns: what is said of a mail address that is taken.

use crate::app::error::RequestError;
use crate::db::Connection;
use crate::db::identity::users::{NewUser, user_insert};
use crate::domain::ids::UserId;

/// # Errors
/// [`RequestError::Conflict`] if there is a user with this mail address, in any organization.
pub(super) async fn insert(
    conn: &mut Connection,
    user: &NewUser<'_>,
) -> Result<UserId, RequestError> {
    let taken = || RequestError::Conflict("A user with this mail address exists".to_owned());
    user_insert(conn, user).await?.ok_or_else(taken)
}
