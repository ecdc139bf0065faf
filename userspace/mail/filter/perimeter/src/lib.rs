//! The filter for other mail systems: whatever stores or moves mail can have it judged here.
//!
//! Who asks keeps what he has: he is told what to do with a message, and does it. Nothing is stored here, nothing is accepted here,
//! and so nothing can be lost here; what could not be looked at is put off, or marked as that, and never taken for clean.
//!
//! - [`question`] is what is asked: the message, its envelope, and who brought it;
//! - [`verdict`] is what is answered, for each recipient, and [`judge`] who answers it;
//! - [`policy`] is where the two meet: what is done with a verdict, whatever the way;
//! - [`milter`], [`http`] and [`proxy`] are the ways, each with what an operator writes into the other system's configuration;
//! - [`fields`] are the header fields that are written, and those that are removed because they pretend to be ours;
//! - [`config`] is what holds for each way, [`door`] who may come, [`counts`] what happened; `budget` is the memory that all
//!   messages have.
//!
//! Codecs and sessions are pure: octets in, octets out, and a question in between. The tasks that run them on connections have
//! limits on whatever the other side can make us hold or wait for.

#![forbid(unsafe_code)]

pub mod config;
pub mod counts;
pub mod door;
pub mod fields;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
pub mod judge;
pub mod milter;
pub mod policy;
pub mod proxy;
pub mod question;
pub mod verdict;

mod budget;

pub use config::Config;
pub use counts::Status;
pub use door::Listener;
pub use fields::HeaderField;
pub use judge::{Judge, Learned, Lesson};
pub use policy::{Action, Marks, OnHold, OnUnscanned, Place, Policy};
pub use question::{Origin, Party, Question, Way};
pub use verdict::{Outcome, Reason, Verdict};
