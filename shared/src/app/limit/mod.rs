//! The limits of organizations: what is used of them, and how operators change them. Does not own: refusing what exceeds
//! one (the use cases that count).

pub mod update;
pub mod usage;
