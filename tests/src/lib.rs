//! What the cross-process tests share; the tests are in `tests/`, a file for each promise and topic.
//!
//! - [`appliance`]: a lab with the real `muralla` running in its edge namespace
//! - [`command`]: one call of the command line, and how it ended
//! - [`stream`]: numbered datagrams, to see every single one that a change loses
//! - [`connection`]: TCP connections from an address of one's choice
//! - [`upstream`]: a resolver on the Internet, for a resolver of ours to forward to
//! - [`resolution`]: a customer's queries, one at a time
//! - [`dns_role`]: the real DNS role alone, without a wall
//! - [`radius_role`]: the real RADIUS role alone, without a wall, and [`nas`]: who asks it, and keeps books
//! - [`radclient`]: Debian's RADIUS client
//! - [`mail_role`]: the real mail roles alone, without a wall
//! - [`small_disk`]: a disk that is full when a test wants it to be
//! - [`agreement`]: many questions to two resolvers, and whether they answer the same
//! - [`hostility`]: packets and connections that mean no good
//! - [`patience`]: bounded waiting
//!
//! Everything needs root, and the binary that `cargo xtask build` puts beside the tests.

pub mod agreement;
pub mod appliance;
pub mod command;
pub mod connection;
pub mod dns_role;
pub mod hostility;
pub mod mail_role;
pub mod nas;
pub mod patience;
pub mod radclient;
pub mod radius_role;
pub mod resolution;
pub mod small_disk;
pub mod stream;
pub mod upstream;

pub use appliance::{Appliance, Settings};
pub use patience::until;
