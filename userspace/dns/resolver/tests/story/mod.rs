//! - [`script`]: a story's text
//! - [`play`]: asks the resolver and compares
//! - [`network`]: the resolver's transport and clock over a private Internet, in virtual time

pub(crate) mod network;
pub(crate) mod play;
pub(crate) mod script;
