//! Sessions on connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, interval_at, timeout};
use tracing::{debug, warn};

use super::session::{Session, Step};
use crate::config::{Config, Rim};
use crate::counts::{Status, count};
use crate::door::{Listener, Visitor};
use crate::judge::Judge;
use crate::policy::Policy;
use crate::question::Question;

/// A milter. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Server {
    rim: Arc<Rim>,
    policy: Arc<Policy>,
}

/// How often somebody who waits is told that it takes longer.
const PROGRESS: Duration = Duration::from_secs(10);

/// Octets that are read at once.
const BLOCK: usize = 64 << 10;

impl Server {
    /// A milter.
    #[must_use]
    pub fn new(config: Config, judge: Arc<dyn Judge>) -> Self {
        let policy = Arc::new(config.policy.clone());
        Self { rim: Arc::new(Rim::new(config, judge)), policy }
    }

    /// Takes connections until [`Server::stop`].
    pub async fn listen(&self, listener: Listener) {
        let serve = |visitor: Visitor| {
            let server = self.clone();
            tokio::spawn(async move {
                let Visitor { stream, place, .. } = visitor;
                server.serve(stream).await;
                drop(place);
            });
        };
        self.rim.door.attend(listener, &self.rim.counts, serve).await;
    }

    /// Serves a connection to its end, whoever it is from.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, stream: S) {
        let Config { largest_message, recipients, .. } = self.rim.config;
        let session = Session::new(Arc::clone(&self.policy), largest_message, recipients);
        let run = Run { server: self, session, stream, input: BytesMut::new() };
        run.run().await;
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.rim.status()
    }

    /// Stops: no connection is taken, and those that are there go on to their end. A mail system whose milter hangs up on it puts
    /// off what it has in hand.
    pub fn stop(&self) {
        self.rim.door.stop();
    }

    /// Waits until no connection is left.
    pub async fn stopped(&self) {
        self.rim.door.empty().await;
    }
}

/// A connection.
struct Run<'a, S> {
    server: &'a Server,
    session: Session,
    stream: S,
    input: BytesMut,
}

/// It is over, for one side or the other.
struct Over;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Run<'_, S> {
    async fn run(mut self) {
        // Whatever ended it, there is nobody to tell.
        let _: Result<(), Over> = self.converse().await;
        let _ = timeout(self.server.rim.config.write, self.stream.shutdown()).await;
    }

    async fn converse(&mut self) -> Result<(), Over> {
        let rim = &self.server.rim;
        let mut share = rim.share();
        loop {
            let step = self.session.step(&mut self.input).map_err(|error| {
                count(&rim.counts.malformed);
                warn!(%error, "a mail system does not speak the milter protocol");
                Over
            })?;
            match step {
                Step::Read => {
                    self.flush().await?;
                    let held = self.session.memory();
                    if held == 0 {
                        share.release();
                    } else if !share.cover(held).await {
                        self.session.no_memory();
                        share.release();
                    }
                    self.read().await?;
                }
                Step::Judge(question) => {
                    // Small messages that came in one piece were not counted before.
                    let octets = question.message.len();
                    if share.cover(octets).await {
                        self.judge(&question).await?;
                    } else if let Some(action) = self.session.no_memory_to_judge() {
                        rim.counts.judged(octets, &action, None);
                    }
                }
                Step::Close => return self.flush().await,
            }
        }
    }

    /// Has a message judged, and tells now and then that it takes longer.
    async fn judge(&mut self, question: &Question) -> Result<(), Over> {
        let rim = Arc::clone(&self.server.rim);
        let judging = rim.judged(question);
        tokio::pin!(judging);
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let (verdict, lost) = loop {
            tokio::select! {
                biased;
                judged = &mut judging => break judged,
                _ = progress.tick() => {
                    self.session.progress();
                    self.flush().await?;
                }
            }
        };
        if let Some(action) = self.session.judged(&verdict) {
            rim.counts.judged(question.message.len(), &action, lost);
            debug!(
                queue_id = question.queue_id.as_deref(),
                score = verdict.score,
                ?action,
                "judged"
            );
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Over> {
        let Self { session, stream, server, .. } = self;
        let out = session.output();
        if out.is_empty() {
            return Ok(());
        }
        let written = timeout(server.rim.config.write, async {
            stream.write_all(out).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {
                out.clear();
                Ok(())
            }
            _ => Err(Over),
        }
    }

    async fn read(&mut self) -> Result<(), Over> {
        // Most of the time a connection does nothing, and should not take much for it.
        if self.input.is_empty() && self.session.memory() == 0 && self.input.capacity() > BLOCK {
            self.input = BytesMut::new();
        }
        self.input.reserve(if self.session.memory() == 0 { 4096 } else { BLOCK });
        match timeout(self.server.rim.config.idle, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(octets)) if octets > 0 => Ok(()),
            _ => Err(Over),
        }
    }
}
