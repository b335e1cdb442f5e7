//! The identity provider in tests: a key pair, created for each run.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The bytes before the point of a P-256 key in its `SubjectPublicKeyInfo`.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key pair that signs tokens.
pub struct Signer {
    private: Vec<u8>,
    point: Vec<u8>,
    pem: String,
}

static PROVIDER: LazyLock<Signer> = LazyLock::new(Signer::new);

impl Signer {
    #[must_use]
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pkcs8 = pkcs8.expect("a key pair").as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8);
        let point = pair.expect("the key pair").public_key().as_ref().to_vec();
        let info = STANDARD.encode([&SPKI_PREFIX[..], &point].concat());
        Self {
            private: pkcs8,
            pem: format!("-----BEGIN PUBLIC KEY-----\n{info}\n-----END PUBLIC KEY-----\n"),
            point,
        }
    }

    /// A signed token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value, kid: Option<&str>) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = kid.map(str::to_owned);
        encode(&header, claims, &EncodingKey::from_ec_der(&self.private)).expect("a token")
    }

    /// The public key as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self, kid: &str) -> Value {
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
            "x": coordinate(&self.point[1..33]), "y": coordinate(&self.point[33..]),
        })
    }
}

impl Default for Signer {
    fn default() -> Self {
        Self::new()
    }
}

/// The provider whose key the functions accept.
#[must_use]
pub fn provider() -> &'static Signer {
    &PROVIDER
}

#[must_use]
pub fn public_pem() -> &'static str {
    &PROVIDER.pem
}
