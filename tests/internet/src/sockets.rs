//! Servers on real addresses: UDP and TCP sockets that answer for an [`Internet`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::internet::{Internet, Protocol, Reply};

/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// Largest query that is read over UDP, octets.
const MAX_QUERY: usize = 4_096;

/// Servers that run. They end when this is dropped.
#[derive(Debug)]
pub struct Serving {
    tasks: JoinSet<()>,
}

impl Serving {
    /// How many sockets are served.
    pub fn sockets(&self) -> usize {
        self.tasks.len()
    }

    /// Ends the servers and waits until their addresses are free. Answers on their way are still sent.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Binds every address over UDP and TCP in the network namespace of the calling thread, and answers there. Port 53 is
/// what a resolver asks; several servers may share an address only if their ports differ, and the [`Internet`] knows
/// them by address alone.
///
/// Runs on the tokio runtime of the caller, whose threads must be in the same namespace.
///
/// # Errors
/// An address can't be bound; none is then served.
pub async fn serve(internet: Arc<Internet>, addresses: &[SocketAddr]) -> io::Result<Serving> {
    let mut tasks = JoinSet::new();
    for &address in addresses {
        let udp = Arc::new(UdpSocket::bind(address).await?);
        tasks.spawn(datagrams(internet.clone(), udp, address));
        if internet.accepts_tcp(address) {
            let tcp = TcpListener::bind(address).await?;
            tasks.spawn(connections(internet.clone(), tcp, address));
        }
    }
    Ok(Serving { tasks })
}

async fn datagrams(internet: Arc<Internet>, socket: Arc<UdpSocket>, address: SocketAddr) {
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        // An error is an ICMP message about an earlier answer: the socket goes on.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let query = buffer.get(..length).unwrap_or(&[]);
        for Reply { after, bytes } in internet.answer(address, Protocol::Udp, query, now()) {
            let socket = socket.clone();
            tokio::spawn(async move {
                sleep(after).await;
                socket.send_to(&bytes, client).await.ok();
            });
        }
    }
}

async fn connections(internet: Arc<Internet>, listener: TcpListener, address: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(internet.clone(), stream, address));
            }
            // No more descriptors: others must end first.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(internet: Arc<Internet>, stream: TcpStream, address: SocketAddr) {
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    while let Ok(Ok(length)) = timeout(IDLE, reader.read_u16()).await {
        let mut query = vec![0; length.into()];
        if !matches!(timeout(IDLE, reader.read_exact(&mut query)).await, Ok(Ok(_))) {
            return;
        }
        for Reply { after, bytes } in internet.answer(address, Protocol::Tcp, &query, now()) {
            let writer = writer.clone();
            tokio::spawn(async move {
                sleep(after).await;
                let Ok(length) = u16::try_from(bytes.len()) else { return };
                let message = [&length.to_be_bytes()[..], &bytes].concat();
                writer.lock().await.write_all(&message).await.ok();
            });
        }
    }
}

/// Unix time in seconds.
fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
