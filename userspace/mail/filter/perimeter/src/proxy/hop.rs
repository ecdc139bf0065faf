//! The next hop, spoken to as the client speaks to us: command by command, so that each of its answers can be passed on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use muralla_mail_envelope::dots::Stuffer;
use muralla_mail_envelope::{
    Domain, EnhancedCode, MailParameters, RcptParameters, Recipient, Reply, ReversePath,
};
use muralla_smtp::client::{Answer, Answers, Capabilities, Malformed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::lines;
use crate::door::Stream;

/// Where messages go.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum NextHop {
    /// To an SMTP server.
    Smtp(SocketAddr),
    /// To an LMTP server.
    Lmtp(SocketAddr),
    /// To an LMTP server on this machine.
    LmtpSocket(PathBuf),
}

/// How long the next hop is waited for. Shorter than the client waits for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waits {
    /// To take the call.
    pub connect: Duration,
    /// To greet us, and to answer a command.
    pub command: Duration,
    /// To take a block of the message.
    pub block: Duration,
    /// To answer the message, once it has all of it.
    pub message: Duration,
}

/// A connection with the next hop.
#[derive(Debug)]
pub(super) struct Hop {
    stream: Stream,
    input: BytesMut,
    answers: Answers,
    waits: Waits,
    is_lmtp: bool,
    /// What it offers.
    pub(super) capabilities: Capabilities,
    /// What it takes in `XFORWARD`.
    forwards: Vec<String>,
    /// Whether a transaction was begun that has to be given up before another begins.
    begun: bool,
}

/// Why the next hop can't be spoken to.
#[derive(Debug, thiserror::Error)]
pub(super) enum HopError {
    #[error("the mail server behind the filter can't be reached: {0}")]
    Connect(io::Error),
    #[error("the connection with the mail server behind the filter broke: {0}")]
    Lost(io::Error),
    #[error("the mail server behind the filter hung up")]
    Closed,
    #[error("the mail server behind the filter took too long")]
    TimedOut,
    #[error("the mail server behind the filter does not speak the protocol: {0}")]
    Malformed(#[from] Malformed),
    #[error("the mail server behind the filter gave a reply that makes no sense there: {0}")]
    Senseless(Reply),
    #[error("the mail server behind the filter said: {0}")]
    Refused(Reply),
}

/// Octets that are written at once.
const BLOCK: usize = 64 << 10;

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            command: Duration::from_secs(60),
            block: Duration::from_secs(60),
            message: Duration::from_secs(5 * 60),
        }
    }
}

impl NextHop {
    pub(super) const fn is_lmtp(&self) -> bool {
        matches!(self, Self::Lmtp(_) | Self::LmtpSocket(_))
    }

    async fn call(&self) -> io::Result<Stream> {
        match self {
            Self::Smtp(address) | Self::Lmtp(address) => {
                let stream = TcpStream::connect(address).await?;
                // Commands are sent whole, and each of them is waited for.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::LmtpSocket(path) => UnixStream::connect(path).await.map(Stream::Unix),
        }
    }
}

impl Hop {
    /// Calls the next hop, and says who we are.
    pub(super) async fn connect(
        next: &NextHop,
        name: &Domain,
        waits: Waits,
    ) -> Result<Self, HopError> {
        let stream = timeout(waits.connect, next.call())
            .await
            .map_err(|_| HopError::TimedOut)?
            .map_err(HopError::Connect)?;
        let mut hop = Self {
            stream,
            input: BytesMut::new(),
            answers: Answers::default(),
            waits,
            is_lmtp: next.is_lmtp(),
            capabilities: Capabilities::default(),
            forwards: Vec::new(),
            begun: false,
        };
        let greeting = hop.hear(waits.command).await?;
        if greeting.code != 220 {
            return Err(HopError::Refused(greeting.reply()));
        }
        let verb = if hop.is_lmtp { "LHLO" } else { "EHLO" };
        let hello = hop.ask(&format!("{verb} {name}\r\n")).await?;
        if !hello.is_positive() {
            return Err(HopError::Refused(hello.reply()));
        }
        hop.capabilities = Capabilities::read(&hello.lines);
        hop.forwards = lines::offered(&hello.lines);
        Ok(hop)
    }

    /// What it takes in `XFORWARD`.
    pub(super) fn forwards(&self) -> &[String] {
        &self.forwards
    }

    /// Begins a transaction. An earlier one is given up. What `XFORWARD` says is said before; if it is not believed, that is the
    /// next hop's loss and nobody else's.
    pub(super) async fn mail(
        &mut self,
        from: &ReversePath,
        parameters: &MailParameters,
        forward: &[String],
    ) -> Result<Reply, HopError> {
        self.reset().await?;
        for line in forward {
            self.ask(line).await?;
        }
        let has = &self.capabilities;
        let said = MailParameters {
            size: parameters.size.filter(|_| has.size.is_some()),
            auth: None,
            ..parameters.clone()
        };
        self.begun = true;
        self.say_for(&format!("MAIL FROM:{from}{said}\r\n")).await
    }

    /// Names a recipient.
    pub(super) async fn rcpt(&mut self, recipient: &Recipient) -> Result<Reply, HopError> {
        let nothing = RcptParameters::default();
        let said = if self.capabilities.dsn { &recipient.parameters } else { &nothing };
        self.say_for(&format!("RCPT TO:<{}>{said}\r\n", recipient.address)).await
    }

    /// Sends the message to the recipients that were accepted, which are so many: a reply for each of them in LMTP, and one for all
    /// in SMTP.
    pub(super) async fn data(
        &mut self,
        message: &[u8],
        recipients: usize,
    ) -> Result<Vec<Reply>, HopError> {
        let replies = if self.is_lmtp { recipients } else { 1 };
        let answer = self.ask("DATA\r\n").await?;
        if answer.code != 354 {
            let reply = answer.reply();
            if answer.is_positive() {
                return Err(HopError::Senseless(reply));
            }
            return Ok(vec![reply; replies]);
        }
        self.send(message).await?;
        let mut all = Vec::with_capacity(replies);
        for _ in 0..replies {
            let reply = self.hear(self.waits.message).await?.reply();
            if !matches!(reply.code, 200..=299 | 400..=599) {
                return Err(HopError::Senseless(reply));
            }
            all.push(reply);
        }
        self.begun = false;
        Ok(all)
    }

    /// Gives up the transaction, if there is one.
    pub(super) async fn reset(&mut self) -> Result<(), HopError> {
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        let answer = self.ask("RSET\r\n").await?;
        if answer.is_positive() { Ok(()) } else { Err(HopError::Senseless(answer.reply())) }
    }

    /// Says good bye, and does not wait for what comes back.
    pub(super) async fn quit(mut self) {
        let leaving = timeout(Duration::from_secs(1), async {
            self.stream.write_all(b"QUIT\r\n").await?;
            self.stream.shutdown().await
        });
        // Whoever is gone already need not hear it.
        let _ = leaving.await;
    }

    /// Says a command of a transaction: the reply is what the client hears, and is yes or no.
    async fn say_for(&mut self, line: &str) -> Result<Reply, HopError> {
        let reply = self.ask(line).await?.reply();
        match reply.code {
            200..=299 | 400..=599 => Ok(reply),
            _ => Err(HopError::Senseless(reply)),
        }
    }

    async fn ask(&mut self, line: &str) -> Result<Answer, HopError> {
        let said = timeout(self.waits.command, async {
            self.stream.write_all(line.as_bytes()).await?;
            self.stream.flush().await
        });
        said.await.map_err(|_| HopError::TimedOut)?.map_err(HopError::Lost)?;
        self.hear(self.waits.command).await
    }

    /// Hears a reply. All of it has to come in that time. After 421, nothing more can be said (RFC 5321 section 4.2.1).
    async fn hear(&mut self, wait: Duration) -> Result<Answer, HopError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(answer) = self.answers.take(&mut self.input)? {
                if answer.code == 421 {
                    return Err(HopError::Refused(answer.reply()));
                }
                return Ok(answer);
            }
            self.input.reserve(1024);
            match timeout_at(deadline, self.stream.read_buf(&mut self.input)).await {
                Err(_) => return Err(HopError::TimedOut),
                Ok(Err(error)) => return Err(HopError::Lost(error)),
                Ok(Ok(0)) => return Err(HopError::Closed),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Sends a message, dots doubled and ended.
    async fn send(&mut self, message: &[u8]) -> Result<(), HopError> {
        let mut stuffer = Stuffer::new();
        let mut out = Vec::with_capacity(BLOCK.min(message.len() + 64));
        let pieces = stuffer.pieces(message);
        for piece in pieces.chain([stuffer.ending()]) {
            for block in piece.chunks(BLOCK) {
                out.extend_from_slice(block);
                if out.len() >= BLOCK {
                    self.write(&out).await?;
                    out.clear();
                }
            }
        }
        self.write(&out).await
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), HopError> {
        let written = timeout(self.waits.block, async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        });
        written.await.map_err(|_| HopError::TimedOut)?.map_err(HopError::Lost)
    }
}

impl HopError {
    /// What the client hears: to come again, whatever it was. The message is still his.
    pub(super) fn reply(&self) -> Reply {
        let detail = match self {
            Self::Connect(_) => 1,
            _ => 2,
        };
        Reply::new(451, Some(EnhancedCode::new(4, 4, detail)), &self.to_string())
    }
}
