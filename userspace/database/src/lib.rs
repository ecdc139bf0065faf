//! The two engines that state lies in, behind one small face: SQLite for one box, PostgreSQL for several.
//!
//! - [`location`] says where a database is;
//! - [`engine`] has its connections, transactions, rows and values, every statement written once for both, and [`dialect`] the
//!   words in which they differ;
//! - [`migrate`] makes a schema and brings it up to date;
//! - [`changes`] reads a log of changes so that nothing is passed over, and [`ears`] waits until there may be something in it;
//! - [`error`] tells what may pass by itself from what will not, and [`backoff`] how long to wait for it.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod changes;
pub mod dialect;
pub mod ears;
pub mod engine;
pub mod error;
pub mod location;
pub mod migrate;
mod precedence;

pub use backoff::Backoff;
pub use changes::{Change, ChangeLog, LastChange, News, Position};
pub use ears::{Ears, Woken};
pub use engine::{Engine, Flavour, Row, Value, Work};
pub use error::{DatabaseError, Said};
pub use location::{Location, LocationError};
pub use migrate::{Schema, Step, check, migrate};
