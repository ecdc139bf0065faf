//! Sockets for services that answer datagrams.
//!
//! - [`datagrams`]: many in one system call each way, answered from the address that was asked
//! - [`bound`]: sockets as services want them

pub mod bound;
pub mod datagrams;
