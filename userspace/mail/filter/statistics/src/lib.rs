//! What a message's words and letters say of it.
//!
//! Pure: no I/O but what is read from and written to where the caller says, no clock, no randomness. A message comes in pieces
//! that others have parsed and decoded ([`Text`]); a [`Model`] gives its [`Score`], and learns from [`Lesson`]s one by one.
//!
//! - [`text`] is what is judged, and which header fields count: none that receivers write;
//! - `tokens` takes a message to pieces: words, pairs, links, addresses, tags, measures; `distinct` keeps each once;
//! - `grams` is a logistic regression on every four letters, `words` one on pieces, in which each learns at its own pace;
//!   `counts` adds up of which mail pieces were before; `lexicon` is the table of pieces that the latter two share;
//!   `contexts` foretells letters from those before them, as a compressor of each class would;
//! - `fusion` learns which of them to believe, `rehearsal` goes through hard lessons again, and [`model`] is all of them
//!   together;
//! - `personal` is what a user says against everybody, [`lesson`] who says what, `ledger` how much of it reaches others;
//! - [`explain`] tells people why, in words of the message at hand;
//! - [`hash`] is the installation's key, without which nobody knows which words share a slot;
//! - [`file`] is a model as octets: versioned, with limits and a checksum; `condense` makes a small one; [`tally`] how much it learned, and when;
//! - [`parameters`] are its sizes, rates and limits, which go with the file.
//!
//! # Whom it learns from
//!
//! Operators' lessons reach everybody. Users' lessons reach themselves at once, within bounds ([`Parameters::personal_most`]),
//! and everybody else with less weight and a few times a day ([`Parameters::daily_lessons`]); what one user teaches can't move
//! the mail of others much, whatever he does.

#![forbid(unsafe_code)]

pub mod explain;
pub mod file;
pub mod hash;
pub mod lesson;
pub mod model;
pub mod parameters;
pub mod scratch;
pub mod tally;
pub mod text;

mod class;
mod condense;
mod contexts;
mod counts;
mod distinct;
mod fusion;
mod grams;
mod ledger;
mod lexicon;
mod personal;
mod rehearsal;
mod tokens;
mod words;

pub use class::Class;
pub use explain::{Evidence, Piece};
pub use file::FileError;
pub use hash::Key;
pub use lesson::{Day, Lesson, Teacher, User};
pub use model::{Learned, Model, Score};
pub use parameters::{Parameters, ParametersError};
pub use scratch::Scratch;
pub use tally::{Daily, Tally};
pub use text::Text;
