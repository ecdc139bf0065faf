//! TCP connections from an address of one's choice, which the standard library can't make, and a server that
//! says everything back.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use muralla_lab::namespace::Namespace;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Connects, or gives up after `patience`, which is then also the connection's patience.
///
/// # Errors
/// When the source is not there, or nobody answers.
pub fn connect_from(
    namespace: &Namespace,
    source: IpAddr,
    target: SocketAddr,
    patience: Duration,
) -> Result<TcpStream> {
    namespace.inside(move || {
        let family = match target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context("making a socket")?;
        bind(&socket, &SocketAddr::new(source, 0))
            .with_context(|| format!("binding to {source}"))?;
        // On Linux this limits connect() too (socket(7), SO_SNDTIMEO).
        for timeout in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(socket.as_fd(), timeout, Some(patience)).context("a timeout")?;
        }
        connect(&socket, &target).with_context(|| format!("connecting {source} to {target}"))?;
        Ok(TcpStream::from(socket))
    })
}

/// Sends a word and waits until it comes back.
///
/// # Errors
/// When it doesn't within the connection's patience.
pub fn echoed(mut stream: &TcpStream, word: &str) -> Result<()> {
    stream.write_all(word.as_bytes()).context("sending")?;
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).context("waiting for the echo")?;
    anyhow::ensure!(back == word.as_bytes(), "another word came back");
    Ok(())
}

/// Starts a server that says everything back. It lasts as long as the test's process.
///
/// # Errors
/// When the port is taken.
pub fn serve_echo(namespace: &Namespace, address: SocketAddr) -> Result<()> {
    let listener = namespace.inside(move || {
        TcpListener::bind(address).with_context(|| format!("listening on {address}"))
    })?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 512];
                let mut stream = stream;
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let said = buffer.get(..length).unwrap_or_default();
                    if stream.write_all(said).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}
