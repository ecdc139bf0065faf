//! The admin socket: HTTP with JSON over a Unix socket, which the command line uses and which scripts
//! and the services behind the wall may use too (`curl --unix-socket`).

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod socket;

#[cfg(test)]
mod tests;
