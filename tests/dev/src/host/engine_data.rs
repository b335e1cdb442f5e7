//! The data directory of a persistent engine.
//!
//! The networks of its containers have addresses of the engine's slot, so a persistent engine
//! always uses the same slot; the file `place` in the directory holds its number. The lock of the
//! slot also guards the data.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::engine::{PERSISTENT_SLOTS, resources};
use super::slot::Slot;

/// How long to wait for an engine that is shutting down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(12);

/// Claims the slot of the engine that keeps its data in `directory`. Creates the directory if
/// necessary.
pub(super) async fn claim_slot(directory: &Path) -> Result<Slot> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    if let Some(number) = slot_number(directory)? {
        return wait_for(directory, number).await;
    }
    // Directories that are not in use at the same time should also get different slots.
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    let mut slots: Vec<u8> = PERSISTENT_SLOTS.collect();
    let first = hasher.finish() % u64::try_from(slots.len())?;
    slots.rotate_left(usize::try_from(first)?);
    for number in slots {
        if let Some(slot) = Slot::claim_number("engine", number, resources)? {
            fs::write(directory.join("place"), number.to_string())?;
            return Ok(slot);
        }
    }
    bail!("{} persistent engines already run", PERSISTENT_SLOTS.len())
}

/// Removes the data of an engine, if there is any. It is an error if an engine still uses it.
pub async fn remove_engine_data(directory: &Path) -> Result<()> {
    let Some(number) = slot_number(directory)? else {
        return Ok(());
    };
    let slot = wait_for(directory, number).await?;
    fs::remove_dir_all(directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    fs::remove_dir(&slot.directory)?;
    Ok(())
}

fn slot_number(directory: &Path) -> Result<Option<u8>> {
    match fs::read_to_string(directory.join("place")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => {
            let number = read.ok().and_then(|text| text.parse().ok());
            let number = number.filter(|number| PERSISTENT_SLOTS.contains(number));
            let number = number.with_context(|| format!("{} is damaged", directory.display()))?;
            Ok(Some(number))
        }
    }
}

async fn wait_for(directory: &Path, number: u8) -> Result<Slot> {
    let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
    loop {
        if let Some(slot) = Slot::claim_number("engine", number, resources)? {
            return Ok(slot);
        }
        if Instant::now() > deadline {
            bail!(
                "another engine uses the data in {} or its addresses: see /tmp/milady-engine-{number}",
                directory.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
