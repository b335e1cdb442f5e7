//! A server whose responses break off, which wiremock cannot express.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running server, which stops when dropped.
#[derive(Debug)]
pub struct TruncatedResponse {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl TruncatedResponse {
    /// Starts a server that answers every request with 200 and the beginning of a JSON body, and then closes the
    /// connection.
    pub async fn start(beginning: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let promised = beginning.len() + 1;
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {promised}\r\n\r\n{beginning}"
        );
        let server = tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.expect("a connection");
                read_head(&mut connection).await;
                let sent = connection.write_all(response.as_bytes()).await;
                sent.expect("the client reads the response");
            }
        });
        Self { address, server }
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TruncatedResponse {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Reads up to the empty line that ends a request without a body. Closing a connection with unread data would reset
/// it, and the client might lose the response.
async fn read_head(connection: &mut TcpStream) {
    let mut lines = BufReader::new(connection).lines();
    while lines
        .next_line()
        .await
        .expect("a request")
        .is_some_and(|line| !line.is_empty())
    {}
}
