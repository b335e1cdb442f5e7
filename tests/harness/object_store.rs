//! A stand-in for S3 with one bucket: keeps objects, checks the signatures of requests and of presigned addresses, and fails
//! as a test says.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use dev::calls::{self, Call};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::world::World;

const BUCKET: &str = "backups";
const REGION: &str = "eu-central-1";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A running stand-in, which stops when dropped.
#[derive(Debug)]
pub struct ObjectStore {
    address: SocketAddr,
    state: Shared,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<StoreState>>;

#[derive(Debug, Default)]
struct StoreState {
    objects: BTreeMap<String, Bytes>,
    /// The statuses of the next uploads, which have no effect.
    refusals: VecDeque<u16>,
}

impl ObjectStore {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Shared::default();
        let router = Router::new().fallback(answer).with_state(state.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self {
            address,
            state,
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
        lock(&self.state).refusals.push_back(status);
    }

    /// The names of the objects.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        lock(&self.state).objects.keys().cloned().collect()
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(state): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if !is_signed(&method, &uri, &headers, &body) {
        return response(403, Bytes::new());
    }
    let prefix = format!("/{BUCKET}/");
    let Some(key) = uri.path().strip_prefix(&prefix) else {
        return response(404, Bytes::new());
    };
    record(&method, &uri, &headers);
    let mut state = lock(&state);
    match method {
        Method::PUT => {
            if let Some(status) = state.refusals.pop_front() {
                return response(status, Bytes::new());
            }
            state.objects.insert(key.to_owned(), body);
            response(200, Bytes::new())
        }
        Method::GET => match state.objects.get(key) {
            Some(object) => response(200, object.clone()),
            None => response(404, Bytes::new()),
        },
        Method::DELETE => {
            state.objects.remove(key);
            response(204, Bytes::new())
        }
        _ => response(405, Bytes::new()),
    }
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

/// Whether the signature (Signature Version 4) in the headers or in the query is right, and the body the one that was signed.
fn is_signed(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let query = uri.query().unwrap_or_default();
    let in_query = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(known, _)| *known == name);
        values.next().map(|(_, value)| value.to_owned())
    };
    let signature = match header("authorization") {
        Some(authorization) => {
            let field = |name: &str| {
                let (_, rest) = authorization.split_once(name)?;
                Some(rest.split(',').next()?.to_owned())
            };
            let hash = hex::encode(Sha256::digest(body));
            if header("x-amz-content-sha256") != Some(hash.as_str()) {
                return false;
            }
            Signature::of(
                field("SignedHeaders="),
                header("x-amz-date").map(str::to_owned),
                field("Signature="),
                hash,
            )
        }
        None => Signature::of(
            in_query("X-Amz-SignedHeaders"),
            in_query("X-Amz-Date"),
            in_query("X-Amz-Signature"),
            "UNSIGNED-PAYLOAD".to_owned(),
        ),
    };
    let Some(signature) = signature else {
        return false;
    };
    let mut pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature="))
        .collect();
    pairs.sort_unstable();
    let mut canonical = format!("{method}\n{}\n{}\n", uri.path(), pairs.join("&"));
    let names = signature.signed_headers.replace("%3B", ";");
    for name in names.split(';') {
        canonical.extend([name, ":", header(name).unwrap_or_default(), "\n"]);
    }
    canonical.extend(["\n", names.as_str(), "\n", signature.payload.as_str()]);
    signature.is_of(&canonical)
}

struct Signature {
    signed_headers: String,
    /// `20260301T000000Z`.
    date: String,
    value: String,
    payload: String,
}

impl Signature {
    fn of(
        signed_headers: Option<String>,
        date: Option<String>,
        value: Option<String>,
        payload: String,
    ) -> Option<Self> {
        Some(Self {
            signed_headers: signed_headers?,
            date: date?,
            value: value?,
            payload,
        })
    }

    fn is_of(&self, canonical: &str) -> bool {
        let day = self.date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let hash = hex::encode(Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", self.date);
        let key = format!("AWS4{SECRET_ACCESS_KEY}").into_bytes();
        let key = [day, REGION, "s3", "aws4_request"]
            .iter()
            .fold(key, |key, part| hmac(&key, part));
        hex::encode(hmac(&key, &text)) == self.value
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn lock(state: &Mutex<StoreState>) -> MutexGuard<'_, StoreState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn response(status: u16, body: Bytes) -> Response<Body> {
    let response = Response::builder().status(status);
    response.body(Body::from(body)).expect("a response")
}
