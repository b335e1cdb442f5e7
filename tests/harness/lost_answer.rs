//! A proxy in front of Postgres that loses the answer to a commit: the server has committed, and the client is told that
//! the connection broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const COMMIT: &[u8] = b"COMMIT";

/// A running proxy, which stops when dropped.
#[derive(Debug)]
pub struct LostAnswer {
    url: String,
    has_lost: Arc<AtomicBool>,
    server: JoinHandle<()>,
}

impl LostAnswer {
    /// Starts a proxy to the database at `url`. It loses one answer: that to the first commit of a transaction with a
    /// parameter of this text.
    pub async fn start(url: &str, parameter: &str) -> Self {
        let mut proxied = Url::parse(url).expect("a URL");
        let target = proxied.port().expect("a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        proxied.set_port(Some(port)).expect("a URL with a port");
        let has_lost = Arc::new(AtomicBool::new(false));
        let loses = Arc::clone(&has_lost);
        // A parameter is sent after its length.
        let length = u32::try_from(parameter.len()).expect("a short text");
        let marker: Arc<[u8]> = [&length.to_be_bytes(), parameter.as_bytes()]
            .concat()
            .into();
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let marker = Arc::clone(&marker);
                let has_lost = Arc::clone(&loses);
                tokio::spawn(async move {
                    let database = TcpStream::connect(("127.0.0.1", target)).await;
                    let database = database.expect("the database");
                    forward(client, database, &marker, &has_lost).await;
                });
            }
        });
        Self {
            url: proxied.to_string(),
            has_lost,
            server,
        }
    }

    /// The database behind the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::SeqCst)
    }
}

impl Drop for LostAnswer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Forwards both ways until a side closes, or until an answer was lost.
async fn forward(client: TcpStream, database: TcpStream, marker: &[u8], has_lost: &AtomicBool) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_database, mut to_database) = database.into_split();
    let mut is_marked = false;
    let mut loses_next = false;
    let mut request = vec![0; 65_536];
    let mut answer = vec![0; 65_536];
    loop {
        tokio::select! {
            length = read(&mut from_client, &mut request) => {
                let Some(length) = length else { return };
                let sent = &request[..length];
                is_marked |= contains(sent, marker);
                if is_marked && contains(sent, COMMIT) {
                    loses_next = !has_lost.swap(true, Ordering::SeqCst);
                }
                if to_database.write_all(sent).await.is_err() {
                    return;
                }
            }
            length = read(&mut from_database, &mut answer) => {
                let Some(length) = length else { return };
                if loses_next || to_client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// `None` at the end.
async fn read(from: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Option<usize> {
    let length = from.read(buffer).await.ok()?;
    (length > 0).then_some(length)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
