//! HTML as browsers read it, in time that grows with its length alone.
//!
//! The tokens are those of the HTML standard's section 13.2.5; tests compare them with html5ever's. That crate is not used here
//! itself because it compares each attribute of a tag with all before it and can't be told to stop, which a tag of a hundred
//! thousand attributes makes seconds of, and because names and values are copied that nobody asks for.

pub(crate) mod entities;
pub(crate) mod style;
pub(crate) mod tokens;
