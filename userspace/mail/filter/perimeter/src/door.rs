//! Connections: over TCP from those who are trusted, over a socket in the file system from those who may open it. Whoever is
//! believed about who sends a message is let in by name, and nobody else.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use crate::counts::{Counts, count};

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A socket in the file system: its permissions say who may come.
    Unix(UnixListener),
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A socket in the file system.
    Unix(UnixStream),
}

/// Who may come, and how many.
#[derive(Debug)]
pub(crate) struct Door {
    trusted: Vec<IpNet>,
    places: Arc<Semaphore>,
    most: usize,
    stop: watch::Sender<bool>,
}

/// Somebody who came in.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) stream: Stream,
    /// From where, unless over a socket in the file system.
    pub(crate) ip: Option<IpAddr>,
    /// Given back when he goes.
    pub(crate) place: OwnedSemaphorePermit,
}

/// How long a listener rests after a failure at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Door {
    pub(crate) fn new(trusted: Vec<IpNet>, connections: usize) -> Self {
        let most = connections.clamp(1, Semaphore::MAX_PERMITS);
        let (places, stop) = (Arc::new(Semaphore::new(most)), watch::Sender::new(false));
        Self { trusted, places, most, stop }
    }

    pub(crate) fn open(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when the door was shut.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            // It fails when the sender is gone, and then there is nobody to stop for.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Waits until nobody is left.
    pub(crate) async fn empty(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // It fails when the semaphore is closed, which nobody does.
        let _ = self.places.acquire_many(all).await;
    }

    /// Whether somebody from there is believed.
    pub(crate) fn is_trusted(&self, ip: Option<IpAddr>) -> bool {
        let Some(ip) = ip else { return true };
        self.trusted.iter().any(|network| network.contains(&ip))
    }

    /// Lets visitors in until the door is shut. Nothing that goes wrong with one of them ends that.
    pub(crate) async fn attend(
        &self,
        listener: Listener,
        counts: &Counts,
        serve: impl Fn(Visitor),
    ) {
        let stopping = self.stopping();
        tokio::pin!(stopping);
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stopping => return,
            };
            let (stream, ip) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    // Out of descriptors or of memory: trying at once would only keep the processor from those who could end.
                    warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            };
            pause = FIRST_PAUSE;
            if !self.is_trusted(ip) {
                count(&counts.turned_away);
                debug!(?ip, "a connection from somewhere that is not trusted");
                continue;
            }
            match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => {
                    count(&counts.connections);
                    serve(Visitor { stream, ip, place });
                }
                Err(_) => count(&counts.turned_away),
            }
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are sent whole: nothing is gained by waiting for more of them.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Some(peer.ip().to_canonical())))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
