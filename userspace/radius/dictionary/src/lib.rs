//! RADIUS dictionaries in FreeRADIUS' format, and the attributes and users files that they give names to.
//!
//! - [`dictionary`] holds all [`Attribute`]s and [`Vendor`]s: the built-in ones, and the operator's over them;
//! - [`attribute`] says what one attribute is called, where it stands in a packet, and how its value looks;
//! - [`value`] is a value, out of text or out of a packet, and back;
//! - [`pair`] is an attribute with an operator and a value, as it is written in users files and databases;
//! - [`encode`] makes whole attributes of pairs (RFC 2865, 2868, 6929, vendors' formats), [`decode`] pairs of attributes;
//! - [`users`] reads users files in FreeRADIUS' format;
//! - [`zone`] is where a date without a zone is meant, and where days begin;
//! - [`problem`] says what is wrong with a file, where, and what to do.

#![forbid(unsafe_code)]

pub mod attribute;
pub mod decode;
pub mod dictionary;
pub mod encode;
pub mod pair;
pub mod problem;
pub mod users;
pub mod value;
pub mod zone;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

mod built_in;
mod date;
mod files;
mod lexer;
mod names;
mod source;

pub use attribute::{Attribute, Format, Hiding, Place, Type, Vendor};
pub use dictionary::{Dictionary, DictionaryError};
pub use encode::{EncodeError, Encoded, Hidden};
pub use pair::{Operator, Pair, PairError};
pub use problem::Problem;
pub use users::{UsersEntry, UsersFile};
pub use value::Value;
pub use zone::{UnknownZone, Zone};
