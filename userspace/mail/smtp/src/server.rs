//! The server's side. A [`Session`] is the protocol without a network: octets in, replies out, and questions that a [`Handler`]
//! answers. A [`Server`] runs sessions on connections.

mod behind;
mod config;
mod handler;
mod memory;
mod pace;
mod report;
mod run;
mod session;
mod sources;

pub use config::{Config, Limits, Mode, Times};
pub use handler::{Conversation, Decision, Handler, Keys, NotGranted, Peer, Proved, Welcome};
pub use report::{End, Report};
pub use run::{Security, Server, Status};
pub use session::{Incoming, MailFrom, Offers, Phase, Session, Step, Transaction};
pub use sources::network_of;
