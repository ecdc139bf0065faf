//! The milter protocol, versions 2 to 6, as Sendmail and Postfix speak it: the filter's side.
//!
//! A mail system connects, both say what they can ([`negotiation`]), and then it tells what its client says while he says it:
//! [`command`]s in [`packet`]s. Nothing is answered until the message is there, so that nobody waits for us before; then it is
//! judged, and [`response`]s say what is changed and what becomes of it. [`Session`] is all of that without a network, and
//! [`Server`] runs sessions on connections.
//!
//! # Postfix
//!
//! In `main.cf`, where `127.0.0.1:8025` is what the filter listens on:
//!
//! ```text
//! smtpd_milters = inet:127.0.0.1:8025
//! milter_default_action = tempfail
//! milter_content_timeout = 90s
//! ```
//!
//! `tempfail` means that mail waits at its sender while the filter is down; `accept` would let it in unseen. The content timeout has
//! to be longer than the filter's own patience. Held messages are in Postfix's hold queue (`postqueue -p` shows them with a
//! `!`), from where `postsuper -H` releases and `postsuper -d` deletes them. Mail that local programs submit is looked at with
//! `non_smtpd_milters`, if it should be. Over a socket in the file system, `unix:/run/muralla/milter.sock`: `smtpd` runs in a
//! chroot on many systems, and the path is then below `/var/spool/postfix`.
//!
//! # Sendmail
//!
//! In `sendmail.mc`, where `F=T` stands for the same as `tempfail`:
//!
//! ```text
//! INPUT_MAIL_FILTER(`muralla', `S=inet:8025@127.0.0.1, F=T, T=S:60s;R:60s;E:3m')
//! ```
//!
//! Held messages stay in its queue as quarantined; `mailq -qQ` shows them.

pub mod command;
pub mod negotiation;
pub mod packet;
pub mod response;

mod draft;
mod server;
mod session;

pub use server::Server;
pub use session::{Session, Step};

/// Bytes that are not the protocol. Whoever sends them is hung up on: what comes next could be anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MilterError {
    /// A packet without even its command.
    #[error("a packet has one octet at least")]
    Empty,
    /// A packet that is too long.
    #[error("a packet says that it has {0} octets, which is more than any may have")]
    TooLong(u32),
    /// A command that nobody knows.
    #[error("{:?} is no command of the milter protocol", char::from(*.0))]
    Unknown(u8),
    /// A command whose data can't be read.
    #[error("the data of command {:?} can't be read", char::from(*.0))]
    Malformed(u8),
    /// A version before the first that anybody still speaks.
    #[error("version {0} of the milter protocol is not spoken here: 2 is the oldest")]
    Version(u32),
    /// A mail system that lets nobody write or remove header fields.
    #[error("the mail system does not let a milter add and change header fields")]
    Powerless,
    /// A command where it can't be.
    #[error("command {:?} came where it has no place", char::from(*.0))]
    Order(u8),
}
