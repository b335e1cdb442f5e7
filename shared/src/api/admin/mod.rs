//! What super admins see and do.

pub mod container;
