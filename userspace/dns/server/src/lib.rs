//! The DNS role: sockets, caches, and answers from the best place that has them.
//!
//! A query comes in through `udp`, a thread that owns its sockets, or `tcp`; both take it to the `desk`. What the wire
//! cache or local data knows is answered at once. For the rest a flight departs (`flights`): the engine is asked, the
//! answer is encoded (`encode`), remembered and given to all who wait. The `feeder` hands what is hot on to the network
//! card, which answers it before it gets here.
//!
//! - [`role`]: the role as one thing, which the binary holds
//! - [`config`]: what the operator may write about it
//! - [`report`]: what it tells about itself
//! - [`hot`]: the network card's cache, as this role sees it
//! - [`log`]: a sample of the queries
//! - `sockets`: made, or inherited from the process before
//! - `clients`: who may ask
//! - `tally`: counting, cheap enough for each query
//! - `kept`: what outlives the process
//! - `canary`: the proof that it answers

pub mod config;
pub mod hot;
pub mod log;
pub mod report;
pub mod role;

mod canary;
mod clients;
mod desk;
mod encode;
mod feeder;
mod flights;
mod kept;
mod sockets;
mod tally;
mod tcp;
mod udp;
