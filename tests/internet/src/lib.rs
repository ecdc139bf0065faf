//! A private Internet: signed and unsigned zones, and servers that behave or do not.
//!
//! The core is pure: [`Internet::answer`] gives what a server would send, and when, for a query and a time. Tests run
//! it in virtual time; [`serve`] puts it on sockets for benchmarks and for other people's resolvers.
//!
//! - [`plan`]: zones and servers written as text, and how they become an Internet (delegations, glue and DS records
//!   are made, not written)
//! - [`zone`]: a zone's records and how it is signed
//! - [`misbehaviour`]: what a server can do wrong, each a word
//! - [`internet`]: all servers, and what they answer
//! - [`generate`](mod@generate): ten thousand zones out of a seed
//! - [`sockets`]: servers on real addresses
//! - [`name`]: names in canonical form and order
//! - `authority`: lookup in one zone, with proofs; `denial`: NSEC and NSEC3 chains; `keys`: keys and signatures;
//!   `message`: questions read and answers written

mod authority;
mod denial;
pub mod generate;
pub mod internet;
mod keys;
mod message;
pub mod misbehaviour;
pub mod name;
pub mod plan;
mod record;
pub mod sockets;
pub mod zone;

pub use generate::{Generated, generate};
pub use internet::{Internet, Protocol, Reply};
pub use name::DomainName;
pub use plan::{Plan, Server};
pub use sockets::{Serving, serve};
pub use zone::Zone;
