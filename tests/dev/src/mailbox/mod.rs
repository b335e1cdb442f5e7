//! A mailbox for every address: an SMTP server that keeps the newest mails in memory, and a page that shows them.

mod mime;
pub(crate) mod page;
mod smtp;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use mime::Parsed;

/// Older mails are dropped.
const MAX_MAILS: usize = 200;

/// A mail as it was received.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Counts up from 1.
    pub number: usize,
    pub received_at: DateTime<Utc>,
    /// Of the SMTP dialogue.
    pub recipients: Vec<String>,
    pub raw: String,
}

/// A running mailbox. Its server stops when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    mails: Arc<Mutex<Mails>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Mails {
    count: usize,
    newest: VecDeque<Mail>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Mailbox {
    /// Listens on a free port of this machine.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for the mailbox")?;
        let address = listener.local_addr()?;
        let mails = Arc::<Mutex<Mails>>::default();
        let received = Arc::clone(&mails);
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let received = Arc::clone(&received);
                tokio::spawn(async move {
                    let keep = |recipients, raw| lock(&received).keep(recipients, raw);
                    // A client that breaks off loses only its own mail.
                    let _ = smtp::serve(connection, keep).await;
                });
            }
        });
        Ok(Self(Arc::new(Shared {
            address,
            mails,
            server,
        })))
    }

    /// The address, for `SMTP_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.0.address)
    }

    /// The mails that are kept, newest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        let mails = lock(&self.0.mails);
        mails.newest.iter().rev().cloned().collect()
    }

    /// The mail with this number, if it is kept.
    #[must_use]
    pub fn mail(&self, number: usize) -> Option<Mail> {
        let mails = lock(&self.0.mails);
        mails
            .newest
            .iter()
            .find(|mail| mail.number == number)
            .cloned()
    }

    /// The mails that are kept and have a higher number, oldest first.
    #[must_use]
    pub fn mails_after(&self, number: usize) -> Vec<Mail> {
        let mails = lock(&self.0.mails);
        let newer = mails.newest.iter().filter(|mail| mail.number > number);
        newer.cloned().collect()
    }
}

impl Mails {
    fn keep(&mut self, recipients: Vec<String>, raw: String) {
        self.count += 1;
        if self.newest.len() >= MAX_MAILS {
            self.newest.pop_front();
        }
        self.newest.push_back(Mail {
            number: self.count,
            received_at: Utc::now(),
            recipients,
            raw,
        });
    }
}

/// A poisoned lock guards plain data here, which is still valid.
fn lock(mails: &Mutex<Mails>) -> MutexGuard<'_, Mails> {
    mails.lock().unwrap_or_else(PoisonError::into_inner)
}
