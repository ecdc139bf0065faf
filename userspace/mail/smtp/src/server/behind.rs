//! Who is at the other end of a connection, behind a balancer if there is one.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::config::Config;
use super::handler::Peer;
use crate::proxy::{self, Proxied};
use crate::tls::Wire;

/// Who is at the other end, behind a balancer if there is one.
pub(super) async fn proxied<S>(
    config: &Config,
    peer: Peer,
    wire: &mut Wire<S>,
    input: &mut BytesMut,
) -> Option<Peer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ip = peer.remote.ip().to_canonical();
    if !config.proxies.iter().any(|network| network.contains(&ip)) {
        return Some(peer);
    }
    let deadline = Instant::now() + config.times.handshake;
    let proxied = loop {
        match proxy::parse(input) {
            Ok(Some((proxied, octets))) => {
                let _ = input.split_to(octets);
                break proxied;
            }
            Ok(None) => {}
            Err(_) => return None,
        }
        // One octet at a time where TLS might follow: what is read here can't be given back.
        let mut octet = [0; 1];
        match timeout_at(deadline, wire.read(&mut octet)).await {
            Ok(Ok(octets)) if octets > 0 => input.extend_from_slice(&octet),
            _ => return None,
        }
    };
    match proxied {
        Proxied::Nobody => Some(peer),
        Proxied::Client { from, to } => Some(Peer { remote: from, local: to }),
    }
}
