//! Queries at a rate, from real sockets of many clients, whatever comes back: an open loop, so that a slow
//! server is not asked less.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::{Load, Outcome};
use crate::cpu::pin;
use crate::frames::dns::HEADER;
use crate::kernel::wait_readable;
use crate::namespace::Namespace;

/// What clients do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of clients, which take turns; of the target's family, and local in the namespace.
    pub sources: Vec<IpAddr>,
    /// The server.
    pub target: SocketAddr,
    /// Queries a second.
    pub rate: u32,
    /// When a query without an answer is lost.
    pub patience: Duration,
    /// The core that they run on.
    pub core: usize,
}

/// Clients that ask. They end when dropped.
#[derive(Debug)]
pub struct Steady {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    interval: Mutex<Outcome>,
}

impl Shared {
    fn interval(&self) -> MutexGuard<'_, Outcome> {
        self.interval.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steady {
    /// Starts clients in a namespace. They go through the load again and again until they are stopped.
    ///
    /// # Errors
    /// When there is nothing to ask or nobody to ask it, or a socket can't be made.
    pub fn start(namespace: &Namespace, load: Load, options: Options) -> Result<Self> {
        Self::begin(namespace, load, options, u64::MAX)
    }

    /// Asks every query of the load once and waits for the last answer.
    ///
    /// # Errors
    /// As [`Steady::start`].
    pub fn once(namespace: &Namespace, load: Load, options: Options) -> Result<Outcome> {
        let most = load.len() as u64;
        let mut steady = Self::begin(namespace, load, options, most)?;
        if let Some(thread) = steady.thread.take() {
            thread.join().map_err(|_| anyhow!("the clients panicked"))??;
        }
        Ok(std::mem::take(&mut *steady.shared.interval()))
    }

    fn begin(namespace: &Namespace, load: Load, options: Options, most: u64) -> Result<Self> {
        if load.is_empty() || options.sources.is_empty() || options.rate == 0 {
            bail!("a load needs questions, clients, and a rate of at least 1 per second");
        }
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = namespace.thread("steady", move || {
            pin(0, options.core)?;
            Clients::new(&load, &options)?.work(&theirs, most)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What happened since the last call. Latencies and losses are of queries that ended in this time.
    pub fn interval(&self) -> Outcome {
        std::mem::take(&mut *self.shared.interval())
    }

    /// Asks nothing new, waits for what is under way, and tells what happened since the last interval.
    ///
    /// # Errors
    /// When the clients ended early, and why.
    pub fn stop(mut self) -> Result<Outcome> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the clients panicked"))??;
        }
        Ok(self.interval())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its errors were for `stop`.
            let _ = thread.join();
        }
    }
}

struct Clients<'l> {
    load: &'l Load,
    options: &'l Options,
    sockets: Vec<UdpSocket>,
    /// By client and id.
    pending: Vec<Vec<Option<Pending>>>,
    /// In the order of asking; answered ones are still in it.
    asked: VecDeque<(Instant, usize, u16)>,
}

#[derive(Clone, Copy)]
struct Pending {
    at: Instant,
    question: u32,
}

const IDS: usize = 1 << 16;
/// Longest wait for sockets, so that losses and the end are noticed.
const BREAK: Duration = Duration::from_millis(5);
/// Kernel memory for answers that wait for a client's turn.
const RECEIVE_BUFFER: usize = 4 << 20;

impl<'l> Clients<'l> {
    fn new(load: &'l Load, options: &'l Options) -> Result<Self> {
        let sockets = options.sources.iter().map(|source| {
            let socket =
                UdpSocket::bind((*source, 0)).with_context(|| format!("sending from {source}"))?;
            socket.connect(options.target).context("no route to the server")?;
            socket.set_nonblocking(true).context("a socket that doesn't block")?;
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)
                .context("a large buffer")?;
            Ok(socket)
        });
        let sockets: Vec<UdpSocket> = sockets.collect::<Result<_>>()?;
        let pending = vec![vec![None; IDS]; sockets.len()];
        Ok(Self { load, options, sockets, pending, asked: VecDeque::new() })
    }

    fn work(mut self, shared: &Shared, most: u64) -> Result<()> {
        let begun = Instant::now();
        let rate = f64::from(self.options.rate);
        let mut number = 0_u64;
        let mut waited = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let over = number >= most || shared.stopped.load(Ordering::Relaxed);
            if over && self.asked.is_empty() {
                return Ok(());
            }
            let mut tally = Outcome::default();
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            while !over && number < due.min(most) {
                self.ask(number, &mut tally);
                number += 1;
            }
            let next = Duration::from_secs_f64((number + 1) as f64 / rate);
            let patience = next.saturating_sub(begun.elapsed()).min(BREAK);
            if wait_readable(&mut waited, &self.sockets, patience).context("waiting")? {
                for client in 0..self.sockets.len() {
                    if waited.get(client).is_some_and(|socket| socket.revents != 0) {
                        self.receive(client, &mut buffer, &mut tally);
                    }
                }
            }
            self.give_up(&mut tally);
            shared.interval().add(&tally);
        }
    }

    fn ask(&mut self, number: u64, tally: &mut Outcome) {
        let clients = self.sockets.len() as u64;
        let (client, id) = ((number % clients) as usize, (number / clients) as u16);
        let Some(question) = self.load.question(number) else { return };
        let (Some(query), Some(socket)) = (self.load.query(question), self.sockets.get(client))
        else {
            return;
        };
        let mut message = query.to_vec();
        if let Some(place) = message.get_mut(..2) {
            place.copy_from_slice(&id.to_be_bytes());
        }
        let at = Instant::now();
        // What can't be sent, or is refused by an ICMP message, is lost in time.
        let _ = socket.send(&message);
        tally.sent += 1;
        if let Some(slot) =
            self.pending.get_mut(client).and_then(|ids| ids.get_mut(usize::from(id)))
        {
            *slot = Some(Pending { at, question });
            self.asked.push_back((at, client, id));
        }
    }

    fn receive(&mut self, client: usize, buffer: &mut [u8], tally: &mut Outcome) {
        let (Some(socket), Some(ids)) = (self.sockets.get(client), self.pending.get_mut(client))
        else {
            return;
        };
        loop {
            let length = match socket.recv(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A report about an earlier packet; answers may wait behind it.
                Err(_) => continue,
            };
            let Some((&[i0, i1, high, low, ..], rest)) =
                buffer.get(..length).and_then(|message| message.split_first_chunk::<HEADER>())
            else {
                tally.wrong += 1;
                continue;
            };
            let slot = ids.get_mut(usize::from(u16::from_be_bytes([i0, i1])));
            // An answer after the client gave up is none.
            let Some(slot) = slot else { continue };
            let Some(pending) = *slot else { continue };
            let question = self.load.query(pending.question).and_then(|query| query.get(HEADER..));
            if high & 0x80 == 0 || !question.is_some_and(|question| rest.starts_with(question)) {
                tally.wrong += 1;
                continue;
            }
            *slot = None;
            if let Some(code) = tally.codes.get_mut(usize::from(low & 0xf)) {
                *code += 1;
            }
            tally.truncated += u64::from(high & 2 != 0);
            tally.latencies.record(pending.at.elapsed().as_micros() as u64);
        }
    }

    fn give_up(&mut self, tally: &mut Outcome) {
        while let Some(&(at, client, id)) = self.asked.front() {
            let slot = self.pending.get_mut(client).and_then(|ids| ids.get_mut(usize::from(id)));
            if let Some(slot) = slot
                && slot.is_some_and(|pending| pending.at == at)
            {
                if at.elapsed() < self.options.patience {
                    return;
                }
                *slot = None;
                tally.lost += 1;
            }
            self.asked.pop_front();
        }
    }
}
