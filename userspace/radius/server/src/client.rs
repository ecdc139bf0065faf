//! This machine as a NAS of its own: one request through a real socket, and its answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use muralla_radius_wire::{LONGEST, Packet, Secret, verify_reply};
use tokio::net::UdpSocket;
use tokio::time::{Instant as Moment, timeout_at};

/// Time before a request is sent again. The socket may have been full.
const AGAIN: Duration = Duration::from_secs(2);

/// Sends a request until an answer comes that is one to it, for at most `patience`; gives it with the time that it took.
pub(crate) async fn ask(
    bound: SocketAddr,
    request: &[u8],
    secret: &Secret,
    patience: Duration,
) -> Result<(Vec<u8>, Duration), String> {
    let server = reachable(bound);
    match exchange(server, request, secret, patience).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(format!("no answer from {server} within {patience:?}")),
        Err(error) => Err(format!("the request to {server} failed: {error}")),
    }
}

/// An address at which a socket bound to `bound` can be reached from here.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let address = match bound.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, bound.port())
}

async fn exchange(
    server: SocketAddr,
    request: &[u8],
    secret: &Secret,
    patience: Duration,
) -> io::Result<Option<(Vec<u8>, Duration)>> {
    let begin = Instant::now();
    let sent = Packet::parse(request).map_err(|_| io::Error::other("the request is malformed"))?;
    // Another port each time, so that each thread's socket has its turn.
    let socket = UdpSocket::bind(SocketAddr::new(server.ip(), 0)).await?;
    socket.connect(server).await?;
    let (end, mut buffer) = (Moment::now() + patience, vec![0; LONGEST]);
    while Moment::now() < end {
        socket.send(request).await?;
        let turn = end.min(Moment::now() + AGAIN);
        while let Ok(received) = timeout_at(turn, socket.recv(&mut buffer)).await {
            let bytes = buffer.get(..received?).unwrap_or_default();
            let genuine = Packet::parse(bytes).is_ok_and(|reply| {
                reply.id() == sent.id()
                    && verify_reply(&reply, sent.authenticator(), secret, true).is_ok()
            });
            if genuine {
                return Ok(Some((bytes.to_vec(), begin.elapsed())));
            }
        }
    }
    Ok(None)
}
