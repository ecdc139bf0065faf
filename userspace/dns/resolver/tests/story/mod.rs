//! - [`script`]: a story's text
//! - [`play`]: asks the resolver and compares

pub(crate) mod play;
pub(crate) mod script;
