//! An Inbox that is read by POP3: RFC 1939, with `CAPA` (RFC 2449), `STLS` (RFC 2595) and SASL's PLAIN (RFC 5034).
//!
//! - [`replies`] is what a server says; [`session`] is greeted, encrypted and logged in;
//! - [`Pop3Source`] lists and fetches.

pub(crate) mod replies;
pub(crate) mod session;

mod source;

pub use source::Pop3Source;
