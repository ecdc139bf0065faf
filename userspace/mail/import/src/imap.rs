//! A mailbox that is read by IMAP: RFC 3501, with special folders (RFC 6154), namespaces (RFC 2342) and SASL's PLAIN (RFC 4959).
//!
//! - [`frames`] finds where an answer ends, with its literals; [`answers`] is what answers say, as far as it matters here;
//! - [`exchange`] is one command with what is said until it is done, and [`client`] says and hears them;
//! - [`folders`] are the server's, and where they belong here;
//! - [`ImapSource`] lists and fetches.

pub(crate) mod answers;
pub(crate) mod client;
pub(crate) mod exchange;
pub(crate) mod folders;
pub(crate) mod frames;

mod source;

pub(crate) use source::now;

pub use source::ImapSource;
