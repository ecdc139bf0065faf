//! Saying something and hearing what comes, within time.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use muralla_mail_envelope::dots::Stuffer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::ClientError;
use super::replies::{Answer, Answers};
use crate::tls::Wire;

/// A stream and what came of it.
#[derive(Debug)]
pub(crate) struct Talk<S> {
    pub(crate) wire: Wire<S>,
    input: BytesMut,
    answers: Answers,
}

/// Octets that are written at once.
const BLOCK: usize = 64 << 10;

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            wire: Wire::Plain(stream),
            input: BytesMut::with_capacity(4096),
            answers: Answers::default(),
        }
    }

    /// Whether something came that nobody asked for.
    pub(crate) fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    /// Sends commands.
    pub(crate) async fn say(
        &mut self,
        octets: &[u8],
        wait: Duration,
        when: &'static str,
    ) -> Result<(), ClientError> {
        let written = timeout(wait, async {
            self.wire.write_all(octets).await?;
            self.wire.flush().await
        });
        written
            .await
            .map_err(|_| ClientError::TimedOut(when))?
            .map_err(|error| ClientError::Lost { when, error })
    }

    /// Hears a reply. All of it has to come in that time: a server that sends an octet now and then gains nothing by it. After 421,
    /// nothing more can be said (RFC 5321 section 4.2.1).
    pub(crate) async fn hear(
        &mut self,
        wait: Duration,
        when: &'static str,
    ) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(answer) = self.answers.take(&mut self.input)? {
                if answer.code == 421 {
                    return Err(ClientError::Refused(answer.reply()));
                }
                return Ok(answer);
            }
            self.input.reserve(1024);
            match timeout_at(deadline, self.wire.read_buf(&mut self.input)).await {
                Err(_) => return Err(ClientError::TimedOut(when)),
                Ok(Err(error)) => return Err(ClientError::Lost { when, error }),
                Ok(Ok(0)) => return Err(ClientError::Closed(when)),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Says something and hears the reply.
    pub(crate) async fn ask(
        &mut self,
        octets: &[u8],
        wait: Duration,
        when: &'static str,
    ) -> Result<Answer, ClientError> {
        self.say(octets, wait, when).await?;
        self.hear(wait, when).await
    }

    /// Sends a message, dots doubled and ended.
    pub(crate) async fn send_dotted(
        &mut self,
        message: &[u8],
        block: Duration,
    ) -> Result<(), ClientError> {
        let mut out = Vec::with_capacity(BLOCK.min(message.len() + 64));
        let mut stuffer = Stuffer::new();
        let pieces = stuffer.pieces(message);
        for piece in pieces.chain([stuffer.ending()]) {
            let mut rest = piece;
            while !rest.is_empty() {
                let room = BLOCK.saturating_sub(out.len()).max(1);
                let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
                out.extend_from_slice(now);
                rest = later;
                if out.len() >= BLOCK {
                    self.block(&out, block).await?;
                    out.clear();
                }
            }
        }
        self.block(&out, block).await?;
        self.flush(block).await
    }

    /// Sends a message as it is, for `BDAT`.
    pub(crate) async fn send_plain(
        &mut self,
        message: &[u8],
        block: Duration,
    ) -> Result<(), ClientError> {
        for piece in message.chunks(BLOCK) {
            self.block(piece, block).await?;
        }
        self.flush(block).await
    }

    async fn block(&mut self, octets: &[u8], wait: Duration) -> Result<(), ClientError> {
        if octets.is_empty() {
            return Ok(());
        }
        let written = timeout(wait, self.wire.write_all(octets)).await;
        self.written(written)
    }

    async fn flush(&mut self, wait: Duration) -> Result<(), ClientError> {
        let flushed = timeout(wait, self.wire.flush()).await;
        self.written(flushed)
    }

    fn written<E>(&self, written: Result<io::Result<()>, E>) -> Result<(), ClientError> {
        written
            .map_err(|_| ClientError::TimedOut(SENDING))?
            .map_err(|error| ClientError::Lost { when: SENDING, error })
    }

    /// Whether the connection is there and nothing was said on it, such as 421.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        self.input.is_empty()
            && timeout(Duration::ZERO, self.wire.read_buf(&mut self.input)).await.is_err()
    }

    pub(crate) async fn hang_up(&mut self, wait: Duration) {
        let _ = timeout(wait, self.wire.shutdown()).await;
    }
}

pub(crate) const SENDING: &str = "while a message was sent";
