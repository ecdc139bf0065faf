//! DNSSEC validation as pure functions: signatures, chains and denials, within a budget.
//!
//! Nothing here reads a clock, a socket or a file. The time is an argument (seconds since 1970 as in an RRSIG,
//! compared as serial numbers, RFC 4034 section 3.1.5), and so is the [`Work`] that one question may cost.
//!
//! - [`trust`] and [`trust_anchor_keys`] prove a zone's keys from its DS records or from configured keys;
//!   [`supported`] says beforehand whether that is possible, or the zone counts as insecure.
//! - [`verify`] checks one RRset against a zone's keys.
//! - [`no_name`], [`no_data`], [`no_closer`] and [`no_ds`] judge what NSEC and NSEC3 records, verified before, prove
//!   to be absent.
//! - [`anchors`] holds the root's trust anchors, and reads files of them.
//! - [`Failure`] says why something is bogus, for people and as an extended error (RFC 8914).

pub mod anchors;
mod canonical;
mod chain;
mod denial;
mod failure;
mod name;
mod signature;
#[cfg(test)]
mod signer;
mod work;

pub use chain::{Keys, supported, trust, trust_anchor_keys};
pub use denial::{Delegation, Denied, no_closer, no_data, no_ds, no_name};
pub use failure::{Claim, Failure};
pub use signature::{Verified, verify};
pub use work::Work;
