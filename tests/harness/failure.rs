//! Comparing failures.

use shared::failure::Failure;

/// The result with the reason of its failure alone: causes differ from run to run and are not compared.
pub fn reason<T, R: Copy>(result: Result<T, Failure<R>>) -> Result<T, R> {
    result.map_err(|failure| failure.reason())
}
