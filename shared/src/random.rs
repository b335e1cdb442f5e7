//! Random bytes from the operating system, for keys, tokens and webhook secrets.

use crate::failure::Cause;

/// # Errors
/// The operating system's random number generator fails.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl Cause for getrandom::Error {
    fn class(&self) -> String {
        self.to_string()
    }
}
