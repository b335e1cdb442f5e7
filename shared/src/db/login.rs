//! Logging in to Postgres. Owns: waiting for a free connection of the role, and reading the login again when the server
//! refuses it, because its password may have been rotated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::error::{is_login_refused, is_too_many_connections};

/// Pause before another attempt to connect to a server that accepts no more connections at the moment.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How often a login that the server refuses is read again: one that stays wrong must not cause a request to Secrets
/// Manager per connection.
const RENEW_AFTER: Duration = Duration::from_secs(30);

/// Where and as whom to connect, read again. `None` if it cannot be read.
pub type RenewedLogin = Arc<dyn Fn() -> BoxFuture<'static, Option<PgConnectOptions>> + Send + Sync>;

pub(super) struct Login {
    known: Mutex<KnownLogin>,
    /// `None` if the login stays the same as long as the process runs.
    renewal: Option<Renewal>,
}

#[derive(Clone)]
struct KnownLogin {
    options: PgConnectOptions,
    /// How often it was read again: tells a login from the one that replaced it.
    version: u32,
}

struct Renewal {
    read: RenewedLogin,
    /// When the login was last read again. The lock is held while it is read, so that connections that are refused at the
    /// same time share what one of them reads.
    last: tokio::sync::Mutex<Option<Instant>>,
}

impl Login {
    pub(super) fn new(options: PgConnectOptions, renew: Option<RenewedLogin>) -> Self {
        Self {
            known: Mutex::new(KnownLogin {
                options: for_any_pooler(options),
                version: 0,
            }),
            renewal: renew.map(|read| Renewal {
                read,
                last: tokio::sync::Mutex::default(),
            }),
        }
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        self.lock().options.clone()
    }

    /// Connects. Tries again as long as all connections that the role may have are in use, and with a login that was read
    /// again.
    pub(super) async fn connect(&self) -> sqlx::Result<PgConnection> {
        loop {
            let login = self.lock().clone();
            match PgConnection::connect_with(&login.options).await {
                Err(error) if is_too_many_connections(&error) => {
                    tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
                }
                Err(error) if is_login_refused(&error) => {
                    if !self.renew(login.version).await {
                        return Err(error);
                    }
                }
                connected => return connected,
            }
        }
    }

    /// Returns whether there is a login that was read after this version, which was refused.
    async fn renew(&self, refused_version: u32) -> bool {
        let Some(renewal) = &self.renewal else {
            return false;
        };
        let mut last = renewal.last.lock().await;
        // Another connection's refusal may have had it read.
        if self.lock().version != refused_version {
            return true;
        }
        if last.is_some_and(|at| at.elapsed() < RENEW_AFTER) {
            return false;
        }
        *last = Some(Instant::now());
        let Some(options) = (renewal.read)().await else {
            return false;
        };
        *self.lock() = KnownLogin {
            options: for_any_pooler(options),
            version: refused_version.wrapping_add(1),
        };
        true
    }

    fn lock(&self) -> MutexGuard<'_, KnownLogin> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn for_any_pooler(options: PgConnectOptions) -> PgConnectOptions {
    options
        // Poolers refuse this parameter, and the server sends all digits without it.
        .extra_float_digits(None)
        .statement_cache_capacity(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_refused_login_is_read_again_at_most_every_30_seconds_and_shared() {
        let options = || {
            let options = "postgres://role@127.0.0.1/database".parse::<PgConnectOptions>();
            options.expect("an address")
        };
        let reads = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&reads);
        let read: RenewedLogin =
            Arc::new(move || -> BoxFuture<'static, Option<PgConnectOptions>> {
                counter.fetch_add(1, Ordering::Relaxed);
                let options = options();
                Box::pin(async { Some(options) })
            });
        let login = Login::new(options(), Some(read));
        let count = || reads.load(Ordering::Relaxed);
        // Two connections are refused with the first login.
        let both = (login.renew(0).await, login.renew(0).await);
        assert_eq!((both, count()), ((true, true), 1));
        // The second one is refused, too.
        for _ in 0..3 {
            assert_eq!((login.renew(1).await, count()), (false, 1));
        }
        let renewal = login.renewal.as_ref().expect("a renewal");
        *renewal.last.lock().await = Instant::now().checked_sub(RENEW_AFTER);
        assert_eq!((login.renew(1).await, count()), (true, 2));
        assert!(!Login::new(options(), None).renew(0).await);
    }
}
