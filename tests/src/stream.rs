//! Numbered datagrams from one namespace to another: whatever is changed meanwhile, one sees every single one
//! that was lost, and every single one that should have been.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use muralla_lab::namespace::Namespace;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

/// Between two datagrams: about 1,500 a second.
const PACE: Duration = Duration::from_micros(600);

/// Time for the last datagram to arrive.
const LINGER: Duration = Duration::from_millis(500);

/// A running stream. Ended when dropped.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Result<()>>>,
    receiver: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    received: AtomicU64,
    sender_stops: AtomicBool,
    receiver_stops: AtomicBool,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Totals {
    /// Datagrams that left.
    pub sent: u64,
    /// Those that arrived, each counted once.
    pub received: u64,
}

impl Totals {
    /// Datagrams that did not arrive.
    pub const fn lost(self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

impl Stream {
    /// Sends from an address of one namespace to a socket of another.
    ///
    /// # Errors
    /// When an address is not there.
    pub fn start(
        from: &Namespace,
        source: IpAddr,
        to: &Namespace,
        target: SocketAddr,
    ) -> Result<Self> {
        let socket = to.inside(move || {
            let socket =
                UdpSocket::bind(target).with_context(|| format!("receiving on {target}"))?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            // A test's machine is busy: what waits here was not lost by the wall.
            set_socket_recv_buffer_size_force(socket.as_fd(), 8 << 20)?;
            Ok(socket)
        })?;
        let sending = from.inside(move || {
            let socket = UdpSocket::bind((source, 0)).with_context(|| format!("from {source}"))?;
            socket.connect(target)?;
            Ok(socket)
        })?;
        let shared = Arc::new(Shared::default());
        let (of_sender, of_receiver) = (Arc::clone(&shared), Arc::clone(&shared));
        Ok(Self {
            shared,
            sender: Some(thread::spawn(move || send(&sending, &of_sender))),
            receiver: Some(thread::spawn(move || receive(&socket, &of_receiver))),
        })
    }

    /// What has become of it so far; the latest may still be under way.
    pub fn so_far(&self) -> Totals {
        Totals {
            sent: self.shared.sent.load(Ordering::Relaxed),
            received: self.shared.received.load(Ordering::Relaxed),
        }
    }

    /// Ends it and tells all.
    ///
    /// # Errors
    /// When a socket failed.
    pub fn stop(mut self) -> Result<Totals> {
        self.end()?;
        Ok(self.so_far())
    }

    fn end(&mut self) -> Result<()> {
        let join = |thread: &mut Option<JoinHandle<Result<()>>>| match thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("a stream's thread panicked"))?,
            None => Ok(()),
        };
        self.shared.sender_stops.store(true, Ordering::Relaxed);
        let sent = join(&mut self.sender);
        thread::sleep(LINGER);
        self.shared.receiver_stops.store(true, Ordering::Relaxed);
        join(&mut self.receiver).and(sent)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.sender.is_some() {
            // Its errors were for `stop`.
            let _ = self.end();
        }
    }
}

fn send(socket: &UdpSocket, shared: &Shared) -> Result<()> {
    while !shared.sender_stops.load(Ordering::Relaxed) {
        let number = shared.sent.load(Ordering::Relaxed);
        // An error says that nobody listened to an earlier one, or that there is no way at the moment: not the
        // wall's doing, and the number is used again.
        if socket.send(&number.to_be_bytes()).is_ok() {
            shared.sent.store(number + 1, Ordering::Relaxed);
        }
        thread::sleep(PACE);
    }
    Ok(())
}

fn receive(socket: &UdpSocket, shared: &Shared) -> Result<()> {
    let mut seen = HashSet::new();
    let mut buffer = [0; 16];
    while !shared.receiver_stops.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        seen.insert(buffer.get(..length).unwrap_or_default().to_vec());
        shared.received.store(seen.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}
