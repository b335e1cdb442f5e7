//! S3 with one bucket, as s3s-fs provides it: checks the signatures of requests and of presigned addresses, and keeps objects
//! in files. It also records the calls, and refuses uploads as a test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, fs, io};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use dev::calls::{self, Call};
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::world::World;

const BUCKET: &str = "backups";
const REGION: &str = "eu-central-1";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const MAX_OBJECT_BYTES: usize = 100 << 20;

/// A running store, which is gone when dropped.
#[derive(Debug)]
pub struct ObjectStore {
    address: SocketAddr,
    directory: PathBuf,
    refusals: Refusals,
    server: JoinHandle<()>,
}

/// The statuses of the next uploads, which have no effect.
type Refusals = Arc<Mutex<VecDeque<u16>>>;

/// Each function has an access key of its own. All have the same secret.
struct OneSecret;

#[async_trait]
impl S3Auth for OneSecret {
    async fn get_secret_key(&self, _: &str) -> S3Result<SecretKey> {
        Ok(SECRET_ACCESS_KEY.into())
    }
}

impl ObjectStore {
    pub async fn start() -> Self {
        let directory = env::temp_dir().join(format!("objects-{}", Uuid::new_v4()));
        fs::create_dir_all(directory.join(BUCKET)).expect("a directory");
        let files = FileSystem::new(&directory).expect("a store");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(OneSecret);
        let refusals = Refusals::default();
        let state = (service.build(), refusals.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(state);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self {
            address,
            directory,
            refusals,
            server,
        }
    }

    /// Has the functions of a world keep backups here.
    pub fn serve(&self, world: &mut World) {
        for (setting, value) in [
            ("BACKUP_BUCKET", BUCKET),
            ("AWS_ENDPOINT_URL_S3", &format!("http://{}", self.address)),
            ("AWS_REGION", REGION),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ] {
            world.settings.insert(setting.to_owned(), value.to_owned());
        }
    }

    /// Refuses the next upload with this status; refusals queue up.
    pub fn refuse_next_upload(&self, status: u16) {
        lock(&self.refusals).push_back(status);
    }

    /// The names of the objects.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let bucket = self.directory.join(BUCKET);
        let mut keys = Vec::new();
        let read = add_keys(&bucket, &bucket, &mut keys);
        read.expect("the bucket can be read");
        keys.sort();
        keys
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.server.abort();
        // What remains is in the directory of temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn add_keys(bucket: &Path, directory: &Path, keys: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            add_keys(bucket, &path, keys)?;
        } else if let Ok(key) = path.strip_prefix(bucket) {
            keys.push(key.display().to_string());
        }
    }
    Ok(())
}

async fn answer(
    State((service, refusals)): State<(S3Service, Refusals)>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_OBJECT_BYTES)
        .await
        .expect("a request");
    if head.method == Method::PUT
        && let Some(status) = lock(&refusals).pop_front()
    {
        return response(status);
    }
    let (method, uri, headers) = (head.method.clone(), head.uri.clone(), head.headers.clone());
    let request = Request::from_parts(head, s3s::Body::from(body));
    let response = service.call(request).await.expect("an answer");
    // A call that is not signed is nobody's.
    if response.status() != 403 {
        record(&method, &uri, &headers);
    }
    response.map(Body::new)
}

fn record(method: &Method, uri: &Uri, headers: &HeaderMap) {
    let header = headers
        .get("authorization")
        .and_then(|text| text.to_str().ok());
    let action = match *method {
        Method::GET => "s3:GetObject",
        Method::PUT => "s3:PutObject",
        Method::DELETE => "s3:DeleteObject",
        _ => method.as_str(),
    };
    let call = Call {
        action,
        resource: BUCKET,
        leading_keys: Vec::new(),
    };
    calls::record(header.or(uri.query()).unwrap_or_default(), &call);
}

fn lock(refusals: &Mutex<VecDeque<u16>>) -> MutexGuard<'_, VecDeque<u16>> {
    refusals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn response(status: u16) -> Response<Body> {
    let response = Response::builder().status(status);
    response.body(Body::empty()).expect("a response")
}
