//! Sockets for services that answer datagrams.
//!
//! - [`datagrams`]: many in one system call each way, answered from the address that was asked
//! - `bundles`: which answers leave as one message
//! - [`bound`]: sockets as services want them

pub mod bound;
mod bundles;
pub mod datagrams;
