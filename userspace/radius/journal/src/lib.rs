//! A journal on disk: what it acknowledged is there, whatever dies next.
//!
//! Threads append records, which costs them a lock and a copy; one thread of the journal's own writes what they appended
//! and makes it durable in batches (group commit); then a watermark rises, and the eventfds of those who wait are
//! written. Readers follow, and consumers among them keep a position on disk, behind which segments are deleted.
//!
//! - [`journal`] opens a journal and tells how it is: [`Journal`], [`Options`], [`Status`];
//! - [`appender`] takes records in: [`Appender`], [`Ticket`];
//! - [`reader`] gives them back in order: [`Reader`], [`Entry`];
//! - [`consumer`] reads with a position that outlives the process: [`Consumer`];
//! - [`dead_letters`] keeps what a consumer can't take: [`DeadLetters`];
//! - [`recovery`] makes sense of what a crash left: [`Recovered`], [`Damage`];
//! - [`disk`] is what all this asks of a file system, so that a simulated one can crash at every step.
//!
//! # On the disk
//!
//! A folder holds segments, named by their ordinal. A segment is a header and records, and after them nothing or zeros. A
//! record is a mark, a CRC-32C, its length, sequence number and time, and the payload. All numbers are big-endian. The
//! checksum begins with a number drawn when the folder was made (the file `identity`, and every header), so that nobody
//! who sends us a payload can hide a record in it.
//!
//! - Sequence numbers rise within the folder and are never given twice to anything that was read.
//! - A segment's records end where the next segment's header says that its own begin. What a failed write left behind is
//!   so outdated by the segment that its records were written to anew.
//! - Only the segment that is written to has anything to lose. A life of the journal never writes to a segment of an
//!   earlier one.

#![forbid(unsafe_code)]

pub mod appender;
pub mod consumer;
pub mod dead_letters;
pub mod disk;
pub mod journal;
pub mod reader;
pub mod recovery;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;

mod error;
mod folder;
mod octets;
mod queue;
mod record;
mod scan;
mod segment;
mod store;
mod wakeup;
mod writer;

#[cfg(test)]
mod crashes;

pub use appender::{AppendError, Appender, Ticket};
pub use consumer::Consumer;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use error::JournalError;
pub use journal::{ConsumerStatus, Health, Journal, Options, Status};
pub use reader::{Entry, Reader};
pub use record::MOST_PAYLOAD;
pub use recovery::{Damage, Recovered};
pub use wakeup::Wakeup;
