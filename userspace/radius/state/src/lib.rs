//! The state of RADIUS: subscribers, profiles, NASes, pools, sessions and accounting in SQLite or PostgreSQL.
//!
//! Nobody waits for the database in the path of a packet: what answers a login is in memory, and follows the database; what
//! accounting brings is in the journal, and is written here in its own time. So the database may be away for as long as the
//! journal's disk lasts.
//!
//! - [`state`] is the handle on the state, and says how it is;
//! - [`entries`] are subscribers, profiles, NASes and pools as operators enter them, [`stored`] enters, lists and removes them;
//! - [`load`] brings everything into memory, [`follow`] what is changed after that, by whomever: triggers write a log of
//!   changes, which is read so that nothing is passed over;
//! - [`leases`] gives addresses out of blocks that each server reserves, [`book`] is such a block in memory, and says why
//!   nothing is given twice; [`addresses`] counts a pool's ranges through;
//! - [`export`] writes accounting, each record as often as one likes; [`sessions`] are what it comes to, [`elsewhere`]
//!   those that other servers were told of, and [`line`] tells which of them a login ends; [`credits`] takes it off what is left to whom; [`usage`] sums it up, and [`report`] makes files of it;
//! - [`import`] reads what FreeRADIUS had.
//!
//! The two engines, and where they lie, are those of [`muralla_database`].

#![forbid(unsafe_code)]

pub mod addresses;
pub mod credits;
pub mod elsewhere;
pub mod entries;
pub mod error;
pub mod export;
pub mod follow;
pub mod import;
pub mod leases;
pub mod line;
pub mod load;
pub mod report;
pub mod sessions;
pub mod state;
pub mod stored;
pub mod usage;

mod book;
mod changes;
mod convert;
mod image;
mod interims;
mod migrate;
mod rest;

pub use addresses::Assigned;
pub use credits::{Charged, Credits};
pub use elsewhere::{Elsewhere, OpenElsewhere};
pub use entries::{NasEntry, PoolEntry, ProfileEntry, SubscriberEntry};
pub use error::StateError;
pub use export::{Exported, Poison};
pub use follow::Changed;
pub use import::{Change, Import, Imported, Online, Refused, Table, Tables, Tally};
pub use leases::{Heard, Holder, LeaseEntry, Leases, PoolStatus, PoolUse, ServerEntry};
pub use line::{Line, Spot, Spots};
pub use load::Loaded;
pub use muralla_credentials::Hidden;
pub use muralla_database::{Backoff, DatabaseError, Location, Position};
pub use report::{Format, Report};
pub use rest::Rest;
pub use sessions::{SessionEntry, SessionFilter, SessionState};
pub use state::{Following, Options, Progress, State, Status};
pub use stored::{Naming, Removal};
pub use usage::{SumBy, UsageFilter, UsageSum};
