//! What a message is made of, read once and with limits: what every stage of the filter works from.
//!
//! Pure: no I/O, no clock, no randomness of its own. What is read is hostile until proven otherwise; no message makes this crate
//! panic, recurse without end, or take more than [`Limits`] allow.
//!
//! - [`anatomy`] reads a message: [`Anatomy`] is what there is of it, [`Surroundings`] what else its oddities depend on;
//! - [`limits`] are how much of a message is read, and [`Problem`] what of it was not;
//! - [`header`] has the facts of the header, [`part`] the tree of parts with names, types and decoded content, [`kind`] what
//!   content is by its first bytes, [`page`] what HTML shows, hides and does;
//! - [`disguise`] looks through letters that are not what they seem, [`link`] says where links lead and [`brand`] whose names they
//!   borrow;
//! - [`oddity`] gives a name, a weight and a sentence to all that is odd: [`Finding`];
//! - [`fingerprint`] tells whether two messages are one, sent twice with small changes.
//!
//! Inside, `fields` splits headers, `structure` finds the parts in one pass, `transfer` undoes their encodings, `values` has the
//! grammar of header fields (mail-parser's, contained), and `html` has tokens, entities and styles.

#![forbid(unsafe_code)]

pub mod anatomy;
pub mod brand;
pub mod disguise;
pub mod fingerprint;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod header;
pub mod kind;
pub mod limits;
pub mod link;
pub mod oddity;
pub mod page;
pub mod part;

mod charset;
mod fields;
mod html;
mod structure;
mod transfer;
mod values;

pub use anatomy::{Anatomy, Surroundings};
pub use disguise::Disguise;
pub use fingerprint::{Fingerprint, Key};
pub use header::{Header, Mailbox};
pub use kind::Kind;
pub use limits::{Limits, Problem};
pub use link::{Host, Link};
pub use oddity::{Finding, Oddity};
pub use page::Page;
pub use part::Part;
