//! RADIUS on the wire: packets parsed with limits, verified, answered and remembered without allocating.
//!
//! What comes from a NAS goes through these rooms in order:
//! - [`packet`] makes a [`Packet`] of a datagram, or says what is wrong with it;
//! - [`verify`] finds the [`Secret`] that it was made with, and insists on Message-Authenticator;
//! - [`reply_cache`] knows the requests of the last seconds, and what was answered to each;
//! - [`hidden`] reveals passwords and keys that the secret hides;
//! - [`method`] compares what a user offered (PAP, CHAP, MS-CHAP) with what is stored about them;
//! - [`writer`] writes the reply, or a request, and signs it.
//!
//! Numbers live in [`code`], [`kind`] and [`vendor`]; [`extended`] reads the attributes of RFC 6929.
//! Nothing here reads a clock or makes a random number: both are arguments.

#![forbid(unsafe_code)]

pub mod code;
pub mod extended;
pub mod hidden;
pub mod kind;
pub mod method;
pub mod packet;
pub mod reply_cache;
pub mod secret;
pub mod vendor;
pub mod verify;
pub mod writer;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

#[cfg(test)]
mod samples;

pub use code::Code;
pub use packet::{
    Attribute, Attributes, HEADER, LONGEST, MOST_ATTRIBUTES, Malformed, Packet, VendorAttribute,
};
pub use reply_cache::{Identity, ReplyCache, Seen};
pub use secret::{EmptySecret, Secret};
pub use verify::{
    Requirement, Unverified, proves_secret, verify_reply, verify_request, verify_request_from,
};
pub use writer::{Target, TooLong, Writer};
