//! RADIUS accounting (RFC 2866): what a NAS reports, the sessions open now, and usage that is never
//! counted twice.
//!
//! Nothing here touches a socket, a disk or a clock: time and randomness are arguments. A record
//! goes through these rooms in order:
//! - [`record`] makes a [`Record`] of a packet, or says why none can be made of it;
//! - [`payload`] is the record as it lies in the journal, readable by later versions;
//! - [`id`] names the session that it belongs to, the same on every server and after every restart;
//! - [`table`] holds the sessions, and says what the record did to one: [`Effect`];
//! - [`usage`] spreads what it added over days, and sums it by user, NAS and telco;
//! - [`export`] makes the row that a database, a CSV file or a Parquet file gets.
//!
//! Beside them, [`snapshot`] carries the table across a restart, [`view`] is a session as others
//! see it, and [`doubts`] is what was not quite right about a record that counts nevertheless.
//!
//! # What may arrive, and what becomes of it
//!
//! A NAS sends until it hears an answer, through a network that reorders and loses, to two servers
//! of which one was down a moment ago. So the state of a session is a function of the *set* of its
//! records: apply them in any order, each as often as you like, and its totals are the same.
//! Counters only grow, and what the table hands on to the sums is the growth.
//!
//! Where records contradict each other, the rule is the one that can't bill twice: see
//! [`table::Table::apply`].

#![forbid(unsafe_code)]

pub mod doubts;
pub mod export;
pub mod id;
pub mod payload;
pub mod record;
pub mod snapshot;
pub mod table;
pub mod usage;
pub mod view;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

mod choice;
mod fields;
mod session;
mod standing;
mod text;
mod trail;

#[cfg(test)]
mod samples;

pub use doubts::Doubts;
pub use export::ExportRow;
pub use id::{BadSessionId, SessionId};
pub use payload::Damaged;
pub use record::{
    BadNasName, Event, NasName, Octets, OwnedRecord, Prefix6, Record, Status, Unusable, Uptime,
};
pub use snapshot::{Restored, Saved, SnapshotError};
pub use table::{Effect, Moment, Outcome, Settings, Standing, Stats, Table};
pub use usage::{Day, DayShare, Gain, Kind, Sum, Usage, Who};
pub use view::{SessionView, State};
