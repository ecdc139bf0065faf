//! Who a message comes from: what its connection, its envelope and its signatures tell.
//!
//! - [`names`] is who answers questions about names: [`Names`] is all of the network that this crate sees;
//! - [`authentication`] asks and verifies: [`authenticate`] gives an [`Authentication`], within [`Limits`];
//! - [`spf`], [`dkim`], [`arc`] and [`dmarc`] are its mechanisms, [`outcome`] the words in which each of them ends;
//! - [`results`] writes `Authentication-Results`, and finds those that somebody else wrote in our name;
//! - [`connection`] judges where a client is and how it behaves, [`envelope`] what it says before the message;
//! - [`reputation`] remembers what came from whom, for a while, in a space that does not grow;
//! - [`finding`] gives a name, a weight and a sentence to all that is found: [`Finding`].
//!
//! Inside, `header` splits header fields, `signed` has what DKIM and ARC share, and `contain` stops panics.
//!
//! # What is ours and what is not
//!
//! mail-auth parses signatures, keys and DMARC records, brings headers and bodies into the form that is signed, and does the
//! arithmetic. The questions to the DNS, and what follows from the answers, are ours: mail-auth asks through a resolver of its
//! own whose caches can't say of an address that there is none, or that nobody knows, so that `exists` in an SPF record would
//! match what is not there; it reads the clock; and it is no SPF checker by RFC 7208 where a record has errors, as any of several
//! records or a prefix of any length is fine with it. So SPF is ours altogether.
//!
//! Time and randomness are arguments, but for the deadline of questions, which is measured by tokio's clock.

#![forbid(unsafe_code)]

pub mod arc;
pub mod authentication;
pub mod connection;
pub mod dkim;
pub mod dmarc;
pub mod envelope;
pub mod finding;
pub mod limits;
pub mod names;
pub mod outcome;
pub mod reputation;
pub mod results;
pub mod spf;

mod contain;
mod header;
mod signed;

#[cfg(test)]
mod testing;

pub use authentication::{Arrival, Authentication, authenticate};
pub use connection::{BlockLists, Conduct, Connection};
pub use finding::{Finding, Sign};
pub use limits::Limits;
pub use names::{Answer, Exchange, Names};
pub use outcome::Outcome;
pub use reputation::{Key, Reputation};
