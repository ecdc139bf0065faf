//! The mail roles: mx, submission, outgoing and pop3.
//!
//! Each of them can run alone; they share state through the database and the packs, never by calls of their own between boxes.
//!
//! - [`config`] is what an operator may write;
//! - [`role`] is all of it as one thing, which the binary holds, [`report`] how that is, and [`operators`] what people see and do;
//! - [`mx`] takes mail from other servers, [`submission`] from our users, [`outgoing`] hands it on, and [`pop3`] lets it be fetched;
//! - [`dkim`] signs what our users send;
//! - `recipients` says who gets mail for an address; `plan` writes down what becomes of a message, and `post` carries that out:
//!   into mailboxes and the queue, or into `spool` on this machine's disk while those are away;
//! - [`perimeter`] is where the filter stands, `rejects` who has a copy of what it refuses, and [`sightings`] what the wall is told of
//!   clients;
//! - [`tools`] are for commands that need no role;
//! - `shards` are the stores that mailboxes live in, opened when they are needed and left alone while they are away;
//! - `folder` makes folders that are there after a power cut;
//! - `circuit` keeps everybody from waiting for what hangs, `measures` counts and times what is handed over;
//! - `inquiry` asks back-ends for recipients who are not known here;
//! - `moves` ends moves of mailboxes that nobody goes on with;
//! - `sandbox` knows what systemd lets the service write to;
//! - `routes` says where something in the queue goes, `letter` is a message with what we write above it.
//!
//! # What 250 means
//!
//! Each part of a message's plan is durable when its sender is told 250: a mailbox has it, the queue has it, or this machine's
//! disk has it together with the plan. Nothing is answered before that, and whatever happens after it is done again until it is
//! done; parts are known by their ids where they go, so that doing one again does nothing.

#![forbid(unsafe_code)]
// Handing a message over is a deep pile of futures, and whether a pile may move between threads is asked of each.
#![recursion_limit = "256"]

pub mod config;
pub mod dkim;
mod guard;
pub mod mx;
pub mod operators;
pub mod outgoing;
pub mod perimeter;
pub mod pop3;
pub mod report;
pub mod role;
pub mod shards;
pub mod sightings;
pub mod spool;
pub mod submission;
pub mod tools;

mod circuit;
mod clock;
mod folder;
mod inquiry;
mod letter;
mod listening;
mod measures;
mod moves;
mod plan;
mod post;
mod recipients;
mod rejects;
mod routes;
mod sandbox;
mod units;

pub use config::MailConfig;
pub use listening::ListenError;
pub use post::PostStatus;
pub use role::{ReloadError, Role, StartError, Surroundings};
