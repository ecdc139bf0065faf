//! How the resolver reaches servers: the only way from it to a network.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

/// Sends one query and waits for its answer.
pub trait Transport: Send + Sync + 'static {
    /// Sends `query` to `server` and gives the first message from there that `accept` takes; what it refuses (another
    /// id, another question, another letter case) is left, and waiting goes on. Over UDP each exchange has a source
    /// port of its own, chosen at random.
    fn exchange<'a>(
        &'a self,
        server: SocketAddr,
        protocol: Protocol,
        query: &'a [u8],
        patience: Duration,
        accept: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> Exchanging<'a>;

    /// How many exchanges could begin now. Without a limit by default.
    fn room(&self) -> Room {
        Room { free: usize::MAX, limit: usize::MAX }
    }
}

/// An exchange under way.
pub type Exchanging<'a> = Pin<Box<dyn Future<Output = Result<Reply, ExchangeError>> + Send + 'a>>;

/// What came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The message that was accepted.
    pub message: Vec<u8>,
    /// From the query's departure to the message's arrival, without any wait for a socket before; over TCP with the
    /// connection's opening.
    pub trip: Duration,
}

/// Room for exchanges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// Exchanges that could begin now without a wait.
    pub free: usize,
    /// Exchanges at a time.
    pub limit: usize,
}

/// How a query travels.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// One datagram each way.
    Udp,
    /// A connection, each message with its length before it (RFC 7766).
    Tcp,
}

/// Why there was no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing acceptable came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Nothing was sent, for want of sockets, ports or memory here; the server has no part in it.
    #[error("not sent: {0}")]
    Local(String),
    /// The network or the server's host said no.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection ended in the middle.
    #[error("the server closed the connection")]
    Closed,
}
