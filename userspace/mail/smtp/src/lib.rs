//! SMTP, submission and LMTP: server and client.
//!
//! The protocol and nothing else: who exists, who may send and where mail goes is decided by those who use this.
//!
//! - [`server`] takes mail: a session without a network, which is what tests and fuzzers speak to, and the tasks that run it on
//!   connections, with limits on everything that a client can make us hold or wait for;
//! - [`client`] hands mail on: in as few round trips as the other side allows, with TLS as the policy wants it, and bounded against
//!   servers that are no better than the worst client;
//! - [`framing`] knows where a message ends, and refuses what others might read otherwise;
//! - [`command`] reads command lines, `response` writes replies;
//! - [`proxy`] reads what a load balancer says about the client behind it;
//! - [`tls`] has certificates, roots, and the stream that becomes TLS.

#![forbid(unsafe_code)]

pub mod client;
pub mod command;
pub mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod proxy;
pub mod server;
pub mod tls;

mod response;
