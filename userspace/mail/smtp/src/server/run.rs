//! Sessions on connections: what reads, writes, waits and counts.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use muralla_mail_envelope::{Client, Envelope, MessageId, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, warn};

use super::behind::proxied;
use super::config::{Config, Mode};
use super::handler::{Decision, Handler, Peer, Welcome};
use super::memory::{Memory, Share};
use super::pace::Pace;
use super::report::End;
use super::session::{Incoming, Offers, Phase, Session, Step};
use super::sources::{Counted, Regulars, Sources};
use crate::tls::Wire;

/// When TLS begins.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Security {
    /// When the client says `STARTTLS`.
    StartTls,
    /// At once: RFC 8314 section 3.3.
    Implicit,
}

/// A server: all its listeners and connections have one handler, one budget of memory, one count of sources. Cheap to clone.
#[derive(Debug)]
pub struct Server<H>(Arc<Shared<H>>);

/// What a server is doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Connections.
    pub connections: usize,
    /// Sources that have them.
    pub sources: usize,
    /// Octets of memory that messages take which come in.
    pub memory: usize,
    /// Connections that were turned away because there were too many, since the start.
    pub turned_away: u64,
    /// Whether there are so many that only clients who are known well get one.
    pub full: bool,
}

#[derive(Debug)]
struct Shared<H> {
    config: ArcSwap<Config>,
    handler: H,
    memory: Memory,
    sources: Sources,
    connections: Arc<Semaphore>,
    most_connections: usize,
    /// The last ones, which are for clients who are known well.
    reserved: usize,
    regulars: Regulars,
    turned_away: AtomicU64,
    stop: watch::Sender<bool>,
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Handler> Server<H> {
    /// A server.
    #[must_use]
    pub fn new(config: Config, handler: H) -> Self {
        let most_connections = config.limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        let memory = Memory::new(config.limits.memory);
        // One message fits in any case.
        let largest = usize::try_from(config.limits.largest_message).unwrap_or(usize::MAX);
        let part = config.limits.memory_per_source.max(largest.saturating_add(MARGIN));
        Self(Arc::new(Shared {
            sources: Sources::new(memory.units(part)),
            memory,
            config: ArcSwap::from_pointee(config),
            handler,
            connections: Arc::new(Semaphore::new(most_connections)),
            most_connections,
            reserved: most_connections / RESERVED,
            regulars: Regulars::default(),
            turned_away: AtomicU64::new(0),
            stop: watch::Sender::new(false),
        }))
    }

    /// Another configuration, for connections that begin after that. How much memory there is and how many connections may be
    /// stays what it was.
    pub fn reconfigure(&self, config: Config) {
        self.0.config.store(Arc::new(config));
    }

    /// Who decides.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.0.handler
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let Shared { memory, sources, connections, most_connections, turned_away, .. } = &*self.0;
        Status {
            full: connections.available_permits() <= self.0.reserved,
            connections: most_connections.saturating_sub(connections.available_permits()),
            sources: sources.len(),
            memory: memory.used(),
            turned_away: turned_away.load(Ordering::Relaxed),
        }
    }

    /// Stops: listeners end, clients who do nothing are sent away, and the others when they have finished what they began.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Waits until no connection is left.
    pub async fn stopped(&self) {
        let all = u32::try_from(self.0.most_connections).unwrap_or(u32::MAX);
        // It fails when the semaphore is closed, which nobody does.
        let _ = self.0.connections.acquire_many(all).await;
    }

    /// Takes connections until [`Server::stop`].
    ///
    /// Whatever goes wrong with a connection, or with all of them for a while, ends no listener.
    pub async fn listen(&self, listener: TcpListener, security: Security) {
        let mut stop = self.0.stop.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    pause = FIRST_PAUSE;
                    self.take(stream, remote, security);
                }
                // Of a client who was gone before we looked.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors or of memory: trying at once would only keep the processor from those who could end.
                    warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, remote: SocketAddr, security: Security) {
        let Some(permit) = self.0.admit(remote.ip()) else {
            self.0.turned_away.fetch_add(1, Ordering::Relaxed);
            if security == Security::StartTls
                && let Ok(mut stream) = stream.into_std()
            {
                // A word that fits into the empty buffer of a new connection, so that nobody waits here.
                let _ = stream.write(FULL);
            }
            return;
        };
        let server = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // Replies are sent whole: nothing is gained by waiting for more of them.
            let _ = stream.set_nodelay(true);
            let Ok(local) = stream.local_addr() else { return };
            server.serve(stream, Peer { remote, local }, security).await;
        });
    }

    /// Serves a connection to its end.
    pub async fn serve<S>(&self, stream: S, peer: Peer, security: Security)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let config = self.0.config.load_full();
        let mut wire = Wire::Plain(stream);
        let mut input = BytesMut::with_capacity(SMALL);
        let Some(peer) = proxied(&config, peer, &mut wire, &mut input).await else {
            debug!(client = %peer.remote, "no PROXY header came");
            return;
        };
        let ip = peer.remote.ip().to_canonical();
        let counted = self.0.sources.count(ip, config.limits.connections_per_source);
        let Some(counted) = counted else {
            self.0.turned_away.fetch_add(1, Ordering::Relaxed);
            self.0.handler.crowded(ip);
            if security == Security::StartTls {
                let told = timeout(config.times.linger, wire.write_all(CROWDED));
                // He need not hear it.
                let _ = told.await;
            }
            return;
        };
        let offers =
            Offers { start_tls: config.certificates.is_some(), scram: self.0.handler.has_scram() };
        let client = client(ip, config.mode);
        let session = Session::new(Arc::clone(&config), client, offers, rand::random);
        let now = Instant::now();
        let run = Run {
            server: &self.0,
            times: config.times,
            stop: self.0.stop.subscribe(),
            grace: None,
            memory: H::Memory::default(),
            share: Share::default(),
            session,
            wire,
            input,
            filled: false,
            until: now + config.times.session,
            replied: now,
            message: None,
            config,
            counted,
        };
        run.run(peer, security).await;
    }
}

impl<H> Shared<H> {
    /// A place for a connection from there, if there is one.
    fn admit(&self, from: IpAddr) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        let left = self.connections.available_permits();
        (left >= self.reserved || self.is_known(from.to_canonical())).then_some(permit)
    }

    /// Whether somebody is worth one of the last places: who sent mail that was taken, a balancer, and this machine.
    fn is_known(&self, from: IpAddr) -> bool {
        from.is_loopback()
            || self.regulars.has(from)
            || self.config.load().proxies.iter().any(|network| network.contains(&from))
    }

    /// Whether so many are connected that nobody may do nothing for long.
    fn is_pressed(&self) -> bool {
        self.connections.available_permits() < self.most_connections / 4
    }
}

/// One of so many places is for clients who are known well.
const RESERVED: usize = 16;

/// Octets that a message's memory may have beyond the message.
const MARGIN: usize = 2 << 20;

/// How long a listener rests after a failure at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a client who has begun no message may go on when the server stops: he was greeted, and would be turned away.
const GRACE: Duration = Duration::from_secs(2);

const FULL: &[u8] =
    b"421 4.3.2 This server has all the connections that it can have, call again\r\n";

const CROWDED: &[u8] = b"421 4.7.0 You have too many connections to this server\r\n";

/// Octets that are read at once: of commands, and of messages that came fast so far.
const SMALL: usize = 8 << 10;
const LARGE: usize = 64 << 10;

/// A connection.
struct Run<'a, H: Handler, S> {
    server: &'a Shared<H>,
    config: Arc<Config>,
    times: super::config::Times,
    stop: watch::Receiver<bool>,
    /// Until when he may begin his first message, once the server stops.
    grace: Option<Instant>,
    memory: H::Memory,
    share: Share,
    session: Session,
    wire: Wire<S>,
    input: BytesMut,
    /// Whether the last read got as much as it could.
    filled: bool,
    /// When the session has to be over.
    until: Instant,
    /// When the client was last told something.
    replied: Instant,
    /// The message which he sends.
    message: Option<Sending>,
    counted: Counted,
}

/// A message that is being sent.
struct Sending {
    /// When it began.
    begun: Instant,
    pace: Pace,
}

impl<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send> Run<'_, H, S> {
    async fn run(mut self, peer: Peer, security: Security) {
        if let Err(end) = self.converse(peer, security).await {
            self.session.end(end);
        }
        self.share.release();
        let Self { server, memory, session, .. } = self;
        if session.report().accepted > 0 {
            server.regulars.note(session.client().ip);
        }
        server.handler.closed(memory, session.client(), session.report()).await;
    }

    /// From the first word to the last.
    async fn converse(&mut self, peer: Peer, security: Security) -> Result<(), End> {
        let welcome = self.server.handler.connected(&mut self.memory, peer).await;
        self.session.client_mut().name.clone_from(&welcome.name);
        if security == Security::Implicit {
            // Who isn't wanted is not worth a handshake, and understands nothing without one.
            if let Decision::Close(_) = welcome.decision {
                return Err(End::Refused);
            }
            self.secure().await?;
        } else {
            self.listen_first(&welcome).await?;
        }
        if self.session.report().end == End::Open {
            self.session.welcome(welcome.decision);
        }
        loop {
            match self.session.step(&mut self.input) {
                Step::Read => {
                    self.flush().await?;
                    self.read().await?;
                }
                Step::Close => {
                    self.flush().await?;
                    self.hang_up().await;
                    return Ok(());
                }
                Step::StartTls => {
                    self.flush().await?;
                    self.secure().await?;
                    self.replied = Instant::now();
                }
                step => self.ask(step).await,
            }
        }
    }

    /// Lets the handler answer.
    async fn ask(&mut self, step: Step) {
        let Self { server, memory, session, .. } = self;
        let handler = &server.handler;
        match step {
            Step::Hello => {
                let decision = handler.hello(memory, session.about()).await;
                session.greeted(decision);
            }
            Step::Mail(mail) => {
                let decision = handler.mail(memory, session.about(), &mail).await;
                session.mail_decided(mail, decision);
            }
            Step::Rcpt(recipient) => {
                let decision = handler.rcpt(memory, session.about(), &recipient).await;
                session.rcpt_decided(recipient, decision);
            }
            Step::Data => {
                let decision = handler.data(memory, session.about()).await;
                session.data_decided(decision);
            }
            Step::Message(incoming) => self.deliver(incoming).await,
            Step::Password { mechanism, user, password } => {
                let about = session.about();
                let checked = handler.password(memory, about, mechanism, &user, &password).await;
                session.password_checked(checked);
            }
            Step::Keys { user } => {
                let found = handler.keys(memory, session.about(), &user).await;
                session.keys_found(found);
            }
            Step::Proof { user, message, proof } => {
                let about = session.about();
                let proved = handler.proof(memory, about, &user, &message, &proof).await;
                session.proof_checked(proved);
            }
            Step::Read | Step::Close | Step::StartTls => {}
        }
    }

    async fn deliver(&mut self, incoming: Incoming) {
        let Incoming { mail, recipients, message } = incoming;
        self.message = None;
        let id = MessageId(rand::random());
        let envelope = Envelope {
            id,
            from: mail.from,
            mail: mail.parameters,
            recipients,
            received_at: now(),
            client: self.session.client().clone(),
        };
        let about = self.session.about();
        let handler = &self.server.handler;
        let decisions = if self.config.mode == Mode::Lmtp {
            handler.lmtp_message(&mut self.memory, about, envelope, message).await
        } else {
            vec![handler.message(&mut self.memory, about, envelope, message).await]
        };
        self.share.release();
        self.session.message_decided(&id, decisions);
    }

    /// Waits a while for a client who may not wait for us: RFC 5321 section 4.3.1.
    async fn listen_first(&mut self, welcome: &Welcome) -> Result<(), End> {
        if welcome.pause.is_zero() {
            return Ok(());
        }
        self.input.reserve(SMALL);
        match timeout(welcome.pause, self.wire.read_buf(&mut self.input)).await {
            Err(_) => {}
            Ok(Ok(octets)) if octets > 0 => self.session.spoke_early(welcome.refuse_early),
            Ok(_) => return Err(End::Lost),
        }
        self.replied = Instant::now();
        Ok(())
    }

    async fn secure(&mut self) -> Result<(), End> {
        let Some(certificates) = self.config.certificates.clone() else { return Err(End::Tls) };
        match timeout(self.times.handshake, self.wire.accept(&certificates)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(client = %self.session.client().ip, %error, "no TLS");
                return Err(End::Tls);
            }
            Err(_) => return Err(End::TimedOut),
        }
        self.input.clear();
        self.session.secured(self.wire.facts().unwrap_or_default(), self.wire.binding());
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        let Self { wire, session, .. } = self;
        let out = session.output();
        if out.is_empty() {
            return Ok(());
        }
        let written = timeout(self.times.write, async {
            wire.write_all(out).await?;
            wire.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Lost),
            Err(_) => return Err(End::TimedOut),
        }
        out.clear();
        self.replied = Instant::now();
        Ok(())
    }

    /// Reads what comes, or finds that nothing will.
    async fn read(&mut self) -> Result<(), End> {
        let phase = self.session.phase();
        self.reserve(phase).await;
        let now = Instant::now();
        // Between two chunks as well: what came is kept meanwhile.
        if phase == Phase::Message || self.session.memory() > 0 {
            let sending = || Sending { begun: now, pace: Pace::new(self.times.data) };
            self.message.get_or_insert_with(sending);
        } else {
            self.message = None;
        }
        let may_go = phase == Phase::Idle && self.input.is_empty();
        let is_new = self.session.report().mails == 0;
        let read = loop {
            // Now and then it is looked whether others need the place.
            let look = self.due(phase, now).min(Instant::now() + self.times.pressed);
            let Self { wire, input, stop, grace, .. } = self;
            let stopped = async {
                let _ = stop.wait_for(|stop| *stop).await;
                let grace = *grace.get_or_insert_with(|| Instant::now() + GRACE);
                if is_new {
                    sleep_until(grace).await;
                }
            };
            let read = tokio::select! {
                biased;
                read = timeout_at(look, wire.read_buf(input)) => Some(read),
                () = stopped, if may_go => None,
            };
            if !matches!(read, Some(Err(_))) || Instant::now() >= self.due(phase, now) {
                break read;
            }
        };
        match read {
            None => self.session.stopped(),
            Some(Ok(Ok(0) | Err(_))) => return Err(End::Lost),
            Some(Ok(Ok(octets))) => {
                self.filled = self.input.len() == self.input.capacity();
                if let Some(message) = &mut self.message {
                    let rate = self.config.limits.least_rate;
                    message.pace.came(octets, now.elapsed(), rate, self.times.data);
                }
            }
            Some(Err(_)) => self.session.timed_out(),
        }
        Ok(())
    }

    /// Until when a client is waited for who is waited for since `now`.
    fn due(&self, phase: Phase, now: Instant) -> Instant {
        let mut due = self.until;
        if phase != Phase::Message {
            let command = match self.server.is_pressed() {
                true => self.times.command.min(self.times.pressed),
                false => self.times.command,
            };
            // From the last reply, not from the last octet: who sends a command octet by octet gains nothing.
            due = due.min(self.replied + command);
        }
        if let Some(Sending { begun, pace }) = &self.message {
            due = due.min(*begun + self.times.message).min(now + pace.left());
        }
        due
    }

    /// Makes room for what comes, if all messages together leave any.
    async fn reserve(&mut self, phase: Phase) {
        let held = self.session.memory();
        if held == 0 {
            self.share.release();
        } else if !self
            .server
            .memory
            .cover(&mut self.share, self.counted.memory(), held, self.times.memory)
            .await
        {
            self.session.no_memory();
            self.share.release();
        }
        if phase == Phase::Message {
            self.input.reserve(if self.filled { LARGE } else { SMALL });
        } else if self.input.is_empty() && self.input.capacity() > SMALL {
            // Most of the time a connection does nothing, and should not take much for it.
            self.input = BytesMut::with_capacity(SMALL);
        } else {
            self.input.reserve(SMALL / 2);
        }
    }

    /// Ends the connection so that the client hears the last reply. If there were anything from him that we have not read, the
    /// system would tell him that the connection broke, and he might never see it.
    async fn hang_up(&mut self) {
        let deadline = Instant::now() + self.times.linger;
        if !matches!(timeout_at(deadline, self.wire.shutdown()).await, Ok(Ok(()))) {
            return;
        }
        if self.session.report().end == End::Quit {
            return;
        }
        let mut forgotten = 0;
        while forgotten < MOST_FORGOTTEN {
            self.input.clear();
            self.input.reserve(SMALL);
            match timeout_at(deadline, self.wire.read_buf(&mut self.input)).await {
                Ok(Ok(octets)) if octets > 0 => forgotten += octets,
                _ => return,
            }
        }
    }
}

/// Octets that are read after the last reply, and forgotten.
const MOST_FORGOTTEN: usize = 4 << 20;

fn client(ip: IpAddr, mode: Mode) -> Client {
    let protocol = if mode == Mode::Lmtp { Protocol::Lmtp } else { Protocol::Esmtp };
    Client { ip, helo: String::new(), name: None, tls: None, authenticated: None, protocol }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
