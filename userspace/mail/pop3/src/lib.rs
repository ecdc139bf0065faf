//! POP3: a server that knows no mailboxes, only what is asked of one.
//!
//! RFC 1939 with `TOP` and `UIDL`, `CAPA` and response codes (RFC 2449), `STLS` (RFC 2595) and a port of its own for TLS
//! (RFC 8314), SASL (RFC 5034), codes for what failed at a login (RFC 3206), UTF-8 (RFC 6856).
//!
//! A maildrop is not locked. RFC 1939 wants that so that numbers don't change under a client; here they can't, because each
//! session has a [`Listing`] of its own, taken at its login. Two may read the same box at once; what both delete is deleted
//! once.
//!
//! - [`command`] reads a line of a client;
//! - [`listing`] is what a maildrop holds, sixteen octets a message;
//! - [`session`] is the dialog, without I/O: octets in, replies and wishes out;
//! - [`transfer`] is a message on its way to a client: dots doubled, cut for `TOP`;
//! - [`handler`] is what the server asks for: logins and maildrops;
//! - [`config`] is what an operator may say about the server;
//! - [`server`] runs sessions on connections, with TLS, time limits and a bound on memory;
//! - [`sources`] counts connections by where they come from.

#![forbid(unsafe_code)]

pub mod command;
pub mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod handler;
pub mod listing;
pub mod server;
pub mod session;
pub mod sources;
pub mod transfer;

pub use config::{Config, Mode};
pub use handler::{
    Body, Client, Handler, Maildrop, MaildropError, Proved, Refused, ScramParameters, Whole,
};
pub use listing::{Listing, ListingError};
pub use server::{Server, Status};
pub use session::{Changes, End, Facts, Session, Settings, Step};
