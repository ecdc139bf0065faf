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
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, ExchangeError>> + Send + 'a>>;
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
