//! Compressed responses.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::suite::Response;

impl Response {
    /// The decompressed body as JSON.
    #[must_use]
    pub fn json_of_gzip(&self) -> Value {
        let encoding = self.header("content-encoding");
        assert_eq!(encoding, Some("gzip"), "{self:?}");
        assert_eq!(self.0["isBase64Encoded"], json!(true));
        let bytes = STANDARD.decode(self.text()).expect("base64");
        let mut text = String::new();
        let read = GzDecoder::new(bytes.as_slice()).read_to_string(&mut text);
        read.expect("gzip");
        serde_json::from_str(&text).expect("JSON")
    }
}
