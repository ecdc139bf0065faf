//! Addresses, envelopes and what is written into headers: parsed with limits, rewritten, reported.
//!
//! Pure: no I/O, no clock, no randomness of its own. What the roles of the mail service say to each other about a message is
//! in these types, and whatever comes from a network becomes one of them or is refused.
//!
//! - [`domain`] and [`address`] are names as the wire has them: A-labels, local parts without needless quotes;
//! - [`path`] reads the angle brackets of `MAIL FROM` and `RCPT TO`, with what old clients still put there;
//! - [`parameters`] are the ESMTP parameters of the two, both ways, and [`xtext`] what their values are written in;
//! - [`reply`] is what a server said: code, enhanced code, text;
//! - [`id`] is the name of a message in logs, headers and traces, [`envelope`] everything known of it but its content; it has
//!   a form for spool and queue which later versions read;
//! - [`keys`] are the secrets of [`srs`], which makes senders of forwarded mail ours, and of [`prvs`], which signs our own
//!   so that forged bounces are known;
//! - [`headers`] is what we write above a message, [`scan`] what we read there without a MIME parser: fields by name, hops,
//!   loops;
//! - [`dots`] is transparency: the dot that is doubled at the start of a line;
//! - [`sasl`] is how a client proves who brought it, in SMTP and in POP3;
//! - [`date`] writes days as RFC 5322 does;
//! - [`dsn`] builds the message that tells a sender what became of his, [`language`] the words it has for people.

#![forbid(unsafe_code)]

pub mod address;
pub mod date;
pub mod domain;
pub mod dots;
pub mod dsn;
pub mod envelope;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod headers;
pub mod id;
pub mod keys;
pub mod language;
pub mod parameters;
pub mod path;
pub mod prvs;
pub mod reply;
pub mod sasl;
pub mod scan;
pub mod srs;
pub mod xtext;

pub use address::{Address, AddressDomain, AddressError, LocalPart};
pub use domain::{Domain, DomainError};
pub use envelope::{Client, Envelope, EnvelopeError, Protocol, Recipient, TlsFacts};
pub use id::{MessageId, MessageIdError};
pub use keys::{Key, Keys, KeysError};
pub use parameters::{
    Body, MailParameters, Notify, OriginalRecipient, ParameterError, RcptParameters, Ret,
};
pub use path::{ForwardPath, PathError, ReversePath};
pub use reply::{EnhancedCode, Reply};
