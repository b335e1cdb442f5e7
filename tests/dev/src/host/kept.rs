//! A directory in which an engine keeps what it has.
//!
//! The networks of its containers have addresses of the place the engine has on this machine, so an
//! engine that keeps them always takes the same place; the file `place` says which. Whoever holds that
//! place also holds the data.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::engine::{KEPT, outside};
use super::place::Place;

/// How long an engine that is just ending may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(12);

/// The place of the engine that keeps its data in `directory`, which is made where it is not there.
pub(super) async fn take(directory: &Path) -> Result<Place> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    if let Some(number) = number(directory)? {
        return wait_for(directory, number).await;
    }
    // Two directories that are not used at the same time should not get the same place either.
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    let mut places: Vec<u8> = KEPT.collect();
    let first = hasher.finish() % u64::try_from(places.len())?;
    places.rotate_left(usize::try_from(first)?);
    for number in places {
        if let Some(place) = Place::take_this("engine", number, outside)? {
            fs::write(directory.join("place"), number.to_string())?;
            return Ok(place);
        }
    }
    bail!("{} engines that keep their data run already", KEPT.len())
}

/// Removes what an engine has kept in `directory`; nothing when there is nothing.
///
/// # Errors
/// When an engine still uses it.
pub async fn remove(directory: &Path) -> Result<()> {
    let Some(number) = number(directory)? else {
        return Ok(());
    };
    let place = wait_for(directory, number).await?;
    fs::remove_dir_all(directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    fs::remove_dir(&place.directory)?;
    Ok(())
}

fn number(directory: &Path) -> Result<Option<u8>> {
    match fs::read_to_string(directory.join("place")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => {
            let number = read.ok().and_then(|text| text.parse().ok());
            let known = number.filter(|number| KEPT.contains(number));
            let known = known.with_context(|| format!("{} is damaged", directory.display()))?;
            Ok(Some(known))
        }
    }
}

async fn wait_for(directory: &Path, number: u8) -> Result<Place> {
    let give_up = Instant::now() + GONE_WITHIN;
    loop {
        if let Some(place) = Place::take_this("engine", number, outside)? {
            return Ok(place);
        }
        if Instant::now() > give_up {
            bail!(
                "another engine has the data in {} or its addresses: see /tmp/milady-engine-{number}",
                directory.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
