//! The sockets: made, or inherited from the process before.
//!
//! Each thread has a UDP socket of its own for each address (SO_REUSEPORT). All of them are kept by systemd through a
//! restart, so that what arrives in between waits in them.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use tracing::warn;

/// Bytes of queries that may wait in a UDP socket: some 5,000 of them, a tenth of a second at 50,000 a second.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Bytes of answers that may wait in a UDP socket.
const SEND_BUFFER: usize = 4 << 20;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

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
            sockets.push(kept.map_or_else(|| udp(address), Ok).map_err(refused)?);
        }
        let kept = inherited.remove(&tcp_name(address));
        let listener = kept.map_or_else(|| tcp(address), Ok).map_err(refused)?;
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

/// A UDP socket for one thread.
pub(crate) fn udp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = bound(address, SocketType::DGRAM)?;
    // As much as the machine allows, and beyond that where the process has CAP_NET_ADMIN.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
    Ok(socket)
}

fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = bound(address, SocketType::STREAM)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn bound(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = if kind == SocketType::DGRAM { ipproto::UDP } else { ipproto::TCP };
    let socket = socket_with(family, kind, flags, Some(protocol))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if kind == SocketType::DGRAM {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::DGRAM && address.ip().is_unspecified() {
        crate::datagrams::tell_destination(socket.as_fd(), address.is_ipv6())?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// The address that a socket is bound to.
pub(crate) fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    UdpSocket::from(socket.try_clone()?).local_addr()
}

/// A listener that shares the descriptor.
pub(crate) fn listener(socket: &OwnedFd) -> io::Result<TcpListener> {
    Ok(TcpListener::from(socket.try_clone()?))
}
