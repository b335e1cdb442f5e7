//! Logging in to Postgres. Owns: waiting for a free connection of the role, and reading the login again when the server
//! refuses it, because its password may have been rotated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::error::{is_login_refused, is_too_many_connections};

/// Pause before another attempt to connect to a server that accepts no more connections at the moment.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Where and as whom to connect, read again. `None` if it cannot be read.
pub type RenewedLogin = Arc<dyn Fn() -> BoxFuture<'static, Option<PgConnectOptions>> + Send + Sync>;

pub(super) struct Login {
    options: Mutex<PgConnectOptions>,
    /// `None` if the login stays the same as long as the process runs.
    renew: Option<RenewedLogin>,
}

impl Login {
    pub(super) fn new(options: PgConnectOptions, renew: Option<RenewedLogin>) -> Self {
        Self {
            options: Mutex::new(for_any_pooler(options)),
            renew,
        }
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        self.lock().clone()
    }

    /// Connects. Tries again as long as all connections that the role may have are in use, and once with a login that
    /// was read again.
    pub(super) async fn connect(&self) -> sqlx::Result<PgConnection> {
        let mut renew = self.renew.as_ref();
        loop {
            match PgConnection::connect_with(&self.options()).await {
                Err(error) if is_too_many_connections(&error) => {
                    tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
                }
                Err(error) if is_login_refused(&error) => {
                    let Some(renew) = renew.take() else {
                        return Err(error);
                    };
                    let Some(options) = renew().await else {
                        return Err(error);
                    };
                    *self.lock() = for_any_pooler(options);
                }
                connected => return connected,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PgConnectOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn for_any_pooler(options: PgConnectOptions) -> PgConnectOptions {
    options
        // Poolers refuse this parameter, and the server sends all digits without it.
        .extra_float_digits(None)
        .statement_cache_capacity(0)
}
