//! Where the filter stands: between a message that came and the 250 that it gets.

use std::net::IpAddr;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use muralla_mail_envelope::{Envelope, Reply};
use muralla_smtp::server::Report;

/// A message that is judged while its sender waits.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its envelope, with all recipients that were accepted.
    pub envelope: &'a Envelope,
    /// All of it, lines ended by CRLF, without what we write above it.
    pub message: &'a Bytes,
    /// What its sender did so far.
    pub report: &'a Report,
}

/// What becomes of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Judgement {
    /// It is refused, for all of its recipients or for some.
    Refuse(Refusal),
    /// It is taken.
    Take {
        /// Header fields that are written above it, each ended by CRLF; may be empty.
        head: String,
        /// Where it goes for each recipient, in their order. Those that are missing get it in their Inbox.
        placements: Vec<Placement>,
    },
}

/// For whom a message is refused, and why.
///
/// A sender has one answer for all recipients. If nobody takes the message, that is the refusal. If some do, it is 250: the others have
/// a copy with the reason in Rejects instead, or what comes next to it, and nobody is sent a notice of a failure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What is said of it: why, and what to do.
    pub reply: Reply,
    /// Whether those for whom it is refused may see it. What is dangerous is kept from them; what is refused for a while comes again.
    pub keep: bool,
    /// Header fields that are written above it, each ended by CRLF; may be empty.
    pub head: String,
    /// Where it goes for each recipient, in their order; none for those for whom it is refused. Those that are missing are among these.
    pub placements: Vec<Option<Placement>>,
}

/// Where a message goes for a recipient.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Placement {
    /// Into Inbox.
    #[default]
    Inbox,
    /// Into Spam.
    Spam,
    /// Into the queue, until an operator has looked at it.
    Hold,
}

impl Refusal {
    /// For all, of whom nobody sees it.
    #[must_use]
    pub const fn of_all(reply: Reply) -> Self {
        Self { reply, keep: false, head: String::new(), placements: Vec::new() }
    }
}

/// Who judges.
pub trait Perimeter: Send + Sync + 'static {
    /// Judges a message. Whoever takes too long has no say: the message is delivered, and can be looked at again.
    fn judge<'a>(&'a self, arrival: Arrival<'a>) -> BoxFuture<'a, Judgement>;

    /// Whether anybody from there is let in at all; otherwise the words that he hears.
    fn welcome(&self, source: IpAddr) -> Option<Reply> {
        let _ = source;
        None
    }
}

/// Lets everything in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Perimeter for Open {
    fn judge<'a>(&'a self, _: Arrival<'a>) -> BoxFuture<'a, Judgement> {
        async { Judgement::Take { head: String::new(), placements: Vec::new() } }.boxed()
    }
}
