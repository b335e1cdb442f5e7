//! The data of an agent on its way from one engine to another: a tar archive that is passed on as it is received. Owns: that
//! an archive which ends early is not taken for a whole one. Does not own: how long a copy may take.
//!
//! `GET /containers/{id}/archive` packs a directory of a container that need not run, with the owners, modes, times and links
//! of its files, but without sockets and without extended attributes besides `security.capability`. `PUT` unpacks it with
//! the owners that the archive names. Its parameter `copyUIDGID` is not set: with it, all files would belong to the user of
//! the container's image (Docker's `daemon/archive_tarcopyoptions_unix.go`; Podman does the same).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bollard::query_parameters::CreateContainerOptionsBuilder;
use bollard::{body_full, body_try_stream};
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::error::{EngineError, classify};
use super::spec::{DATA_PARENT_PATH, DATA_PATH, DataReader, reader_body};
use super::{CALL_TIMEOUT_SECONDS, Engine, refusal};
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

/// A tar archive consists of such blocks.
const BLOCK_BYTES: u64 = 512;
/// The zeros at its end.
const END_BYTES: u64 = 2 * BLOCK_BYTES;
/// How much is read of an answer that says why a request was refused.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Which of two hosts failed during a copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The host that the data is read from.
    #[error(transparent)]
    Source(EngineError),
    /// The host that the data is written to.
    #[error(transparent)]
    Target(EngineError),
}

/// What of an archive was passed on so far.
#[derive(Debug, Default)]
pub struct CopyMeter {
    bytes: AtomicU64,
    /// How many zeros the part so far ends with.
    zeros: AtomicU64,
    /// Whether the source broke off.
    is_broken: AtomicBool,
}

impl CopyMeter {
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, data: &[u8]) {
        let zeros = data.iter().rev().take_while(|byte| **byte == 0).count();
        let length = as_u64(data.len());
        if zeros == data.len() {
            self.zeros.fetch_add(length, Ordering::Relaxed);
        } else {
            self.zeros.store(as_u64(zeros), Ordering::Relaxed);
        }
        self.bytes.fetch_add(length, Ordering::Relaxed);
    }

    /// Whether what was passed on is a whole archive.
    fn is_complete(&self) -> bool {
        self.bytes().is_multiple_of(BLOCK_BYTES) && self.zeros.load(Ordering::Relaxed) >= END_BYTES
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The body of an answer as the body of a request. It is read as fast as the other host takes it.
struct MeteredArchive {
    body: Incoming,
    meter: Arc<CopyMeter>,
}

impl Stream for MeteredArchive {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let error = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.meter.add(&data);
                        return Poll::Ready(Some(Ok(data)));
                    }
                    Err(_) => continue,
                },
                None if self.meter.is_complete() => return Poll::Ready(None),
                None => std::io::ErrorKind::UnexpectedEof.into(),
                Some(Err(error)) => std::io::Error::other(error),
            };
            // The other host must not take the end for that of the archive.
            self.meter.is_broken.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(error)));
        }
    }
}

impl Engine {
    /// Creates a container through which a volume can be read. Returns Docker's id. It never runs.
    pub async fn create_reader(&self, reader: DataReader<'_>) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new()
            .name(reader.name)
            .build();
        let created = self
            .docker
            .create_container(Some(options), reader_body(reader))
            .await;
        Ok(created.map_err(classify)?.id)
    }

    /// Copies the data of a container to a container of another engine. Neither needs to run. The memory that it takes does not
    /// depend on the size of the data.
    ///
    /// # Errors
    /// Either engine fails, or the archive breaks off. Then a part of the data may be in the other container.
    pub async fn copy_data(
        &self,
        container: &str,
        to: &Engine,
        to_container: &str,
        meter: &Arc<CopyMeter>,
    ) -> Result<(), CopyError> {
        let read = self.read_archive(container).await;
        let archive = MeteredArchive {
            body: read.map_err(CopyError::Source)?,
            meter: Arc::clone(meter),
        };
        let written = to.write_archive(to_container, archive).await;
        if meter.is_broken.load(Ordering::Relaxed) {
            return Err(CopyError::Source(HostReadError::Unreachable.into()));
        }
        written.map_err(CopyError::Target)?;
        if !meter.is_complete() {
            return Err(CopyError::Target(HostReadError::Protocol.into()));
        }
        let is_there = to.has_data(to_container).await;
        if is_there.map_err(CopyError::Target)? {
            Ok(())
        } else {
            Err(CopyError::Target(HostReadError::Protocol.into()))
        }
    }

    async fn read_archive(&self, container: &str) -> Result<Incoming, EngineError> {
        let request = Request::get(self.archive_url(container, DATA_PATH))
            .body(body_full(Bytes::new()))
            .map_err(with_reason(HostReadError::Protocol))?;
        let exchange = self.socket.exchange(request);
        let answered = timeout(Duration::from_secs(CALL_TIMEOUT_SECONDS), exchange).await;
        let response = answered.map_err(|_: Elapsed| HostReadError::TimedOut)??;
        Ok(accepted(response).await?.into_body())
    }

    /// Unpacks an archive of the directory with the data into the directory that holds it, so that the owner and the mode of
    /// the data's own directory are set, too.
    async fn write_archive(
        &self,
        container: &str,
        archive: MeteredArchive,
    ) -> Result<(), EngineError> {
        let request = Request::put(self.archive_url(container, DATA_PARENT_PATH))
            .header(CONTENT_TYPE, "application/x-tar")
            .body(body_try_stream(archive))
            .map_err(with_reason(HostReadError::Protocol))?;
        let response = self.socket.exchange(request).await?;
        accepted(response).await?;
        Ok(())
    }

    /// Whether the engine finds the data of a container.
    async fn has_data(&self, container: &str) -> Result<bool, EngineError> {
        let request = Request::builder()
            .method(Method::HEAD)
            .uri(self.archive_url(container, DATA_PATH))
            .body(body_full(Bytes::new()))
            .map_err(with_reason(HostReadError::Protocol))?;
        let exchange = self.socket.exchange(request);
        let answered = timeout(Duration::from_secs(CALL_TIMEOUT_SECONDS), exchange).await;
        let response = answered.map_err(|_: Elapsed| HostReadError::TimedOut)??;
        Ok(response.status().is_success())
    }

    /// `path` needs no encoding.
    fn archive_url(&self, container: &str, path: &str) -> String {
        let version = self.docker.client_version();
        format!("http://docker/v{version}/containers/{container}/archive?path={path}")
    }
}

/// The answer, unless it is a refusal.
async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, EngineError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = Limited::new(response.into_body(), MAX_REFUSAL_BYTES);
    let collect = timeout(Duration::from_secs(CALL_TIMEOUT_SECONDS), body.collect());
    let body = match collect.await {
        Ok(Ok(body)) => body.to_bytes(),
        // The status says enough.
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    Err(refusal(status, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_complete(pieces: &[&[u8]]) -> bool {
        let meter = CopyMeter::default();
        for piece in pieces {
            meter.add(piece);
        }
        meter.is_complete()
    }

    #[test]
    fn an_archive_is_complete_with_two_blocks_of_zeros_however_it_is_cut() {
        let file = [b'x'; 512];
        let zeros = [0; 1_024];
        assert!(is_complete(&[&file, &zeros]));
        assert!(is_complete(&[&file, &zeros[..700], &zeros[700..]]));
        assert!(is_complete(&[&[file.as_slice(), &zeros].concat()]));
        assert!(!is_complete(&[&file, &zeros[..512]]));
        assert!(!is_complete(&[&file, &zeros, &file]));
        assert!(!is_complete(&[&file[..100], &zeros]));
        assert!(!is_complete(&[]));
    }
}
