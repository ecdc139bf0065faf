//! Requests on connections.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::answer;
use super::legacy::{self, Head, Verb};
use super::request::About;
use crate::budget::Share;
use crate::config::{Config, Rim};
use crate::counts::{Status, count};
use crate::door::{Listener, Visitor};
use crate::judge::{Judge, Learned, Lesson};
use crate::policy::Action;
use crate::verdict::Verdict;

/// Answers whoever asks rspamd. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

/// What is particular to this way.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// Whether clients know the action `quarantine`. Who does not would deliver what should be held.
    pub quarantine: bool,
    /// Who teaches has to say this. Without it, nobody does.
    pub password: Option<String>,
}

struct Shared {
    rim: Rim,
    asking: Asking,
}

/// How long a request's head may take, and the next one on the same connection.
const HEAD: Duration = Duration::from_secs(60);

/// Octets of a request's head.
const LONGEST_HEAD: usize = legacy::LONGEST;

/// Most fields of a request's head.
const MOST_FIELDS: usize = 2000;

/// How long who says a wrong password waits for the answer.
const WRONG: Duration = Duration::from_secs(1);

/// How many times as many octets as a message may have are read, so that a client who sends more hears the answer.
const PATIENT: usize = 4;

impl Server {
    /// A server.
    #[must_use]
    pub fn new(config: Config, asking: Asking, judge: Arc<dyn Judge>) -> Self {
        Self(Arc::new(Shared { rim: Rim::new(config, judge), asking }))
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
        self.0.rim.door.attend(listener, &self.0.rim.counts, serve).await;
    }

    /// Serves a connection to its end, whoever it is from.
    pub async fn serve<S>(&self, mut stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut input = BytesMut::new();
        let is_legacy = loop {
            if let Some(is_legacy) = legacy::is_meant(&input) {
                break is_legacy;
            }
            input.reserve(4096);
            match timeout(HEAD, stream.read_buf(&mut input)).await {
                Ok(Ok(octets)) if octets > 0 => {}
                _ => return,
            }
        };
        if is_legacy {
            self.legacy(stream, input).await;
        } else {
            self.http(Rewound { first: input.freeze(), stream }).await;
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.rim.status()
    }

    /// Stops: no connection is taken, and those that are there end after what they have begun.
    pub fn stop(&self) {
        self.0.rim.door.stop();
    }

    /// Waits until no connection is left.
    pub async fn stopped(&self) {
        self.0.rim.door.empty().await;
    }

    async fn http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = self.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(LONGEST_HEAD)
            .max_headers(MOST_FIELDS)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.0.rim.door.stopping() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            count(&self.0.rim.counts.malformed);
            debug!(%error, "an HTTP connection ended early");
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET | &Method::HEAD, "/ping") => self.ping(),
            (&Method::POST, "/checkv2") => self.check(&head.headers, body).await,
            (&Method::POST, "/learnspam") => self.learn(&head.headers, body, true).await,
            (&Method::POST, "/learnham") => self.learn(&head.headers, body, false).await,
            (_, "/ping" | "/checkv2" | "/learnspam" | "/learnham") => {
                error(StatusCode::METHOD_NOT_ALLOWED, "that is not done with this")
            }
            _ => error(StatusCode::NOT_FOUND, "there is no such thing here"),
        }
    }

    fn ping(&self) -> Response<Full<Bytes>> {
        if self.0.rim.judge.is_ready() {
            text(StatusCode::OK, "pong\r\n")
        } else {
            error(StatusCode::SERVICE_UNAVAILABLE, "the filter is not ready")
        }
    }

    async fn check(&self, headers: &HeaderMap, body: Incoming) -> Response<Full<Bytes>> {
        let about = self.about(headers);
        let mut share = self.0.rim.share();
        let read = self.body(body, &mut share).await;
        let judged = match read {
            Ok((body, complete)) => self.judged(about, body, complete, &mut share).await,
            Err(refused) => return refused,
        };
        match judged {
            Ok((verdict, action, took)) => {
                let marks = &self.0.rim.config.policy.marks;
                json(StatusCode::OK, &answer::json(&verdict, &action, marks, took))
            }
            Err(why) => error(StatusCode::BAD_REQUEST, &why),
        }
    }

    /// Has a message judged: the verdict, what is done, and how long it took.
    async fn judged(
        &self,
        about: About,
        body: Bytes,
        complete: bool,
        share: &mut Share,
    ) -> Result<(Verdict, Action, Duration), String> {
        let Shared { rim, asking } = &*self.0;
        let started = Instant::now();
        let largest = rim.config.largest_message;
        let recipients = about.recipients.len();
        if !share.cover(about.memory(&body, largest)).await {
            let verdict = Verdict::unscanned("there was no memory for it", recipients);
            let action = rim.config.policy.common(&verdict, recipients, asking.quarantine);
            rim.counts.judged(body.len(), &action, None);
            return Ok((verdict, action, started.elapsed()));
        }
        let (message, complete) =
            about.message(body, complete, largest).map_err(|error| error.to_string())?;
        let question = about.question(message, complete);
        let (verdict, lost) = rim.judged(&question).await;
        let recipients = question.recipients.len();
        let action = rim.config.policy.common(&verdict, recipients, asking.quarantine);
        rim.counts.judged(question.message.len(), &action, lost);
        debug!(queue_id = question.queue_id.as_deref(), score = verdict.score, ?action, "judged");
        Ok((verdict, action, started.elapsed()))
    }

    async fn learn(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        spam: bool,
    ) -> Response<Full<Bytes>> {
        let about = self.about(headers);
        if !self.is_teacher(about.password.as_deref()) {
            sleep(WRONG).await;
            return error(StatusCode::UNAUTHORIZED, "the password is wrong, or there is none");
        }
        let rim = &self.0.rim;
        let mut share = rim.share();
        let read = match self.body(body, &mut share).await {
            Ok(read) => read,
            Err(refused) => return refused,
        };
        let (body, complete) = read;
        let largest = rim.config.largest_message;
        if !share.cover(about.memory(&body, largest)).await {
            return error(StatusCode::SERVICE_UNAVAILABLE, "there is no memory for it now");
        }
        let read = about.message(body, complete, largest);
        let (message, complete) = match read {
            Ok(read) => read,
            Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
        };
        if !complete {
            return error(StatusCode::PAYLOAD_TOO_LARGE, "the message is too large");
        }
        let lesson = Lesson { spam, user: about.user(), message };
        let learning = timeout(rim.config.patience, rim.judge.learn(&lesson));
        match learning.await {
            Ok(Learned::Now) => {
                count(&rim.counts.lessons);
                json(StatusCode::OK, &json!({ "success": true }))
            }
            Ok(Learned::Before) => {
                error(StatusCode::ALREADY_REPORTED, "it was learned before, and is known")
            }
            Ok(Learned::Refused(why)) => error(StatusCode::BAD_REQUEST, &why),
            Ok(Learned::NotOffered) => error(StatusCode::NOT_FOUND, "lessons are not taken here"),
            Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "learning takes too long now"),
        }
    }

    /// Whether that is the password. How long it takes says nothing of either: hashes are compared, and in constant time.
    fn is_teacher(&self, said: Option<&[u8]>) -> bool {
        match (&self.0.asking.password, said) {
            (Some(password), Some(said)) => blake3::hash(password.as_bytes()) == blake3::hash(said),
            _ => false,
        }
    }

    fn about(&self, headers: &HeaderMap) -> About {
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        About::read(fields, self.0.rim.config.recipients)
    }

    /// Reads a body, as far as it is looked at. Whether that was all of it.
    async fn body(
        &self,
        mut body: Incoming,
        share: &mut Share,
    ) -> Result<(Bytes, bool), Response<Full<Bytes>>> {
        let Config { largest_message, idle, .. } = self.0.rim.config;
        let idle = idle.min(HEAD);
        let mut kept = BytesMut::new();
        let mut came = 0_usize;
        loop {
            let frame = match timeout(idle, body.frame()).await {
                Err(_) => return Err(error(StatusCode::REQUEST_TIMEOUT, "that takes too long")),
                Ok(None) => break,
                Ok(Some(Err(_))) => {
                    return Err(error(StatusCode::BAD_REQUEST, "the body has no end"));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Some(piece) = frame.data_ref() else { continue };
            came = came.saturating_add(piece.len());
            let room = largest_message.saturating_sub(kept.len());
            let piece = piece.get(..room).unwrap_or(piece);
            if !share.cover(kept.len().saturating_add(piece.len())).await {
                // Clients put off what they get no verdict for, if they are told to.
                let text = "there is no memory for it now";
                return Err(error(StatusCode::SERVICE_UNAVAILABLE, text));
            }
            kept.extend_from_slice(piece);
            if came > largest_message.saturating_mul(PATIENT) {
                return Err(error(StatusCode::PAYLOAD_TOO_LARGE, "the message is far too large"));
            }
        }
        let complete = came == kept.len();
        Ok((kept.freeze(), complete))
    }

    /// A request of before HTTP. The connection ends with its answer.
    async fn legacy<S>(&self, mut stream: S, mut input: BytesMut)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let out = match self.legacy_answer(&mut stream, &mut input).await {
            Some(out) => out,
            None => {
                count(&self.0.rim.counts.malformed);
                return;
            }
        };
        let said = timeout(self.0.rim.config.write, async {
            stream.write_all(out.as_bytes()).await?;
            stream.shutdown().await
        });
        // He need not hear it.
        let _ = said.await;
    }

    async fn legacy_answer<S>(&self, stream: &mut S, input: &mut BytesMut) -> Option<String>
    where
        S: AsyncRead + Unpin + Send,
    {
        let Config { recipients, largest_message, .. } = self.0.rim.config;
        let (about, verb, length) = loop {
            match Head::parse(input) {
                Ok(Some((head, octets))) => {
                    let about = About::read(head.fields(), recipients);
                    let (verb, length) = (head.verb, head.length());
                    input.advance(octets);
                    break (about, verb, length);
                }
                Ok(None) => {}
                Err(error) => {
                    debug!(%error, "no request of rspamd's old protocol");
                    return None;
                }
            }
            more(stream, input).await.filter(|&octets| octets > 0)?;
        };
        if verb == Verb::Ping {
            return Some("RSPAMD/1.3 0 PONG\r\n\r\n".to_owned());
        }
        let mut share = self.0.rim.share();
        // Without a length, the message ends where the client does. What is beyond the limit is read and forgotten.
        let end = length.unwrap_or(usize::MAX);
        if end != usize::MAX && end > largest_message.saturating_mul(PATIENT) {
            return None;
        }
        let mut forgotten = 0_usize;
        loop {
            if input.len() > largest_message {
                forgotten = forgotten.saturating_add(input.len() - largest_message);
                input.truncate(largest_message);
            }
            let came = forgotten.saturating_add(input.len());
            if came >= end {
                break;
            }
            if came > largest_message.saturating_mul(PATIENT) || !share.cover(input.len()).await {
                return None;
            }
            match more(stream, input).await {
                Some(0) if length.is_none() => break,
                Some(octets) if octets > 0 => {}
                // Half a message is none: a verdict on it would be a verdict on another.
                _ => return None,
            }
        }
        if forgotten == 0 {
            input.truncate(end);
        }
        let body = input.split().freeze();
        let (verdict, action, _) =
            self.judged(about, body, forgotten == 0, &mut share).await.ok()?;
        Some(answer::lines(&verdict, &action))
    }
}

/// Octets that came, or nothing if that took too long.
async fn more<S: AsyncRead + Unpin + Send>(stream: &mut S, input: &mut BytesMut) -> Option<usize> {
    input.reserve(16 << 10);
    timeout(HEAD, stream.read_buf(input)).await.ok()?.ok()
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain", Bytes::from_static(text.as_bytes()))
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    respond(status, "application/json", Bytes::from(value.to_string()))
}

fn error(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    json(status, &json!({ "error": why }))
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A stream of which the first octets were read already.
struct Rewound<S> {
    first: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let octets = this.first.len().min(buffer.remaining());
        buffer.put_slice(&this.first.split_to(octets));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
