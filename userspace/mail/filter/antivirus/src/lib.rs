//! What is dangerous in the parts of a message.
//!
//! The core is pure: no I/O, no clock, no randomness of its own. Whatever the bytes are, there is an answer, it takes no more
//! than [`Limits`] allow, and what was not looked at is never called clean. I/O is in two rooms only: [`clamd`] speaks to a
//! daemon, and [`antivirus`] waits for it.
//!
//! - [`part`] is what is to be looked at, [`verdict`] what comes out: each of the answers with a sentence for people;
//! - [`limits`] are how much of an archive is unpacked, and what it means to be beyond them;
//! - [`name`] says what opening a file would do, and sees through names that lie about it;
//! - [`format`] tells by the first octets what a file is;
//! - [`engine`] unpacks, and lets our own rules (`rules/*.yar`, compiled once) look at everything that comes out;
//! - [`clamd`] asks ClamAV over its socket;
//! - [`cache`] remembers what was seen, by content, as long as the one who looked is the same;
//! - [`antivirus`] does all that for a message, within a time.
//!
//! Inside, `unpack` has a reader for each format, `rules` the engine of the rules, `bytes` numbers out of hostile octets.

#![forbid(unsafe_code)]

pub mod antivirus;
pub mod cache;
pub mod clamd;
pub mod engine;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod limits;
pub mod name;
pub mod part;
pub mod verdict;

mod bytes;
mod rules;
#[cfg(test)]
mod samples;
mod unpack;

pub use antivirus::{Antivirus, Report};
pub use clamd::{Address, Clamd};
pub use engine::{Engine, EngineError, Examination};
pub use format::Format;
pub use limits::{Excess, Limits};
pub use name::FileName;
pub use part::Part;
pub use verdict::{Finding, Verdict, Why};
