//! Domains, accounts, aliases and where mail goes: in a database, and in memory.
//!
//! Every role asks the [`Directory`] for each recipient and each login, and gets its answer from memory: from an index that
//! follows the database within a second, loaded from it at the start, or from a copy on the local disk while the database is
//! away. Operators, and users through the web, change rows through the [`Registry`].
//!
//! - [`name`] is the one form in which accounts and aliases are looked up, [`entries`] what is entered: domains, accounts,
//!   aliases, app passwords, back-ends, shards, contacts, keys of DKIM, limits for sending;
//! - [`registry`] writes them, each change checked before and whole after, and [`import`] reads what other systems have: CSV,
//!   Postfix' maps, Dovecot's passwd-file, and address books as vCard;
//! - [`directory`] is the role's side: [`resolve`] follows aliases and forwards to mailboxes, other addresses and back-ends,
//!   [`login`] compares passwords without telling by time who exists, [`check`] finds what leads nowhere;
//! - [`scram`] has the keys of SCRAM-SHA-256 (RFC 5802);
//! - below, `record` packs an account into two hundred bytes, `index` finds it, `load` and `follow` keep it as the database
//!   has it, `copy` keeps it through an outage, `recent` remembers outcomes of password checks.

#![forbid(unsafe_code)]

pub mod check;
mod copy;
pub mod directory;
pub mod entries;
pub mod error;
mod follow;
pub mod import;
mod index;
mod load;
pub mod login;
pub mod name;
mod options;
mod recent;
mod record;
pub mod registry;
pub mod resolve;
mod schema;
pub mod scram;

pub use muralla_credentials::{Hidden, Storage};
pub use muralla_database::Location;

pub use directory::{Directory, Status};
pub use entries::{
    AccountEntry, AccountId, AliasEntry, AppPasswordEntry, Backend, BackendEntry, BackendId,
    ContactEntry, ContactSource, DkimAlgorithm, DkimKeyEntry, DomainEntry, Protocol, Protocols,
    SendingLimits, ShardEntry, ShardId, SubscriberState,
};
pub use error::DirectoryError;
pub use import::{Import, Imported, Refused};
pub use login::{Accepted, LoginAttempt, LoginCounts, LoginRefusal, ScramChallenge};
pub use name::Name;
pub use options::{BlockedSubscribers, Options};
pub use registry::{AppPassword, MoveBegun, MoveEntry, MoveLease, Progress, Registry, Sent};
pub use resolve::{AccountView, Resolution, Target};
pub use scram::ScramKeys;
