//! For super admins: what concerns billing as a whole.

pub mod findings;
pub mod runs;
