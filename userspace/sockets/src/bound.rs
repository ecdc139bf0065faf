//! Sockets as services want them: never inherited by accident, never blocking, and several on one address.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};

/// Bytes of requests that may wait in a UDP socket: some 5,000 of them, a tenth of a second at 50,000 a second.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Bytes of answers that may wait in a UDP socket.
const SEND_BUFFER: usize = 4 << 20;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// A UDP socket for one thread; others may have sockets on the same address (SO_REUSEPORT). One on a wildcard address
/// tells which address each datagram was sent to.
///
/// # Errors
///
/// When the address can't be had, or the system refuses.
pub fn udp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = bound(address, SocketType::DGRAM)?;
    // As much as the machine allows, and beyond that where the process has CAP_NET_ADMIN.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
    Ok(socket)
}

/// A listener.
///
/// # Errors
///
/// When the address can't be had, or the system refuses.
pub fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
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
///
/// # Errors
///
/// When the system has no more descriptors.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    UdpSocket::from(socket.try_clone()?).local_addr()
}

/// A listener that shares the descriptor.
///
/// # Errors
///
/// When the system has no more descriptors.
pub fn listener(socket: &OwnedFd) -> io::Result<TcpListener> {
    Ok(TcpListener::from(socket.try_clone()?))
}
