//! The sockets: made, or inherited from the process before.
//!
//! Each thread has a socket of its own for each address (SO_REUSEPORT); the kernel's hash gives the packets of one NAS's
//! port always to the same one, so that its reply cache sees what is sent again. All of them are kept by systemd through a
//! restart, so that what arrives in between waits in them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use muralla_sockets::bound;
use tracing::warn;

/// What is asked at an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Service {
    /// Access-Request, and Status-Server.
    Auth,
    /// Accounting-Request, and Status-Server.
    Acct,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Acct => "acct",
        }
    }
}

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
    /// One for each thread.
    pub(crate) sockets: Vec<OwnedFd>,
}

/// Why an address can't be answered on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {error}; {help}")]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
    help: &'static str,
}

/// Takes the sockets for these addresses from those inherited, and makes what is missing.
///
/// # Errors
///
/// When one can't be made.
pub(crate) fn listen(
    auth: &[SocketAddr],
    acct: &[SocketAddr],
    threads: usize,
    inherited: Vec<(String, OwnedFd)>,
) -> Result<Vec<Listening>, ListenError> {
    let mut inherited: HashMap<String, OwnedFd> = inherited.into_iter().collect();
    let wanted = auth.iter().map(|address| (Service::Auth, *address));
    let wanted = wanted.chain(acct.iter().map(|address| (Service::Acct, *address)));
    let mut all = Vec::new();
    for (service, address) in wanted {
        let refused = |error: io::Error| ListenError { address, help: help(&error), error };
        let mut sockets = Vec::new();
        for thread in 0..threads {
            let kept = inherited.remove(&name(service, address, thread));
            let made = || bound::udp(address);
            sockets.push(kept.map_or_else(made, Ok).map_err(refused)?);
        }
        all.push(Listening { service, address, sockets });
    }
    for name in inherited.keys() {
        // Closed here: an unread socket of the group would swallow its share of the requests.
        warn!(name, "an inherited socket is not wanted any more, and closed with what waits in it");
    }
    Ok(all)
}

impl Listening {
    /// The sockets with the names under which they are kept.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (String, &OwnedFd)> {
        let sockets = self.sockets.iter().enumerate();
        sockets.map(|(thread, socket)| (name(self.service, self.address, thread), socket))
    }

    /// Where it really listens, should the port have been left to the system.
    pub(crate) fn bound(&self) -> SocketAddr {
        let first = self.sockets.first().and_then(|socket| bound::local_address(socket).ok());
        first.unwrap_or(self.address)
    }
}

/// A descriptor's name may not have colons in it (sd_pid_notify_with_fds(3)).
fn name(service: Service, address: SocketAddr, thread: usize) -> String {
    format!("radius-{}-{thread}-{address}", service.name()).replace(':', "_")
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another RADIUS server is running there (`ss -lunp` shows it): stop it, or choose other addresses in \
             [radius] auth and acct"
        }
        io::ErrorKind::AddrNotAvailable => {
            "the machine has no such address: correct [radius] auth and acct, or give the address to an interface"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: use the service unit, or run as root"
        }
        _ => "see the error",
    }
}
