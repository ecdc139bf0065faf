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
    /// It is refused, in these words: they say why, and what to do.
    Refuse(Reply),
    /// It is taken.
    Take {
        /// Header fields that are written above it, each ended by CRLF; may be empty.
        head: String,
        /// Where it goes for each recipient, in their order. Those that are missing get it in their Inbox.
        placements: Vec<Placement>,
    },
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
