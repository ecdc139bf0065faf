//! The sockets: made, or inherited from the process before.
//!
//! Each thread has a UDP socket of its own for each address (SO_REUSEPORT). All of them are kept by systemd through a
//! restart, so that what arrives in between waits in them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use muralla_sockets::bound;
use tracing::warn;

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    /// One for each thread.
    pub(crate) udp: Vec<OwnedFd>,
    pub(crate) tcp: OwnedFd,
}

/// Why an address can't be answered on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {error}; {help}")]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
    help: &'static str,
}

/// Takes the sockets for `addresses` from those inherited, and makes what is missing.
///
/// # Errors
///
/// When one can't be made.
pub(crate) fn listen(
    addresses: &[SocketAddr],
    threads: usize,
    inherited: Vec<(String, OwnedFd)>,
) -> Result<Vec<Listening>, ListenError> {
    let mut inherited: HashMap<String, OwnedFd> = inherited.into_iter().collect();
    let mut all = Vec::new();
    for &address in addresses {
        let refused = |error: io::Error| ListenError { address, help: help(&error), error };
        let mut sockets = Vec::new();
        for thread in 0..threads {
            let kept = inherited.remove(&udp_name(address, thread));
            sockets.push(kept.map_or_else(|| bound::udp(address), Ok).map_err(refused)?);
        }
        let kept = inherited.remove(&tcp_name(address));
        let listener = kept.map_or_else(|| bound::tcp(address), Ok).map_err(refused)?;
        all.push(Listening { address, udp: sockets, tcp: listener });
    }
    for name in inherited.keys() {
        // Closed here: an unread socket of the group would swallow its share of the queries.
        warn!(name, "an inherited socket is not wanted any more, and closed with what waits in it");
    }
    Ok(all)
}

impl Listening {
    /// The sockets with the names under which they are kept.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (String, &OwnedFd)> {
        let udp = self.udp.iter().enumerate();
        let udp = udp.map(|(thread, socket)| (udp_name(self.address, thread), socket));
        udp.chain(std::iter::once((tcp_name(self.address), &self.tcp)))
    }
}

/// A descriptor's name may not have colons in it (sd_pid_notify_with_fds(3)).
fn udp_name(address: SocketAddr, thread: usize) -> String {
    format!("dns-udp-{thread}-{address}").replace(':', "_")
}

fn tcp_name(address: SocketAddr) -> String {
    format!("dns-tcp-{address}").replace(':', "_")
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another resolver is running there (`ss -lunp sport = 53` shows it; often systemd-resolved): \
             stop it, or choose other addresses in [dns] listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "the machine has no such address: correct [dns] listen, or give the address to an interface"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: use the service unit, or run as root"
        }
        _ => "see the error",
    }
}
