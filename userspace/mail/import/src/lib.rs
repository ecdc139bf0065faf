//! Mailboxes of other servers, to be imported: by IMAP (RFC 3501) with all folders, or by POP3 (RFC 1939). Nothing is changed there:
//! folders are opened for reading alone, no message is marked, and none is deleted.
//!
//! - [`location`] says where a mailbox is: `imaps://ann@mail.example.net/`;
//! - [`options`] says who logs in, whom he believes, and how long he waits;
//! - [`imap`] and [`pop3`] are sources for [`Store::import`](muralla_mail_store::Store::import);
//! - [`names`] are the ids that POP3 gave to messages, so that nobody who fetched them there fetches them again here;
//! - [`error`] says why it does not go on.
//!
//! What comes from a server is read within limits: of the length of a line, of a message, of what was not asked for, and of time.

#![forbid(unsafe_code)]

pub mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod imap;
pub mod location;
pub mod names;
pub mod options;
pub mod pop3;

mod received;
mod talk;

use muralla_mail_store::transfer::Source;

pub use error::RemoteError;
pub use imap::ImapSource;
pub use location::{LocationError, Protocol, ServerLocation};
pub use names::NameFormat;
pub use options::{Choice, Login, Options, Waits, no_roots};
pub use pop3::Pop3Source;

/// The source at a location.
#[must_use]
pub fn source(location: ServerLocation, options: Options) -> Box<dyn Source> {
    match location.protocol {
        Protocol::Imap => Box::new(ImapSource::new(location, options)),
        Protocol::Pop3 => Box::new(Pop3Source::new(location, options)),
    }
}
