//! A small provider built out of network namespaces and veth pairs: for `cargo xtask run`, for the
//! benchmarks, and for the tests that need real peers, real clients and real floods.
//!
//! Everything here needs root, and touches nothing outside of the namespaces that it makes and the
//! folder `/run/muralla-lab`.
//!
//! - [`topology`]: the three namespaces (internet, customers, edge), their addresses and routes;
//!   bringing them up, and taking them down even after a crash.
//! - [`namespace`]: one namespace: commands and threads inside of it.
//! - [`process`]: programs that the lab started, and how they are found and ended again.
//! - [`peers`]: Debian's unbound, freeradius and postfix in the edge namespace.
//! - [`resolvers`]: Debian's recursive resolvers, to compare with.
//! - [`freeradius`]: Debian's FreeRADIUS, to compare with, and [`postgres`]: a database of one's own.
//! - [`garage`]: an object store of several nodes.
//! - [`subscribers`]: subscribers in masses.
//! - [`postfix`] and [`dovecot`]: Debian's mail servers, to compare with, and [`corpus`]: mail in masses, made up.
//! - [`names`]: a name server that knows a few hosts.
//! - [`private_internet`]: a root, zones and servers of our own, on the lab's Internet.
//! - [`role`]: `muralla run` with whatever configuration, restarted and upgraded without losing what waits in its
//!   sockets.
//! - [`descriptor_store`]: what systemd keeps for a service while that restarts.
//! - [`clients`]: legitimate clients at a steady rate, with their success and latency.
//! - [`load`]: DNS queries, RADIUS requests, mail and visits to mailboxes in masses: as fast as a server answers, or at a rate.
//! - [`flood`]: attackers that send as fast as one core can.
//! - [`frames`]: packets built byte by byte, right or deliberately wrong.
//! - [`share`]: a part of a core, for what is to be a small machine.
//! - [`cpu`]: processor time and memory of what runs, and [`polling`]: on whose account packets are received.
//! - [`flushes`]: how often programs have the disk flushed.
//! - [`histogram`]: latencies in little memory.
//! - [`random`]: numbers that need not be secret.

pub mod clients;
pub mod corpus;
pub mod cpu;
pub mod descriptor_store;
pub mod dovecot;
pub mod flood;
pub mod flushes;
pub mod frames;
pub mod freeradius;
pub mod garage;
mod greeting;
pub mod histogram;
mod kernel;
pub mod load;
pub mod names;
pub mod namespace;
pub mod peers;
pub mod polling;
pub mod postfix;
pub mod postgres;
pub mod private_internet;
pub mod process;
pub mod random;
pub mod resolvers;
pub mod role;
pub mod share;
mod state;
pub mod subscribers;
pub mod topology;

pub use topology::{Family, Lab, LabOptions, Side};
