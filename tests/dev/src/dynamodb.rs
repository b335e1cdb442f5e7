//! Stands in for `DynamoDB`: an emulator in this process, in memory, with the tables of the template.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, anyhow};
use dynoxide::Database;
use dynoxide::server::serve_with_shutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::template::Table;

/// The running emulator; it stops when dropped.
pub struct DynamoDb {
    address: SocketAddr,
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
    /// Starts it without any table.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let database = Database::memory().context("no database in memory")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for the emulator of DynamoDB")?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let server = serve_with_shutdown(listener, database.clone(), stopped);
        Ok(Self {
            address,
            database,
            stop: Some(stop),
            server: tokio::spawn(server),
        })
    }

    /// Its address, for `AWS_ENDPOINT_URL_DYNAMODB`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a table of the template, under this name.
    ///
    /// # Errors
    /// When the emulator refuses it, as `DynamoDB` would.
    pub fn create_table(&self, table: &Table, name: &str) -> Result<()> {
        let mut definition = table.definition.clone();
        definition["TableName"] = json!(name);
        let request = serde_json::from_value(definition).context("the table's definition")?;
        let refused = |error| anyhow!("the table {name} was refused: {error}");
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

    /// All items of a table, as `DynamoDB` writes them in JSON.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn items(&self, table: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut from = Value::Null;
        loop {
            let mut request = json!({ "TableName": table });
            if !from.is_null() {
                request["ExclusiveStartKey"] = from;
            }
            let page = self.database.scan(serde_json::from_value(request)?);
            let mut page = serde_json::to_value(page.map_err(|error| anyhow!("{error}"))?)?;
            if let Value::Array(found) = page["Items"].take() {
                items.extend(found);
            }
            from = page["LastEvaluatedKey"].take();
            if from.is_null() {
                return Ok(items);
            }
        }
    }

    /// Puts an item into a table, whatever is there.
    ///
    /// # Errors
    /// When it is refused.
    pub fn put(&self, table: &str, item: &Value) -> Result<()> {
        let request = serde_json::from_value(json!({"TableName": table, "Item": item}))?;
        let put = self.database.put_item(request);
        put.map(drop).map_err(|error| anyhow!("{error}"))
    }

    /// Takes an item out of a table.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn remove(&self, table: &str, pk: &str, sk: &str) -> Result<()> {
        let key = json!({"pk": {"S": pk}, "sk": {"S": sk}});
        let request = serde_json::from_value(json!({"TableName": table, "Key": key}))?;
        let removed = self.database.delete_item(request);
        removed.map(drop).map_err(|error| anyhow!("{error}"))
    }

    /// Stops it: whoever is connected is not any more, and nobody listens at its address.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        let _ = (&mut self.server).await;
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.server.abort();
    }
}
