//! The transport of production: sockets of the operating system.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::transport::{ExchangeError, Exchanging, Protocol, Reply, Room, Transport};

/// Largest datagram that is taken; more was never offered.
const MAX_DATAGRAM: usize = 4_096;

/// Most messages on one connection before the answer must have come.
const MAX_MESSAGES: usize = 4;

/// Sockets for each exchange: a source port of its own, chosen by the operating system at random among the ephemeral
/// ones, and connected, so that ICMP errors show and other senders are kept out.
#[derive(Debug)]
pub struct Sockets {
    source_v4: Option<Ipv4Addr>,
    source_v6: Option<Ipv6Addr>,
    open: Semaphore,
    limit: usize,
}

impl Sockets {
    /// Sends from these addresses, which must be the host's own, or where there is none from the one that the routing
    /// table chooses for each server. An address that the host does not have makes all exchanges of its family fail as
    /// unreachable, and the other family is used. Ports are the operating system's choice in either case.
    ///
    /// At most `limit` sockets (1 or more) are open at once, UDP and TCP together; an exchange beyond waits for as long
    /// as its patience, and then fails with [`ExchangeError::Local`].
    pub fn new(source_v4: Option<Ipv4Addr>, source_v6: Option<Ipv6Addr>, limit: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self { source_v4, source_v6, open: Semaphore::new(limit), limit }
    }

    fn source(&self, server: SocketAddr) -> SocketAddr {
        let address = match server.ip() {
            IpAddr::V4(_) => IpAddr::V4(self.source_v4.unwrap_or(Ipv4Addr::UNSPECIFIED)),
            IpAddr::V6(_) => IpAddr::V6(self.source_v6.unwrap_or(Ipv6Addr::UNSPECIFIED)),
        };
        SocketAddr::new(address, 0)
    }

    async fn udp(
        &self,
        server: SocketAddr,
        query: &[u8],
        accept: &(dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind(self.source(server)).await?;
        socket.connect(server).await?;
        socket.send(query).await?;
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let message = buffer.get(..length).unwrap_or_default();
            if accept(message) {
                return Ok(message.to_vec());
            }
        }
    }

    async fn tcp(
        &self,
        server: SocketAddr,
        query: &[u8],
        accept: &(dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> io::Result<Vec<u8>> {
        let socket = match server {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(self.source(server))?;
        let mut stream = socket.connect(server).await?;
        let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // Length and message in one segment (RFC 7766 section 8).
        let mut framed = Vec::with_capacity(query.len() + 2);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(query);
        stream.write_all(&framed).await?;
        for _ in 0..MAX_MESSAGES {
            let length = stream.read_u16().await?;
            // Grows with what really comes.
            let mut message = Vec::new();
            let mut limited = (&mut stream).take(length.into());
            limited.read_to_end(&mut message).await?;
            if message.len() < usize::from(length) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if accept(&message) {
                return Ok(message);
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Whether this host lacks memory, descriptors, ports or buffers. An address or a family that it does not have is none
/// of that: there the other family helps.
fn is_shortage(error: &io::Error) -> bool {
    /// ENOMEM, ENFILE, EMFILE, EADDRINUSE and ENOBUFS of Linux.
    const SHORTAGES: [i32; 5] = [12, 23, 24, 98, 105];
    error.raw_os_error().is_some_and(|code| SHORTAGES.contains(&code))
}

impl Transport for Sockets {
    fn exchange<'a>(
        &'a self,
        server: SocketAddr,
        protocol: Protocol,
        query: &'a [u8],
        patience: Duration,
        accept: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> Exchanging<'a> {
        Box::pin(async move {
            // Before the clock starts: the wait for a socket is not the server's.
            let Ok(Ok(_open)) = timeout(patience, self.open.acquire()).await else {
                return Err(ExchangeError::Local("all sockets are in use".into()));
            };
            let exchange = async {
                match protocol {
                    Protocol::Udp => self.udp(server, query, accept).await,
                    Protocol::Tcp => self.tcp(server, query, accept).await,
                }
            };
            let begin = Instant::now();
            match timeout(patience, exchange).await {
                Err(_) => Err(ExchangeError::Timeout(patience)),
                Ok(Ok(message)) => Ok(Reply { message, trip: begin.elapsed() }),
                Ok(Err(error)) if is_shortage(&error) => {
                    Err(ExchangeError::Local(error.to_string()))
                }
                Ok(Err(error)) => Err(match error.kind() {
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                        ExchangeError::Closed
                    }
                    _ => ExchangeError::Unreachable(error.to_string()),
                }),
            }
        })
    }

    fn room(&self) -> Room {
        Room { free: self.open.available_permits(), limit: self.limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn udp_waits_for_what_is_accepted() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serve = tokio::spawn(async move {
            let mut buffer = [0; 64];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(b"wrong", client).await.unwrap();
            server.send_to(&buffer[..length], client).await.unwrap();
        });
        let sockets = Sockets::new(Some(Ipv4Addr::LOCALHOST), None, 1);
        let accept = |bytes: &[u8]| bytes == b"right";
        let answer = sockets.exchange(address, Protocol::Udp, b"right", PATIENCE, &accept).await;
        assert_eq!(answer.unwrap().message, b"right");
        serve.await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_port_shows_at_once() {
        let address = {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.local_addr().unwrap()
        };
        let sockets = Sockets::new(None, None, 8);
        let answer = sockets.exchange(address, Protocol::Udp, b"x", PATIENCE, &|_| true).await;
        assert!(matches!(answer, Err(ExchangeError::Unreachable(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_wait_for_a_socket_is_not_the_server_s() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let sockets = Sockets::new(None, None, 1);
        assert_eq!(sockets.room(), Room { free: 1, limit: 1 });
        let _all = sockets.open.acquire().await.unwrap();
        assert_eq!(sockets.room(), Room { free: 0, limit: 1 });
        let patience = Duration::from_millis(20);
        let answer = sockets.exchange(address, Protocol::Udp, b"x", patience, &|_| true).await;
        assert!(matches!(answer, Err(ExchangeError::Local(_))), "{answer:?}");
        for (code, shortage) in [(24, true), (105, true), (99, false), (101, false), (111, false)] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(is_shortage(&error), shortage, "{error}");
        }
    }

    #[tokio::test]
    async fn tcp_frames_messages_and_sees_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            stream.write_all(b"\x00\x05wrong\x00\x05").await.unwrap();
            stream.write_all(&query).await.unwrap();
            drop(stream);
            let (stream, _) = listener.accept().await.unwrap();
            drop(stream);
        });
        let sockets = Sockets::new(None, None, 8);
        let accept = |bytes: &[u8]| bytes == b"right";
        let answer = sockets.exchange(address, Protocol::Tcp, b"right", PATIENCE, &accept).await;
        assert_eq!(answer.unwrap().message, b"right");
        let answer = sockets.exchange(address, Protocol::Tcp, b"right", PATIENCE, &accept).await;
        assert_eq!(answer, Err(ExchangeError::Closed));
        serve.await.unwrap();
    }
}
