//! Sessions on connections: TLS, time limits, and a bound on the memory of messages that are on their way.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use muralla_mail_envelope::sasl::NONCE;
use rustls::{ProtocolVersion, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::config::{Config, Mode};
use crate::handler::{Body, Client, Handler, Maildrop, MaildropError, Refused};
use crate::session::{End, MOST_OUTPUT, Session, Settings, Step};
use crate::sources::Sources;
use crate::transfer::Transfer;

/// Octets that are read at once. Commands are short.
const READ: usize = 2 * 1024;

/// A piece of a message of so many octets is written from where it lies; smaller ones are gathered.
const LARGE: usize = 16 * 1024;

/// Octets that are written at once: for so many, the client has [`Config::send`].
const WRITE: usize = 64 * 1024;

/// Octets that a permit of the semaphore stands for.
const PERMIT: u64 = 1024;

/// How long a connection's end may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// How the server is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// Connections that are open.
    pub connections: usize,
    /// Octets of messages that are on their way to clients.
    pub memory: u64,
}

/// A POP3 server.
#[derive(Debug)]
pub struct Server<H> {
    handler: Arc<H>,
    config: ArcSwap<Config>,
    sources: Arc<Sources>,
    memory: Semaphore,
    permits: u32,
}

/// How a part of a session ended.
enum Outcome {
    /// It goes on with TLS.
    StartTls,
    Closed,
}

impl<H: Handler> Server<H> {
    /// A server; it serves what it is given by [`Server::listen`] and [`Server::serve`].
    #[must_use]
    pub fn new(config: Config, handler: Arc<H>) -> Self {
        let permits = u32::try_from(config.memory / PERMIT).unwrap_or(u32::MAX).max(1);
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let permits = permits.min(most);
        Self {
            handler,
            config: ArcSwap::from_pointee(config),
            sources: Arc::default(),
            memory: Semaphore::new(usize::try_from(permits).unwrap_or(Semaphore::MAX_PERMITS)),
            permits,
        }
    }

    /// Takes another configuration, for connections from now on.
    pub fn reload(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let free = u64::try_from(self.memory.available_permits()).unwrap_or(u64::MAX);
        Status {
            connections: self.sources.open(),
            memory: u64::from(self.permits).saturating_sub(free).saturating_mul(PERMIT),
        }
    }

    /// Accepts connections until told to stop, and returns when the last of them has ended: who is logged in by then may go
    /// on to his end. Dropping the future ends them all; nothing is lost by that, because what was deleted without `QUIT` is
    /// not.
    pub async fn listen(
        self: Arc<Self>,
        listener: TcpListener,
        mode: Mode,
        stop: watch::Receiver<bool>,
    ) {
        let mut sessions = JoinSet::new();
        let mut stopped = stop.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(_) = sessions.join_next(), if !sessions.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let config = self.config.load();
                    let most = (config.connections, config.connections_per_source);
                    let Some(seat) = self.sources.seat(peer.ip(), most.0, most.1) else {
                        self.handler.crowded(peer);
                        turn_away(&stream, mode);
                        continue;
                    };
                    let (server, stop) = (Arc::clone(&self), stop.clone());
                    sessions.spawn(async move {
                        if stream.set_nodelay(true).is_ok() {
                            server.serve(stream, peer, mode, stop).await;
                        }
                        drop(seat);
                    });
                }
                Err(error) => {
                    // Descriptors run out: those who are connected already go on, and leave some time.
                    warn!(%error, "a POP3 connection can't be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
    }

    /// Serves one connection to its end.
    pub async fn serve<S>(
        &self,
        mut stream: S,
        peer: SocketAddr,
        mode: Mode,
        stop: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let config = self.config.load_full();
        let tls = self.handler.tls();
        let mut settings = Settings {
            name: config.name.clone(),
            encrypted: false,
            offers_tls: tls.is_some(),
            unencrypted_login: config.unencrypted_login,
            scram: config.scram,
            expire_days: config.expire_days,
            most_errors: config.most_errors,
            most_failures: config.most_failures,
            nonce: rand::random::<[u8; NONCE]>(),
            binding: None,
        };
        let client = Client { peer, encrypted: mode == Mode::Tls };
        let mut run = Run {
            server: self,
            deadline: Instant::now() + config.login,
            config,
            client,
            maildrop: None,
            stop,
        };
        let session = match (mode, tls) {
            (Mode::Plain, tls) => {
                let mut session = Session::new(settings);
                let outcome = run.converse(&mut stream, &mut session).await;
                match (outcome, tls) {
                    (Outcome::StartTls, Some(tls)) => {
                        if let Some(mut stream) = run.encrypt(stream, tls).await {
                            session.tls_started(binding(stream.get_ref().1));
                            run.client.encrypted = true;
                            run.converse(&mut stream, &mut session).await;
                            farewell(&mut stream).await;
                        } else {
                            session.end(End::Broken);
                        }
                    }
                    (Outcome::StartTls, None) => {
                        session.end(End::Broken);
                    }
                    (Outcome::Closed, _) => farewell(&mut stream).await,
                }
                session
            }
            (Mode::Tls, Some(tls)) => {
                let encrypted = run.encrypt(stream, tls).await;
                settings.encrypted = encrypted.is_some();
                settings.binding =
                    encrypted.as_ref().and_then(|stream| binding(stream.get_ref().1));
                let mut session = Session::new(settings);
                match encrypted {
                    Some(mut stream) => {
                        run.converse(&mut stream, &mut session).await;
                        farewell(&mut stream).await;
                    }
                    None => {
                        session.end(End::Broken);
                    }
                }
                session
            }
            (Mode::Tls, None) => {
                warn!("a POP3 connection wants TLS, and there is no certificate");
                let mut session = Session::new(settings);
                session.end(End::Broken);
                session
            }
        };
        self.handler.closed(&run.client, session.facts());
    }

    /// Whether so many are connected that nobody may do nothing for long.
    fn is_pressed(&self, config: &Config) -> bool {
        self.sources.open().saturating_mul(4) > config.connections.saturating_mul(3)
    }

    /// Memory for a message, as soon as there is some.
    async fn reserve(&self, octets: u64) -> Option<SemaphorePermit<'_>> {
        let permits = u32::try_from(octets.div_ceil(PERMIT)).unwrap_or(u32::MAX);
        self.memory.acquire_many(permits.clamp(1, self.permits)).await.ok()
    }
}

/// What is known of a connection while it is served.
struct Run<'a, H: Handler> {
    server: &'a Server<H>,
    config: Arc<Config>,
    client: Client,
    /// Until when somebody must have logged in.
    deadline: Instant,
    /// Whose proof was right, or who is logged in.
    maildrop: Option<H::Maildrop>,
    stop: watch::Receiver<bool>,
}

impl<H: Handler> Run<'_, H> {
    /// Runs a session until it ends or wants TLS.
    async fn converse<S>(&mut self, stream: &mut S, session: &mut Session) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let mut buffer = vec![0; READ];
        loop {
            let done = match session.step() {
                Step::Read => match self.write_output(stream, session).await {
                    Ok(()) => {
                        self.read(stream, session, &mut buffer).await;
                        Ok(())
                    }
                    broken => broken,
                },
                Step::Write => self.write_output(stream, session).await,
                Step::StartTls => match self.write_output(stream, session).await {
                    Ok(()) => return Outcome::StartTls,
                    broken => broken,
                },
                Step::Login { user, password } => {
                    let handler = &self.server.handler;
                    let answer = handler.login(&self.client, &user, &password);
                    let answer = self.within(answer, Refused::Unavailable).await;
                    match answer {
                        Ok(maildrop) => {
                            self.maildrop = Some(maildrop);
                            self.enter(session).await;
                        }
                        Err(refused) => {
                            session.logged_in(Err(self.hold_back(session, refused).await))
                        }
                    }
                    Ok(())
                }
                Step::Keys { user } => {
                    let answer = self.server.handler.scram(&self.client, &user);
                    match self.within(answer, Refused::Unavailable).await {
                        Ok(keys) => session.keys(Ok(keys)),
                        Err(refused) => session.keys(Err(self.hold_back(session, refused).await)),
                    }
                    Ok(())
                }
                Step::Proof { user, message, proof } => {
                    let handler = &self.server.handler;
                    let answer = handler.prove(&self.client, &user, &message, &proof);
                    match self.within(answer, Refused::Unavailable).await {
                        Ok(proved) => {
                            self.maildrop = Some(proved.maildrop);
                            session.proved(Ok(&proved.signature));
                        }
                        Err(refused) => session.proved(Err(self.hold_back(session, refused).await)),
                    }
                    Ok(())
                }
                Step::Enter => {
                    self.enter(session).await;
                    Ok(())
                }
                Step::Retrieve { message, lines } => {
                    let weight = self.maildrop.as_ref().map_or(0, |drop| drop.weight(message));
                    let memory = self.server.reserve(weight);
                    match timeout(self.config.patience, memory).await {
                        Ok(Some(memory)) => {
                            let sent = self.retrieve(stream, session, message, lines).await;
                            drop(memory);
                            sent
                        }
                        _ => {
                            session.opened(Err(MaildropError::Unavailable));
                            Ok(())
                        }
                    }
                }
                Step::Commit(changes) => {
                    let answer = match &self.maildrop {
                        Some(maildrop) => {
                            let answer = maildrop.commit(&changes);
                            self.within(answer, MaildropError::Unavailable).await
                        }
                        None => Err(MaildropError::Broken),
                    };
                    session.committed(answer);
                    Ok(())
                }
                Step::Close(_) => {
                    // What can't be told to him any more is not worth an error.
                    let _ = self.write_output(stream, session).await;
                    return Outcome::Closed;
                }
            };
            if let Err(error) = done {
                debug!(peer = %self.client.peer, %error, "a POP3 connection broke");
                session.output().clear();
                session.end(End::Broken);
            }
        }
    }

    async fn read<S>(&mut self, stream: &mut S, session: &mut Session, buffer: &mut [u8])
    where
        S: AsyncRead + Send + Unpin,
    {
        let (logged_in, began) = (session.is_logged_in(), Instant::now());
        // Whoever never stops talking would never be found waiting.
        if began >= self.until(logged_in, began) {
            session.end(End::Silent);
            return;
        }
        let read = loop {
            // Now and then it is looked whether others need the place.
            let look = self.until(logged_in, began).min(Instant::now() + self.config.pressed);
            let read = tokio::select! {
                biased;
                read = timeout_at(look, stream.read(buffer)) => read,
                _ = self.stop.wait_for(|stop| *stop), if !logged_in => {
                    let words =
                        b"-ERR [SYS/TEMP] This server is going down: please connect again\r\n";
                    session.output().extend_from_slice(words);
                    session.end(End::Stopped);
                    return;
                }
            };
            if read.is_ok() || Instant::now() >= self.until(logged_in, began) {
                break read;
            }
        };
        match read {
            Ok(Ok(0)) => {
                session.end(End::Gone);
            }
            Ok(Ok(len)) => session.receive(buffer.get(..len).unwrap_or_default()),
            Ok(Err(error)) => {
                debug!(peer = %self.client.peer, %error, "a POP3 connection broke");
                session.end(End::Broken);
            }
            // RFC 1939 section 3: without a word.
            Err(_) => {
                session.end(End::Silent);
            }
        }
    }

    /// Until when somebody may be silent who is listened to since `began`.
    fn until(&self, logged_in: bool, began: Instant) -> Instant {
        let idle = began + self.config.idle;
        if logged_in {
            return idle;
        }
        let until = idle.min(self.deadline);
        match self.server.is_pressed(&self.config) {
            true => until.min(began + self.config.pressed),
            false => until,
        }
    }

    /// Whose maildrop it is is known: what is in it?
    async fn enter(&mut self, session: &mut Session) {
        let answer = match &self.maildrop {
            Some(maildrop) => {
                let answer = maildrop.listing();
                self.within(answer, MaildropError::Unavailable).await
            }
            None => Err(MaildropError::Unavailable),
        };
        if answer.is_err() {
            self.maildrop = None;
        }
        session.logged_in(answer.map_err(|_| Refused::Unavailable));
    }

    /// Whoever guesses waits.
    async fn hold_back(&self, session: &Session, refused: Refused) -> Refused {
        if refused != Refused::Unavailable {
            let times = session.facts().refused_logins().saturating_add(1);
            sleep(self.config.failure_delay.saturating_mul(times)).await;
        }
        refused
    }

    async fn retrieve<S>(
        &self,
        stream: &mut S,
        session: &mut Session,
        message: crate::listing::Message,
        lines: Option<u64>,
    ) -> io::Result<()>
    where
        S: AsyncWrite + Send + Unpin,
    {
        let opened = match (&self.maildrop, lines) {
            (Some(maildrop), None) => {
                self.within(maildrop.retrieve(message), MaildropError::Unavailable).await
            }
            (Some(maildrop), Some(lines)) => {
                self.within(maildrop.top(message, lines), MaildropError::Unavailable).await
            }
            (None, _) => Err(MaildropError::Broken),
        };
        let mut body = match opened {
            Ok(body) => body,
            Err(error) => {
                session.opened(Err(error));
                return Ok(());
            }
        };
        session.opened(Ok(()));
        let mut transfer = Transfer::new(lines);
        while !transfer.is_over() {
            // From here on there is no way to tell the client but to leave him without the end.
            let chunk = self.within(body.chunk(), MaildropError::Unavailable).await;
            let Some(chunk) = chunk.map_err(|error| {
                io::Error::other(format!("a message can't be read to its end: {error:?}"))
            })?
            else {
                break;
            };
            for piece in transfer.pieces(&chunk) {
                if piece.len() >= LARGE {
                    self.write_output(stream, session).await?;
                    self.write(stream, piece).await?;
                } else {
                    session.output().extend_from_slice(piece);
                    if session.output().len() >= MOST_OUTPUT {
                        self.write_output(stream, session).await?;
                    }
                }
            }
        }
        session.output().extend_from_slice(transfer.ending());
        session.sent(transfer.octets());
        Ok(())
    }

    async fn write_output<S>(&self, stream: &mut S, session: &mut Session) -> io::Result<()>
    where
        S: AsyncWrite + Send + Unpin,
    {
        let output = session.output();
        if output.is_empty() {
            return Ok(());
        }
        let written = self.write(stream, output).await;
        output.clear();
        // Whoever sits idle keeps little.
        output.shrink_to(4096);
        written
    }

    async fn write<S>(&self, stream: &mut S, bytes: &[u8]) -> io::Result<()>
    where
        S: AsyncWrite + Send + Unpin,
    {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        for chunk in bytes.chunks(WRITE) {
            timeout(self.config.send, stream.write_all(chunk)).await.map_err(|_| late())??;
        }
        timeout(self.config.send, stream.flush()).await.map_err(|_| late())?
    }

    /// Waits for an answer, but not for ever.
    async fn within<T, E>(
        &self,
        answer: impl Future<Output = Result<T, E>> + Send,
        late: E,
    ) -> Result<T, E> {
        timeout(self.config.patience, answer).await.unwrap_or(Err(late))
    }

    /// Begins TLS, for as long as somebody may take to log in.
    async fn encrypt<S>(&self, stream: S, tls: Arc<rustls::ServerConfig>) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let patience = self.deadline.saturating_duration_since(Instant::now());
        match timeout(patience, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                debug!(peer = %self.client.peer, %error, "TLS can't begin");
                None
            }
            Err(_) => None,
        }
    }
}

/// What a proof is bound to: RFC 9266. TLS 1.2 would need more for it than we can see.
fn binding(connection: &ServerConnection) -> Option<[u8; 32]> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    let label = b"EXPORTER-Channel-Binding";
    connection.export_keying_material([0; 32], label, Some(&[])).ok()
}

async fn farewell<S>(stream: &mut S)
where
    S: AsyncWrite + Send + Unpin,
{
    // Whether he hears it is his affair.
    let _ = timeout(FAREWELL, stream.shutdown()).await;
}

/// Says why, if that costs nothing.
fn turn_away(stream: &TcpStream, mode: Mode) {
    if mode == Mode::Plain {
        let _ =
            stream.try_write(b"-ERR [SYS/TEMP] Too many connections: please try again later\r\n");
    }
}
