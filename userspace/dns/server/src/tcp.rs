//! DNS over TCP (RFC 7766): queries may follow each other without waiting, answers come as they are ready, and nobody
//! holds a connection for nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muralla_sockets::bound;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::clients::client;
use crate::config::LimitsConfig;
use crate::desk::{Asker, Desk, Outcome, Reply};
use crate::report::Transport;
use crate::tally::Event;

/// Longest query that is read: one with every option that is known is a tenth of it.
const LONGEST_QUERY: usize = 4_096;

/// Longest answer.
const LONGEST_ANSWER: usize = 65_535;

/// Answers of one connection that may wait for their turn, those under way among them.
const PIPELINE: usize = 64;

/// One of so many connections may be a stranger's: those of the clients must not wait for the world.
const STRANGERS: usize = 4;

/// Bytes of answers that are written in one go.
const MOST_AT_ONCE: usize = 64 << 10;

/// After an answer of more bytes the next query is read once all before it are written: a client that asks for much and
/// reads nothing is no reason to keep much.
const LARGE: usize = 4 << 10;

/// Time that a client has to take an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Open connections, all and by client.
#[derive(Default)]
pub(crate) struct Connections(Mutex<Open>);

#[derive(Default)]
struct Open {
    all: usize,
    strangers: usize,
    clients: HashMap<IpAddr, usize>,
}

/// Accepts connections until told to stop.
///
/// # Errors
///
/// When the listener can't be used.
pub(crate) fn start(
    desk: &Arc<Desk>,
    connections: &Arc<Connections>,
    listener: &OwnedFd,
    stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let listener = bound::listener(listener)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Ok(tokio::spawn(accept(Arc::clone(desk), Arc::clone(connections), listener, stop)))
}

async fn accept(
    desk: Arc<Desk>,
    connections: Arc<Connections>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let policy = desk.policy();
                let limits = policy.limits.clone();
                let stranger = !policy.clients.contains(peer.ip());
                let room = Room::of(&limits);
                let Some(seat) = Seat::take(&connections, peer.ip(), stranger, room) else {
                    desk.shared_tally().event(Event::TooManyConnections, 1);
                    continue;
                };
                let (desk, stop) = (Arc::clone(&desk), stop.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(desk, stream, peer, limits.idle, stop).await {
                        debug!(%peer, %error, "a DNS connection ended with an error");
                    }
                    drop(seat);
                });
            }
            Err(error) => {
                // Descriptors run out: those who are connected already go on, and leave some time.
                warn!(%error, "a DNS connection can't be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// How many connections may be open.
#[derive(Clone, Copy)]
struct Room {
    all: usize,
    strangers: usize,
    client: usize,
}

impl Room {
    fn of(limits: &LimitsConfig) -> Self {
        let all = limits.connections;
        let strangers = (all / STRANGERS).max(1);
        Self { all, strangers, client: limits.connections_per_client }
    }
}

/// One connection's place among those allowed.
struct Seat {
    connections: Arc<Connections>,
    client: IpAddr,
    stranger: bool,
}

impl Seat {
    fn take(
        connections: &Arc<Connections>,
        peer: IpAddr,
        stranger: bool,
        room: Room,
    ) -> Option<Self> {
        let client = client(peer);
        let mut open = connections.0.lock();
        let mine = open.clients.get(&client).copied().unwrap_or(0);
        let is_full = open.all >= room.all || stranger && open.strangers >= room.strangers;
        if is_full || mine >= room.client {
            return None;
        }
        open.all += 1;
        open.strangers += usize::from(stranger);
        open.clients.insert(client, mine + 1);
        Some(Self { connections: Arc::clone(connections), client, stranger })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.connections.0.lock();
        open.all -= 1;
        open.strangers -= usize::from(self.stranger);
        match open.clients.get_mut(&self.client) {
            Some(mine) if *mine > 1 => *mine -= 1,
            _ => {
                open.clients.remove(&self.client);
            }
        }
    }
}

impl Connections {
    pub(crate) fn open(&self) -> usize {
        self.0.lock().all
    }
}

async fn serve(
    desk: Arc<Desk>,
    stream: TcpStream,
    peer: SocketAddr,
    idle: Duration,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let (answers, pending) = mpsc::channel(PIPELINE);
    let writing = tokio::spawn(write(writer, pending));
    let mut query = vec![0; LONGEST_QUERY];
    let mut answer = vec![0; LONGEST_ANSWER];
    let outcome = loop {
        let len = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break Ok(()),
            len = timeout(idle, reader.read_u16()) => match len {
                Ok(Ok(len)) => usize::from(len),
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break Ok(()),
                Ok(Err(error)) => break Err(error),
                Err(_) => break Ok(()),
            },
        };
        let Some(query) = query.get_mut(..len) else {
            break Err(io::Error::other("the query is longer than any real one"));
        };
        match timeout(idle, reader.read_exact(query)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => break Err(error),
            Err(_) => break Err(io::ErrorKind::TimedOut.into()),
        }
        // With as many answers under way as are allowed, nothing more is read.
        let Ok(permit) = answers.clone().reserve_owned().await else {
            break Ok(());
        };
        let begin = Instant::now();
        let policy = desk.policy();
        let asker = Asker { peer, transport: Transport::Tcp, begin };
        let mut permit = Some(permit);
        let reply = || Reply::Tcp(permit.take());
        let tally = desk.shared_tally();
        match desk.handle(&policy, tally, query, asker, &mut answer, reply) {
            Outcome::Answer { len, answered } => {
                if let (Some(permit), Some(answer)) = (permit, answer.get(..len)) {
                    permit.send(answer.to_vec());
                }
                tally.answered(answered, begin.elapsed());
                if len > LARGE && answers.reserve_many(PIPELINE).await.is_err() {
                    break Ok(());
                }
            }
            Outcome::Later => {}
            Outcome::Silence => {
                tally.event(Event::Silence, 1);
                break Ok(());
            }
        }
    };
    drop(answers);
    // Answers under way are still given.
    match writing.await {
        Ok(written) => outcome.and(written),
        Err(_) => outcome,
    }
}

async fn write(mut writer: OwnedWriteHalf, mut pending: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(first) = pending.recv().await {
        buffer.clear();
        put(&mut buffer, &first);
        while buffer.len() < MOST_AT_ONCE
            && let Ok(next) = pending.try_recv()
        {
            put(&mut buffer, &next);
        }
        timeout(WRITE_PATIENCE, writer.write_all(&buffer)).await??;
        buffer.shrink_to(MOST_AT_ONCE);
    }
    Ok(())
}

/// Puts an answer behind its length. What is longer than a length can say is never made.
fn put(buffer: &mut Vec<u8>, answer: &[u8]) {
    if let Ok(len) = u16::try_from(answer.len()) {
        buffer.extend_from_slice(&len.to_be_bytes());
        buffer.extend_from_slice(answer);
    }
}
