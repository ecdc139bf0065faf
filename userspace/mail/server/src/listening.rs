//! The sockets: made, or inherited from the process before, so that nobody is turned away during an upgrade.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use muralla_sockets::bound;
use tokio::net::TcpListener;
use tracing::warn;

use crate::config::MailConfig;

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Service {
    Mx,
    Submission,
    Submissions,
    Pop3,
    Pop3s,
    Milter,
    FilterHttp,
    FilterProxy,
}

/// The socket of one address.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) service: Service,
    address: SocketAddr,
    socket: OwnedFd,
}

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {error}; {help}")]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
    help: &'static str,
}

impl Service {
    /// As the configuration and metrics call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mx => "mx",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
            Self::Milter => "milter",
            Self::FilterHttp => "filter-http",
            Self::FilterProxy => "filter-proxy",
        }
    }
}

/// Takes the sockets of a configuration from those inherited, and makes what is missing.
///
/// # Errors
///
/// When one can't be made.
pub(crate) fn listen(
    config: &MailConfig,
    inherited: Vec<(String, OwnedFd)>,
) -> Result<Vec<Listening>, ListenError> {
    let mut inherited: HashMap<String, OwnedFd> = inherited.into_iter().collect();
    let mut all = Vec::new();
    for (service, address) in wanted(config) {
        let refused = |error: io::Error| ListenError { address, help: help(&error), error };
        let kept = inherited.remove(&name(service, address));
        let socket = kept.map_or_else(|| bound::tcp(address), Ok).map_err(refused)?;
        all.push(Listening { service, address, socket });
    }
    for name in inherited.keys() {
        warn!(name, "an inherited socket is not wanted any more, and closed");
    }
    Ok(all)
}

fn wanted(config: &MailConfig) -> Vec<(Service, SocketAddr)> {
    let mut wanted = Vec::new();
    let mut add = |service, addresses: &[SocketAddr]| {
        wanted.extend(addresses.iter().map(|address| (service, *address)));
    };
    if let Some(mx) = &config.mx {
        add(Service::Mx, &mx.listen);
    }
    if let Some(submission) = &config.submission {
        add(Service::Submission, &submission.listen);
        add(Service::Submissions, &submission.listen_tls);
    }
    if let Some(filter) = &config.filter {
        add(Service::Milter, &filter.milter);
        add(Service::FilterHttp, &filter.http);
        filter.proxies.iter().for_each(|proxy| add(Service::FilterProxy, &[proxy.listen]));
    }
    if let Some(pop3) = &config.pop3 {
        add(Service::Pop3, &pop3.listen);
        add(Service::Pop3s, &pop3.listen_tls);
    }
    wanted
}

impl Listening {
    /// The socket with the name under which it is kept.
    pub(crate) fn descriptor(&self) -> (String, &OwnedFd) {
        (name(self.service, self.address), &self.socket)
    }

    /// Where it really listens, should the port have been left to the system.
    pub(crate) fn bound(&self) -> SocketAddr {
        bound::local_address(&self.socket).unwrap_or(self.address)
    }

    /// Where it was to listen.
    pub(crate) const fn wanted(&self) -> SocketAddr {
        self.address
    }

    /// A listener that shares it.
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        let listener = bound::listener(&self.socket)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }
}

/// A descriptor's name may not have colons in it (sd_pid_notify_with_fds(3)).
fn name(service: Service, address: SocketAddr) -> String {
    format!("mail-{}-{address}", service.name()).replace(':', "_")
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another mail server is running there (`ss -ltnp` shows it): stop it, or choose other addresses under [mail]"
        }
        io::ErrorKind::AddrNotAvailable => {
            "the machine has no such address: correct it under [mail], or give the address to an interface"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: use the service unit, or run as root"
        }
        _ => "see the error",
    }
}
