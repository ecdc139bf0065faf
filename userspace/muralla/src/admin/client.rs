//! The calling end of the admin socket.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::Refusal;

/// Most bytes of an answer that are read: a million blocks fit.
const LARGEST_ANSWER: usize = 256 << 20;

/// Longest line that is followed.
const LONGEST_LINE: usize = 64 << 10;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no daemon answers on {path} ({reason}); start it with `systemctl start muralla` (the wall), \
         `systemctl start muralla-dns` (DNS), `muralla-radius`, `muralla-mail`, or `muralla run`, or name its socket with --socket"
    )]
    NoDaemon { path: PathBuf, reason: std::io::Error },
    #[error("not permitted to use {0}; run as root, or join the group that owns the socket")]
    NotPermitted(PathBuf),
    #[error("{}{}", .0.error, .0.help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default())]
    Refused(Refusal),
    #[error("the daemon's answer can't be understood: {0}; are command and daemon of one version?")]
    Answer(String),
    #[error(
        "the daemon on {path} does not answer within {patience:?}; `systemctl status muralla muralla-dns muralla-radius muralla-mail` shows \
         what it does"
    )]
    Mute { path: PathBuf, patience: Duration },
    #[error("the connection to the daemon broke: {0}")]
    Broken(#[from] hyper::Error),
}

impl ClientError {
    /// Whether nobody listens, so that what needs no daemon may be done without.
    pub(crate) fn nobody_there(&self) -> bool {
        matches!(self, Self::NoDaemon { .. })
    }
}

/// A daemon's address. Each call is a connection of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// That the daemon was asked, and said nothing.
    pub(crate) fn mute(&self, patience: Duration) -> ClientError {
        ClientError::Mute { path: self.socket.clone(), patience }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        whole(self.send(Method::GET, path, Bytes::new()).await?).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body =
            serde_json::to_vec(body).map_err(|error| ClientError::Answer(error.to_string()))?;
        whole(self.send(Method::POST, path, body.into()).await?).await
    }

    /// Deletes a prefix from a list.
    pub(crate) async fn remove<T: DeserializeOwned>(
        &self,
        path: &str,
        prefix: IpNet,
    ) -> Result<T, ClientError> {
        // A prefix consists of what a query may contain.
        let path = format!("{path}?prefix={prefix}");
        whole(self.send(Method::DELETE, &path, Bytes::new()).await?).await
    }

    /// Follows what is told in lines.
    pub(crate) async fn follow<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Lines<T>, ClientError> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(Lines { body: response.into_body(), buffer: Vec::new(), line: PhantomData })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|reason| {
            if reason.kind() == std::io::ErrorKind::PermissionDenied {
                ClientError::NotPermitted(self.socket.clone())
            } else {
                ClientError::NoDaemon { path: self.socket.clone(), reason }
            }
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "muralla")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = collect(response.into_body()).await?;
        Err(ClientError::Refused(serde_json::from_slice(&body).unwrap_or_else(|_| Refusal {
            error: format!("{status}: {}", String::from_utf8_lossy(&body)),
            help: None,
        })))
    }
}

/// Lines as they are told.
pub(crate) struct Lines<T> {
    body: Incoming,
    buffer: Vec<u8>,
    line: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next line; none when the daemon ended. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| ClientError::Answer(error.to_string()));
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(ClientError::Answer("an endless line".to_owned()));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

async fn whole<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let body = collect(response.into_body()).await?;
    serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()))
}

async fn collect(body: Incoming) -> Result<Bytes, ClientError> {
    let limited = http_body_util::Limited::new(body, LARGEST_ANSWER);
    let collected =
        limited.collect().await.map_err(|error| ClientError::Answer(error.to_string()))?;
    Ok(collected.to_bytes())
}
