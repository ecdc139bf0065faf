//! DNS on the wire: queries parsed with limits, answers from a cache without allocating.
//!
//! What comes from a client goes through these rooms in order:
//! - [`query`] makes a [`Query`] of a packet, or says what a malformed one deserves;
//! - [`key`] makes of it the [`Key`] that the cache knows answers by;
//! - [`cache`] finds the answer, shared by all threads, bounded in bytes, saved across restarts;
//! - [`answer`] holds one answer as a template, and renders it for one query;
//! - [`cookie`] makes and checks server cookies (RFC 9018);
//! - [`name`] holds domain names in wire form, for all the others.

#![forbid(unsafe_code)]

pub mod answer;
pub mod cache;
pub mod cookie;
pub mod key;
pub mod name;
pub mod query;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

mod octets;

#[cfg(test)]
mod samples;

pub use answer::{Answer, BuildError, Facts, Freshness, Kind, Limits};
pub use cache::{Cache, Found};
pub use cookie::Secrets;
pub use key::Key;
pub use name::Name;
pub use query::{Edns, Malformed, Query};
