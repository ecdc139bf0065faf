//! The filter: what each stage finds in a message, joined into one verdict with reasons.
//!
//! - [`reason`] is what speaks for a message or against it, each with a name, a weight and a sentence that its reader understands;
//! - [`reading`] turns a message that was read once into what the learners judge;
//! - [`brain`] is everything that learns: the statistics of words, and how much each finding is worth;
//! - [`opinion`] is how likely a message is spam, for anybody, and why;
//! - [`tolerance`] is how much a recipient puts up with, and [`outcome`] what becomes of the message for him;
//! - [`header`] tells it in the message itself;
//! - [`filter`] is all stages in their order, within their time.
//!
//! All but [`filter`] is pure: time and randomness are arguments, and nothing waits.

#![forbid(unsafe_code)]

pub mod brain;
pub mod filter;
pub mod header;
pub mod opinion;
pub mod outcome;
pub mod reading;
pub mod reason;
pub mod tolerance;

pub use brain::{Brain, BrainError};
pub use filter::{Acquaintances, Filter, Occasion, Options, Recipient, Sender, Verdict};
pub use opinion::Opinion;
pub use outcome::{Danger, Outcome};
pub use reason::{Reason, Stage};
pub use tolerance::{Level, Tolerance};
