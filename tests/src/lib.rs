//! What the cross-process tests share; the tests are in `tests/`, a file for each promise and topic.
//!
//! - [`appliance`]: a lab with the real `muralla` running in its edge namespace
//! - [`command`]: one call of the command line, and how it ended
//! - [`stream`]: numbered datagrams, to see every single one that a change loses
//! - [`connection`]: TCP connections from an address of one's choice
//! - [`patience`]: bounded waiting
//!
//! Everything needs root, and the binary that `cargo xtask build` puts beside the tests.

pub mod appliance;
pub mod command;
pub mod connection;
pub mod patience;
pub mod stream;

pub use appliance::{Appliance, Settings};
pub use patience::until;
