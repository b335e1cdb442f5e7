//! A stand-in for `DynamoDB`: an in-memory emulator in this process, with the tables of the
//! template.

mod recording;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, anyhow};
use dynoxide::Database;
use dynoxide::server::serve_with_shutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::calls;
use crate::template::Table;

/// A running emulator, which stops when dropped.
pub struct DynamoDb {
    address: SocketAddr,
    /// Stands before the emulator while calls are recorded.
    recording: Option<JoinHandle<()>>,
    database: Database,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), String>>,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DynamoDb({})", self.address)
    }
}

impl DynamoDb {
    /// Starts an emulator without tables.
    pub async fn start() -> Result<Self> {
        let database = Database::memory().context("cannot create an in-memory database")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for the DynamoDB emulator")?;
        let mut address = listener.local_addr()?;
        let mut recording = None;
        if calls::is_recording() {
            let server = recording::Server::before(address).await?;
            address = server.address;
            recording = Some(server.task);
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let server = serve_with_shutdown(listener, database.clone(), stopped);
        Ok(Self {
            address,
            recording,
            database,
            stop: Some(stop),
            server: tokio::spawn(server),
        })
    }

    /// The endpoint, for `AWS_ENDPOINT_URL_DYNAMODB`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a table of the template under another name.
    pub fn create_table(&self, table: &Table, name: &str) -> Result<()> {
        let mut definition = table.definition.clone();
        definition["TableName"] = json!(name);
        let request = serde_json::from_value(definition).context("the table's definition")?;
        let refused = |error| anyhow!("the emulator refused the table {name}: {error}");
        self.database.create_table(request).map_err(refused)?;
        if table.ttl != Value::Null {
            let ttl = json!({"TableName": name, "TimeToLiveSpecification": table.ttl});
            let request = serde_json::from_value(ttl).context("the table's time to live")?;
            self.database
                .update_time_to_live(request)
                .map_err(refused)?;
        }
        Ok(())
    }

    /// All items of a table, in the JSON format of `DynamoDB`.
    pub fn items(&self, table: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut start_key = Value::Null;
        loop {
            let mut request = json!({ "TableName": table });
            if !start_key.is_null() {
                request["ExclusiveStartKey"] = start_key;
            }
            let page = self.database.scan(serde_json::from_value(request)?);
            let mut page = serde_json::to_value(page.map_err(|error| anyhow!("{error}"))?)?;
            if let Value::Array(page_items) = page["Items"].take() {
                items.extend(page_items);
            }
            start_key = page["LastEvaluatedKey"].take();
            if start_key.is_null() {
                return Ok(items);
            }
        }
    }

    /// Puts an item and replaces an existing one with the same key.
    pub fn put(&self, table: &str, item: &Value) -> Result<()> {
        let request = serde_json::from_value(json!({"TableName": table, "Item": item}))?;
        let put = self.database.put_item(request);
        put.map(drop).map_err(|error| anyhow!("{error}"))
    }

    pub fn remove(&self, table: &str, pk: &str, sk: &str) -> Result<()> {
        let key = json!({"pk": {"S": pk}, "sk": {"S": sk}});
        let request = serde_json::from_value(json!({"TableName": table, "Key": key}))?;
        let removed = self.database.delete_item(request);
        removed.map(drop).map_err(|error| anyhow!("{error}"))
    }

    /// Stops the emulator, ends its connections and closes its port.
    pub async fn stop(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.abort();
            let _ = recording.await;
        }
        drop(self.stop.take());
        let _ = (&mut self.server).await;
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        if let Some(recording) = &self.recording {
            recording.abort();
        }
        self.server.abort();
    }
}
