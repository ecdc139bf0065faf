//! The client's side. A [`Connection`] is made to a server of which somebody else found the address, and messages are handed over on
//! it: several one after the other, if the server is willing.

mod capabilities;
mod connection;
mod error;
mod options;
mod replies;
mod talk;
mod transaction;

pub use capabilities::Capabilities;
pub use connection::Connection;
pub use error::ClientError;
pub use options::{EightBit, Login, Options, Speaks, TlsPolicy, Waits};
pub use replies::{Answer, Answers, Malformed};
pub use transaction::{Delivery, Outcome};
