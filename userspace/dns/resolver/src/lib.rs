//! Recursive resolution: iteration, validation and forwarding within budgets.
//!
//! - [`engine`]: what the DNS role asks of whoever resolves names for it
//! - [`transport`]: the only way to a network
//! - [`trace`]: what was asked of whom

pub mod engine;
pub mod trace;
pub mod transport;
