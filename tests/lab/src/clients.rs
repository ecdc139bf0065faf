//! Legitimate clients: they send at a steady rate, whatever comes back (an open loop), from real
//! sockets inside a namespace, and tell how many were served and how fast.

mod dns;
mod radius;
mod smtp;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use serde::Serialize;

use crate::histogram::Histogram;
use crate::namespace::Namespace;
use crate::random::Random;

/// What a client speaks.
#[derive(Clone, Debug)]
pub enum Kind {
    /// DNS over UDP; a truncated answer is asked for again over TCP, as a stub resolver does.
    Dns {
        /// Names to ask the A records of, in turn.
        names: Vec<String>,
    },
    /// RADIUS Access-Requests by PAP, with Message-Authenticator.
    Radius {
        /// Shared secret.
        secret: String,
        /// User's name.
        user: String,
        /// User's password; the client counts only Access-Accept as success.
        password: String,
    },
    /// A delivery over SMTP.
    Smtp {
        /// Recipient.
        recipient: String,
        /// Whether a message is sent; otherwise the dialogue ends after RCPT. Its Message-ID is [`message_id`] of its number.
        data: bool,
    },
}

impl Kind {
    /// Queries for a handful of names that the lab's unbound knows.
    pub fn dns() -> Self {
        let names = ["www", "mail", "pop", "a", "news", "shop"];
        Self::Dns { names: names.map(|name| format!("{name}.{}", crate::peers::ZONE)).to_vec() }
    }

    /// A subscriber that the lab's RADIUS server knows.
    pub fn radius() -> Self {
        Self::Radius {
            secret: crate::peers::RADIUS_SECRET.to_owned(),
            user: crate::peers::RADIUS_USER.to_owned(),
            password: crate::peers::RADIUS_PASSWORD.to_owned(),
        }
    }

    /// Mail for a user whom the lab's mail server knows, up to RCPT.
    pub fn smtp() -> Self {
        Self::Smtp { recipient: crate::peers::MAILBOX.to_owned(), data: false }
    }

    /// The port of the service.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Dns { .. } => 53,
            Self::Radius { .. } => 1812,
            Self::Smtp { .. } => 25,
        }
    }
}

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Addresses to send from, in turn; of the target's family, and local in the namespace.
    pub sources: Vec<IpAddr>,
    /// The server.
    pub target: SocketAddr,
    /// Transactions started in a second, at least 1.
    pub rate_per_second: u32,
    /// How long a transaction may take in all.
    pub timeout: Duration,
    /// When a request over UDP is sent once more.
    pub retry_after: Duration,
}

impl ClientOptions {
    /// A client that repeats after 1 s and gives up after 3 s, as stub resolvers and NASes do.
    pub fn new(sources: Vec<IpAddr>, target: SocketAddr, rate_per_second: u32) -> Self {
        Self {
            sources,
            target,
            rate_per_second,
            timeout: Duration::from_secs(3),
            retry_after: Duration::from_secs(1),
        }
    }
}

/// What happened in an interval, or in all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Length of the interval, in seconds.
    pub seconds: f64,
    /// Transactions started.
    pub sent: u64,
    /// Transactions that succeeded; they may have started before the interval.
    pub ok: u64,
    /// Transactions that failed or timed out; they may have started before the interval.
    pub failed: u64,
    /// Those among `ok` that were sent twice.
    pub retried: u64,
    /// Those among `ok` that came back over TCP.
    pub over_tcp: u64,
    /// Median latency of the successes, in microseconds, repetitions included.
    pub p50_us: u64,
    /// Latency that 99 % of the successes stay within, in microseconds.
    pub p99_us: u64,
    /// Largest latency of a success, in microseconds.
    pub max_us: u64,
    /// What went wrong last.
    pub last_failure: Option<String>,
}

impl Snapshot {
    /// Share of the ended transactions that succeeded; 1 when none has ended.
    pub fn success(&self) -> f64 {
        match self.ok + self.failed {
            0 => 1.0,
            ended => self.ok as f64 / ended as f64,
        }
    }
}

/// What a client did in all.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Counts and quantiles from the start to the end.
    pub snapshot: Snapshot,
    /// All latencies of successes in microseconds, to be merged with those of other clients.
    pub latencies: Histogram,
    /// Numbers of the messages that were acknowledged, in no order.
    pub delivered: Vec<usize>,
}

/// How a message calls itself, by its number: the first of a client has 0.
pub fn message_id(number: usize) -> String {
    format!("<{number}@client.example>")
}

/// More threads than this are a mistake in the options.
const MAX_WORKERS: f64 = 3_000.0;

/// Legitimate clients: see [`Client::start`].
#[derive(Debug)]
pub struct Client;

impl Client {
    /// Starts a client in a namespace. It has as many threads as transactions can be under way at
    /// once, so that a server that doesn't answer never slows it down.
    ///
    /// # Errors
    /// When rate times timeout needs more than 3,000 threads, there is no source, families differ,
    /// or the namespace can't be entered.
    pub fn start(
        namespace: &Namespace,
        kind: Kind,
        options: ClientOptions,
    ) -> Result<ClientHandle> {
        check(&options)?;
        let workers = f64::from(options.rate_per_second) * options.timeout.as_secs_f64() + 2.0;
        if workers > MAX_WORKERS {
            bail!(
                "{} per second with a timeout of {:?} needs too many threads: lower one",
                options.rate_per_second,
                options.timeout
            );
        }
        let shared = Arc::new(Shared {
            interval: Duration::from_secs(1) / options.rate_per_second,
            kind,
            options,
            stopped: AtomicBool::new(false),
            next: Mutex::new(Ticket { number: 0, due: Instant::now() }),
            tallies: Mutex::new(Tallies::new()),
        });
        let mut handle = ClientHandle { shared, workers: Vec::new() };
        for _ in 0..workers as usize {
            let shared = Arc::clone(&handle.shared);
            let worker = namespace.thread("client", move || {
                shared.work();
                Ok(())
            });
            handle.workers.push(worker?);
        }
        Ok(handle)
    }

    /// One transaction, without a client around it: how long it took.
    ///
    /// # Errors
    /// When it didn't succeed, and why.
    pub fn once(namespace: &Namespace, kind: Kind, options: ClientOptions) -> Result<Duration> {
        check(&options)?;
        namespace.inside(move || {
            let started = Instant::now();
            perform(&kind, &options, 0, &mut Random::new())?;
            Ok(started.elapsed())
        })
    }
}

fn check(options: &ClientOptions) -> Result<()> {
    if options.sources.is_empty() || options.rate_per_second == 0 {
        bail!("a client needs a source and a rate of at least 1 per second");
    }
    if options.sources.iter().any(|source| source.is_ipv4() != options.target.is_ipv4()) {
        bail!("a client's sources and its target are of different IP versions");
    }
    Ok(())
}

/// A running client. Stopped when dropped.
#[derive(Debug)]
pub struct ClientHandle {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Result<()>>>,
}

impl ClientHandle {
    /// What happened since the last call, or since the start.
    pub fn snapshot(&self) -> Snapshot {
        let mut tallies = self.shared.tallies();
        let interval = std::mem::replace(&mut tallies.interval, Tally::new());
        tallies.total.merge(&interval);
        interval.snapshot()
    }

    /// What [`ClientHandle::snapshot`] tells, with all latencies of the interval, so that intervals of
    /// one's own choice can be put together. Either call ends the interval of the other.
    pub fn interval(&self) -> Totals {
        let mut tallies = self.shared.tallies();
        let interval = std::mem::replace(&mut tallies.interval, Tally::new());
        tallies.total.merge(&interval);
        Totals {
            snapshot: interval.snapshot(),
            latencies: interval.latencies,
            delivered: interval.delivered,
        }
    }

    /// Starts nothing new, waits for what is under way (a timeout at most), and tells all.
    pub fn stop(mut self) -> Totals {
        self.join();
        // The last interval goes into the totals.
        self.snapshot();
        let tallies = self.shared.tallies();
        let total = &tallies.total;
        Totals {
            snapshot: total.snapshot(),
            latencies: total.latencies.clone(),
            delivered: total.delivered.clone(),
        }
    }

    fn join(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            if let Ok(Err(error)) | Err(error) =
                worker.join().map_err(|_| anyhow::anyhow!("a client's thread panicked"))
            {
                self.shared.tallies().interval.last_failure = Some(format!("{error:#}"));
            }
        }
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        self.join();
    }
}

#[derive(Debug)]
struct Shared {
    kind: Kind,
    options: ClientOptions,
    interval: Duration,
    stopped: AtomicBool,
    /// Whoever holds this sleeps until the ticket is due, while the other idle threads queue for
    /// the lock.
    next: Mutex<Ticket>,
    tallies: Mutex<Tallies>,
}

#[derive(Debug)]
struct Ticket {
    number: usize,
    due: Instant,
}

impl Shared {
    fn work(&self) {
        let mut random = Random::new();
        while let Some(number) = self.take_ticket() {
            self.tallies().interval.sent += 1;
            let started = Instant::now();
            let outcome = perform(&self.kind, &self.options, number, &mut random);
            self.tallies().interval.count(started.elapsed(), outcome);
        }
    }

    fn take_ticket(&self) -> Option<usize> {
        let mut ticket = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.stopped.load(Ordering::Relaxed) {
            let wait = ticket.due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                let number = ticket.number;
                ticket.number += 1;
                ticket.due += self.interval;
                return Some(number);
            }
            thread::sleep(wait.min(Duration::from_millis(50)));
        }
        None
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Tallies {
    interval: Tally,
    total: Tally,
}

impl Tallies {
    fn new() -> Self {
        Self { interval: Tally::new(), total: Tally::new() }
    }
}

#[derive(Debug)]
struct Tally {
    since: Instant,
    sent: u64,
    failed: u64,
    retried: u64,
    over_tcp: u64,
    latencies: Histogram,
    delivered: Vec<usize>,
    last_failure: Option<String>,
}

impl Tally {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            sent: 0,
            failed: 0,
            retried: 0,
            over_tcp: 0,
            latencies: Histogram::new(),
            delivered: Vec::new(),
            last_failure: None,
        }
    }

    fn count(&mut self, latency: Duration, outcome: Result<Success>) {
        match outcome {
            Ok(success) => {
                self.latencies.record(latency.as_micros() as u64);
                self.retried += u64::from(success.retried);
                self.over_tcp += u64::from(success.over_tcp);
                self.delivered.extend(success.delivered);
            }
            Err(error) => {
                self.failed += 1;
                self.last_failure = Some(format!("{error:#}"));
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.retried += other.retried;
        self.over_tcp += other.over_tcp;
        self.latencies.merge(&other.latencies);
        self.delivered.extend(&other.delivered);
        if other.last_failure.is_some() {
            self.last_failure.clone_from(&other.last_failure);
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            seconds: self.since.elapsed().as_secs_f64(),
            sent: self.sent,
            ok: self.latencies.count(),
            failed: self.failed,
            retried: self.retried,
            over_tcp: self.over_tcp,
            p50_us: self.latencies.quantile(0.5),
            p99_us: self.latencies.quantile(0.99),
            max_us: self.latencies.max(),
            last_failure: self.last_failure.clone(),
        }
    }
}

/// How a transaction succeeded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Success {
    retried: bool,
    over_tcp: bool,
    /// The number of the message that was acknowledged.
    delivered: Option<usize>,
}

fn perform(
    kind: &Kind,
    options: &ClientOptions,
    number: usize,
    random: &mut Random,
) -> Result<Success> {
    let source = turn(&options.sources, number).context("a client without sources")?;
    match kind {
        Kind::Dns { names } => {
            // Every source asks for every name, even if their numbers have a common divisor.
            let round = number / options.sources.len().max(1);
            let name = turn(names, number.wrapping_add(round)).context("a client without names")?;
            dns::resolve(*source, options, name, random)
        }
        Kind::Radius { secret, user, password } => {
            radius::authenticate(*source, options, secret.as_bytes(), (user, password), random)
        }
        Kind::Smtp { recipient, data } => {
            smtp::deliver(*source, options, recipient, data.then_some(number))
        }
    }
}

fn turn<T>(items: &[T], number: usize) -> Option<&T> {
    items.get(number.checked_rem(items.len())?)
}

/// A request over UDP from a fresh port, sent again after a while, until `accept` takes an answer.
/// Says whether it was sent twice.
fn ask<T>(
    source: IpAddr,
    options: &ClientOptions,
    request: &[u8],
    mut accept: impl FnMut(&[u8]) -> Option<T>,
) -> Result<(T, bool)> {
    let socket =
        std::net::UdpSocket::bind((source, 0)).with_context(|| format!("sending from {source}"))?;
    socket.connect(options.target).context("no route to the server")?;
    let started = Instant::now();
    let mut buffer = [0; 4_096];
    let mut refused = None;
    let waits = [options.retry_after.min(options.timeout), options.timeout];
    for (retried, wait) in [(false, waits[0]), (true, waits[1])] {
        let deadline = started + wait;
        if let Err(error) = socket.send(request) {
            // A report about the packet before (ICMP), or a full queue: as good as lost.
            refused = Some(error);
        }
        while let Some(left) = remaining(deadline) {
            socket.set_read_timeout(Some(left)).context("setting a timeout")?;
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    if let Some(answer) = buffer.get(..length).and_then(&mut accept) {
                        return Ok((answer, retried));
                    }
                }
                Err(error) if is_timeout(&error) => break,
                Err(error) => {
                    refused = Some(error);
                    thread::sleep(remaining(deadline).unwrap_or_default());
                }
            }
        }
    }
    match refused {
        Some(error) => Err(error).context("no answer"),
        None => bail!("no answer within {:?}", options.timeout),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The time until then, if there is any; a socket takes a timeout of zero for none.
fn remaining(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (left > Duration::from_micros(50)).then_some(left)
}

/// Time limits for the next read or write of a connection.
fn limit(stream: &TcpStream, deadline: Instant) -> Result<()> {
    let left = remaining(deadline).context("out of time")?;
    stream.set_read_timeout(Some(left)).context("setting a timeout")?;
    stream.set_write_timeout(Some(left)).context("setting a timeout")
}

/// A TCP connection from a given address, which the standard library can't make.
pub(crate) fn connect_from(
    source: IpAddr,
    target: SocketAddr,
    deadline: Instant,
) -> Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context("making a TCP socket")?;
    bind(&socket, &SocketAddr::new(source, 0)).with_context(|| format!("sending from {source}"))?;
    // On Linux this limits connect() too (socket(7), SO_SNDTIMEO).
    let left = remaining(deadline).context("out of time")?;
    set_socket_timeout(socket.as_fd(), Timeout::Send, Some(left)).context("setting a timeout")?;
    match connect(&socket, &target) {
        Ok(()) => {}
        // How Linux says that SO_SNDTIMEO ended a connect().
        Err(Errno::INPROGRESS) => bail!("connecting to {target}: no answer in time"),
        Err(error) => return Err(error).with_context(|| format!("connecting to {target}")),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    Ok(stream)
}
