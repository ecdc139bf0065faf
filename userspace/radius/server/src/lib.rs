//! The RADIUS role: sockets, decisions, accounting, and requests of its own to NASes.
//!
//! A request comes in through `threads`, each of which owns its sockets, and is decided at the `desk` from what is in memory:
//! nobody waits for a database. Accounting goes into the journal and is acknowledged once it is durable there; `accounting`
//! takes it from the journal to the table of sessions and to the database. What comes back from there is the `supply`:
//! subscribers, profiles, NASes and pools, followed as they change.
//!
//! - [`role`]: the role as one thing, which the binary holds
//! - [`config`]: what the operator may write about it
//! - [`report`]: what it tells about itself
//! - [`tail`]: the requests as they are answered
//! - [`testing`]: a login that the operator tries out
//! - `nases`: who may ask
//! - `whereabouts`: where they send from
//! - `listening`: sockets, made or inherited from the process before
//! - `wheel`: what is due later
//! - `costly`: passwords that take long to check on purpose
//! - `dynamic`: Disconnect and CoA, sent to NASes
//! - `kept`: a copy of a database elsewhere, for a start while that is away
//! - `proven`: by which of its secrets a NAS last proved itself, during a roll
//! - `recent`: records of the last while, so that none is written twice
//! - `asked`: logins of the last while, so that nobody gains by sending one again
//! - `pending`: begins and ends of sessions that the table has not taken yet
//! - `open`: what a subscriber has open, and what of it is not off his credit
//! - `others`: what the database tells of sessions, of other servers and of credits
//! - `spent`: what ended sessions used that is not off a credit yet
//! - `place`: the line that somebody tries from
//! - `refusals`: logins that were refused of late
//! - `renamed`: NASes that go by other names while sessions are open under those before
//! - `strangers`: addresses of packets that are not from a NAS
//! - `tally`: counting, cheap enough for each packet
//! - `client`: this machine as a NAS of its own
//! - `canary`: the proof that it answers

#![forbid(unsafe_code)]

pub mod config;
pub mod report;
pub mod role;
pub mod tail;
pub mod testing;

mod accounting;
mod asked;
mod canary;
mod client;
mod costly;
mod desk;
mod dynamic;
mod kept;
mod listening;
mod nases;
mod open;
mod others;
mod pending;
mod place;
mod precedence;
mod proven;
mod recent;
mod refusals;
mod renamed;
mod spent;
mod strangers;
mod supply;
mod tally;
mod threads;
mod wheel;
mod whereabouts;
