//! Mail that is on its way out: kept until each recipient has it or its sender knows that he hasn't.
//!
//! The queue lies in the same database as the store, and its bodies are the store's, so that a message, its recipients and its
//! body come and go in one transaction. Several servers share one queue.
//!
//! - [`queue`] is the handle: [`Queue::submit`] makes a message durable, many in one transaction, and [`Queue::report`] says
//!   what became of what was tried;
//! - [`take`] hands out what is due, by leases that end by themselves, with a number that tells a late owner from the present
//!   one; [`owners`] says whose they are, and gives back what the dead had;
//! - [`schedule`] says when something is tried again, when that ends, and when a sender is told that it takes long;
//! - [`destination`] says how much is tried with one destination at once, and how long a dead one is left alone;
//! - [`notices`] says which senders are told of what, and never of what could loop or be forged;
//! - [`upkeep`] ends what has expired, and forgets what is old;
//! - [`operators`] list, hold, release, retry, return and drop;
//! - [`events`] is each message's life, for traces;
//! - [`schema`] has the tables, [`error`] what can go wrong.
//!
//! # What is durable when
//!
//! A submitted message is durable when [`Queue::submit`] returns. A recipient's row goes in the transaction that says how it
//! ended; if his sender is owed a notice, the row stays until the transaction that brings the notice. A crash anywhere repeats at
//! most what a server was told and we had not written down: mail may come twice, and is never lost.
//!
//! # Clocks
//!
//! Every function takes the time, in seconds since 1970. Servers that share a queue should agree within a minute or so: if they
//! don't, leases end early and mail may come twice, but nothing is counted twice and nothing is lost.

#![forbid(unsafe_code)]

pub mod destination;
pub mod error;
pub mod events;
pub mod notices;
pub mod operators;
pub mod owners;
pub mod queue;
pub mod schedule;
pub mod schema;
pub mod take;
pub mod upkeep;

mod batch;
mod in_hand;
mod lanes;
mod rows;

pub use destination::{Destination, Destinations, Ended, Limits, Ticket};
pub use error::QueueError;
pub use events::{Event, EventKind, Events, Traced};
pub use notices::{Handed, Notice, Owed};
pub use operators::{Change, Counts, Entry, Filter, Lane, State};
pub use queue::{
    Options, Outcome, Queue, QueueStatus, Report, Reported, Submission, Submitted, Told,
};
pub use schedule::Schedule;
pub use schema::SCHEMA;
pub use take::Job;
pub use upkeep::Kept;
