//! Takes records in.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::SystemTime;

use crate::journal::Shared;
use crate::record;
use crate::wakeup::Slot;

/// Appends records for one thread, and tells it when they are durable.
///
/// Its eventfd (see [`AsFd`]) becomes readable when records appended through it became durable. Poll it;
/// [`drain`](Self::drain) it; then compare tickets with [`durable`](Self::durable). Clones share the eventfd: a thread
/// that polls has an appender of its own from [`Journal::appender`](crate::Journal::appender).
#[derive(Clone)]
pub struct Appender {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
}

/// The sequence number of what was appended. It is durable, and may be acknowledged, once [`Appender::durable`] is not
/// below it. Numbers become durable in order, and each in the end, unless the process ends before.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// Why a record wasn't taken in. It is as if it had never been there: acknowledge nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AppendError {
    /// The disk doesn't keep up, and the queue is full.
    #[error("the journal's queue is full: the disk doesn't keep up")]
    Busy,
    /// The disk is full. It is tried again until there is room.
    #[error("the journal's disk is full: make room, or have its consumers catch up")]
    Full,
    /// Writing fails. It is tried again, to other places of the disk, until it succeeds.
    #[error("the journal can't be written: look at the disk")]
    Failed,
    /// The payload is longer than [`MOST_PAYLOAD`](crate::MOST_PAYLOAD).
    #[error("the record is too long for the journal")]
    TooLong,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>, slot: Arc<Slot>) -> Self {
        Self { shared, slot }
    }

    /// Takes in a record, with the time of now. It copies the payload once, and never waits for the disk.
    ///
    /// # Errors
    /// When the record wasn't taken in.
    pub fn append(&self, payload: &[u8]) -> Result<Ticket, AppendError> {
        self.append_parts(&[payload])
    }

    /// As [`append`](Self::append), for a payload in several pieces.
    ///
    /// # Errors
    /// When the record wasn't taken in.
    pub fn append_parts(&self, parts: &[&[u8]]) -> Result<Ticket, AppendError> {
        self.append_at(parts, SystemTime::now())
    }

    /// As [`append_parts`](Self::append_parts), with a time that the caller knows already.
    ///
    /// # Errors
    /// When the record wasn't taken in.
    pub fn append_at(&self, parts: &[&[u8]], time: SystemTime) -> Result<Ticket, AppendError> {
        self.shared.queue.append(&self.slot, parts, record::nanoseconds(time)).map(Ticket)
    }

    /// The watermark: all tickets up to it are durable.
    pub fn durable(&self) -> u64 {
        self.shared.store.durable()
    }

    /// Whether a ticket's record is durable.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.durable()
    }

    /// Makes the eventfd unreadable until more became durable. To be called before [`durable`](Self::durable).
    pub fn drain(&self) {
        self.slot.drain();
    }
}

impl AsFd for Appender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.slot.as_fd()
    }
}
