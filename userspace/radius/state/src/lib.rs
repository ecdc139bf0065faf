//! The state of RADIUS: subscribers, profiles, NASes, pools, sessions and accounting in SQLite or PostgreSQL.
//!
//! Nobody waits for the database in the path of a packet: what answers a login is in memory, and follows the database; what
//! accounting brings is in the journal, and is written here in its own time. So the database may be away for as long as the
//! journal's disk lasts.
//!
//! - [`location`] says where the state lies, [`state`] is the handle on it, and how it is;
//! - [`entries`] are subscribers, profiles, NASes and pools as operators enter them, [`stored`] enters, lists and removes them;
//! - [`load`] brings everything into memory, [`follow`] what is changed after that, by whomever: triggers write a log of
//!   changes, which [`changes`] reads so that nothing is passed over;
//! - [`leases`] gives addresses out of blocks that each server reserves, [`book`] is such a block in memory, and says why
//!   nothing is given twice; [`addresses`] counts a pool's ranges through;
//! - [`export`] writes accounting, each record as often as one likes; [`sessions`] are what it comes to, and what other
//!   servers know; [`usage`] sums it up, and [`report`] makes files of it;
//! - [`import`] reads what FreeRADIUS had;
//! - [`engine`] is the two engines behind one face, [`dialect`] the words in which they differ, [`migrate`] their schema;
//!   [`backoff`] says how long to wait for an engine that is away.

#![forbid(unsafe_code)]

pub mod addresses;
pub mod backoff;
pub mod changes;
pub mod entries;
pub mod error;
pub mod export;
pub mod follow;
pub mod import;
pub mod leases;
pub mod load;
pub mod location;
pub mod report;
pub mod sessions;
pub mod state;
pub mod stored;
pub mod usage;

mod book;
mod convert;
mod dialect;
mod engine;
mod migrate;

pub use addresses::Assigned;
pub use backoff::Backoff;
pub use changes::Position;
pub use entries::{Hidden, NasEntry, PoolEntry, ProfileEntry, SubscriberEntry};
pub use error::{DatabaseError, StateError};
pub use export::{Exported, Poison};
pub use follow::Changed;
pub use import::{Import, Imported, Refused, Table, Tables};
pub use leases::{Holder, LeaseEntry, Leases, PoolStatus, PoolUse};
pub use load::Loaded;
pub use location::Location;
pub use report::{Format, Report};
pub use sessions::{Elsewhere, SessionEntry, SessionFilter, SessionState, port_of};
pub use state::{Following, Options, Progress, State, Status};
pub use usage::{SumBy, UsageFilter, UsageSum};
