//! Mail in packs and rows: compressed, stored once, durable before it is acknowledged.
//!
//! What a message is made of lies in packs, which are files or objects that are only ever appended to; what names it, and what
//! is listed, lies in the database.
//!
//! - [`bodies`] puts messages and reads them, whole or in part: [`Bodies`], [`BodyRow`], [`BodyId`];
//! - [`packs`] makes frames durable: in a folder with one fsync for many, in a bucket with one PUT for many, or in memory;
//! - [`codec`] makes frames of a message and the same message of its frames; [`layout`] finds base64 in it, [`frame`] is what a
//!   pack can be read by without the database;
//! - [`dictionaries`] are what short messages are compressed with;
//! - [`collection`] removes what nobody needs, [`compaction`] gives its room back, [`check`] reads everything and tells what
//!   is wrong;
//! - [`store`] is the handle on mailboxes and bodies together: [`deliver`] makes messages durable and visible, many in one
//!   transaction; [`folders`] are accounts, folders and flags as data, and [`mailboxes`] lists, reads and changes what is in them;
//! - [`rejects`] is what was refused, and can be restored for a while;
//! - [`expiry`] removes what is old, [`moving`] brings a mailbox into another store while it is in use, [`counting`] counts again,
//!   [`census`] tells how much there is;
//! - [`transfer`] imports mail from Maildir, mbox and whatever else is a source, and exports it;
//! - [`schema`] has the tables.
//!
//! # What is durable when
//!
//! [`Bodies::put`] returns when the frames are durable, and before any row names them. The rows come in the caller's transaction,
//! together with what the caller says of the message. A crash between the two leaves an orphan, which costs room until its
//! pack is compacted; a crash never leaves a row without a frame.
//!
//! # When the database is put back to an earlier state
//!
//! Numbers of bodies, packs and messages follow the clock, so none is given twice. Packs that were emptied since are missed: as long as
//! they are, [`Bodies::maintain`] tidies nothing up, and [`Bodies::check`] finds what was in them where it lies now. What was delivered
//! since has no rows any more; its frames stay for [`BodyOptions::stray`].

#![forbid(unsafe_code)]

pub mod bodies;
pub mod census;
pub mod check;
pub mod codec;
pub mod collection;
pub mod compaction;
pub mod counting;
pub mod deliver;
pub mod dictionaries;
pub mod error;
pub mod expiry;
pub mod folders;
pub mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod layout;
pub mod mailboxes;
pub mod moving;
pub mod outcome;
pub mod packs;
pub mod rejects;
pub mod schema;
pub mod store;
pub mod transfer;

mod imported;
mod locked;
mod numbers;
mod pieces;

pub use bodies::{Bodies, BodyId, BodyOptions, BodyRow, BodyStatus};
pub use census::Census;
pub use check::{CheckProgress, CheckReport, Fault};
pub use collection::{Maintained, PackTotals};
pub use deliver::{Delivered, Delivery, Destination};
pub use error::BodyError;
pub use expiry::Expired;
pub use folders::{Account, Flags, Folder, FolderId, FolderPath, Message, Purpose, Usage};
pub use mailboxes::{Append, Listed};
pub use moving::Fence;
pub use outcome::StoreError;
pub use packs::{PackError, PackLocation, PackOptions, PackStore, Place, S3Location};
pub use schema::SCHEMA;
pub use store::{Store, StoreOptions, StoreStatus};
