//! ClamAV, asked over clamd's socket: `zINSTREAM` as clamd(8) describes it, a connection for each file.
//!
//! A scanner that is down, late or full is a result of its own, and never means that a file is clean. While it is down, only one
//! file in a while waits to learn that; the others are told at once.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::limits::Excess;
use crate::verdict::{Finding, Verdict, Why};

/// Octets of a chunk.
const CHUNK: usize = 128 << 10;
/// Octets of an answer that are read.
const MOST_ANSWER: u64 = 4 << 10;
/// Letters of clamd's words that are passed on.
const MOST_WORDS: usize = 120;
/// How long nobody tries after somebody failed to connect.
const PAUSE: Duration = Duration::from_secs(2);
/// How long its version is taken for what it is.
const VERSION_HOLDS: Duration = Duration::from_secs(30);

/// Where clamd listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

/// An address that is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is neither the path of a socket nor a host with a port")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.strip_prefix("unix:").unwrap_or(text);
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let host = text.strip_prefix("tcp:").unwrap_or(text);
        match host.rsplit_once(':') {
            Some((name, port))
                if !name.is_empty() && port.parse().is_ok_and(|port: u16| port > 0) =>
            {
                Ok(Self::Tcp(host.to_owned()))
            }
            _ => Err(AddressError(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(formatter),
            Self::Tcp(host) => host.fmt(formatter),
        }
    }
}

/// What it is given. It should say when it met a limit of its own (`AlertExceedsMax yes`), for else it calls clean what it did not
/// look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Where it listens.
    pub address: Address,
    /// Octets of the largest file that it takes: its `StreamMaxLength`.
    pub largest: usize,
    /// Files that it looks at at once: less than its `MaxThreads`, or some wait at its door with their time running.
    pub at_once: usize,
}

impl Settings {
    /// What a clamd takes that was not configured.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self { address, largest: 64 << 20, at_once: 8 }
    }
}

/// A clamd.
#[derive(Debug)]
pub struct Clamd {
    settings: Settings,
    doors: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody tries before.
    down_until: Option<Instant>,
    version: Option<(Instant, String)>,
}

impl Clamd {
    /// One that is asked when there is something to ask.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let doors = Semaphore::new(settings.at_once.clamp(1, Semaphore::MAX_PERMITS));
        Self { settings, doors, state: Mutex::default() }
    }

    /// What it says of a file, at the deadline at the latest. What was found has no file's name yet.
    pub async fn scan(&self, content: &[u8], deadline: Instant) -> Verdict {
        if content.len() > self.settings.largest {
            return Verdict::Unscanned(Why::TooLarge);
        }
        match timeout_at(deadline, self.ask(content)).await {
            Ok(Ok(reply)) => reply.verdict(),
            Ok(Err(_)) => Verdict::Unscanned(Why::Down),
            Err(_) => Verdict::Unscanned(Why::Late),
        }
    }

    /// Its version with that of its signatures, as it says it; `None` if it does not answer.
    pub async fn version(&self, deadline: Instant) -> Option<String> {
        if let Some((until, version)) = &self.state.lock().version
            && Instant::now() < *until
        {
            return Some(version.clone());
        }
        let asked = async {
            let mut connection = self.connect().await?;
            connection.write_all(b"zVERSION\0").await?;
            answer(&mut connection).await
        };
        let words = timeout_at(deadline, asked).await.ok()?.ok()?;
        let version = String::from_utf8_lossy(&words).into_owned();
        if !version.starts_with("ClamAV") {
            return None;
        }
        self.state.lock().version = Some((Instant::now() + VERSION_HOLDS, version.clone()));
        Some(version)
    }

    async fn ask(&self, content: &[u8]) -> io::Result<Reply> {
        let _door = self.doors.acquire().await.map_err(io::Error::other)?;
        let mut connection = self.connect().await?;
        // It may answer before it has everything, and close: what it said then counts, and not that nobody listened any more.
        let sent = send(&mut connection, content).await;
        let words = answer(&mut connection).await;
        match (sent, words) {
            (_, Ok(words)) if !words.is_empty() => Ok(Reply::read(&words)),
            (Err(error), _) | (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(_)) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        if self.state.lock().down_until.is_some_and(|until| Instant::now() < until) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let connected: io::Result<Box<dyn Connection>> = match &self.settings.address {
            Address::Unix(path) => {
                UnixStream::connect(path).await.map(|stream| Box::new(stream) as _)
            }
            Address::Tcp(host) => {
                TcpStream::connect(host.as_str()).await.map(|stream| Box::new(stream) as _)
            }
        };
        let mut state = self.state.lock();
        state.down_until = connected.is_err().then(|| Instant::now() + PAUSE);
        if connected.is_err() {
            state.version = None;
        }
        connected
    }
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Chunks, each with its length before it, and one of no length at the end.
async fn send(connection: &mut (impl AsyncWrite + Unpin), content: &[u8]) -> io::Result<()> {
    connection.write_all(b"zINSTREAM\0").await?;
    for chunk in content.chunks(CHUNK) {
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        connection.write_all(&length.to_be_bytes()).await?;
        connection.write_all(chunk).await?;
    }
    connection.write_all(&[0; 4]).await?;
    connection.flush().await
}

/// Everything up to a zero, or the end.
async fn answer(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    let mut limited = connection.take(MOST_ANSWER);
    let mut piece = [0; 512];
    loop {
        let length = limited.read(&mut piece).await?;
        let read = piece.get(..length).unwrap_or_default();
        match memchr::memchr(0, read) {
            Some(end) => {
                words.extend_from_slice(read.get(..end).unwrap_or_default());
                return Ok(words);
            }
            None if length == 0 => return Ok(words),
            None => words.extend_from_slice(read),
        }
    }
}

/// What clamd said of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Nothing was found.
    Clean,
    /// A signature fits.
    Found(String),
    /// The file is larger than it takes.
    TooLarge,
    /// It could not look, in its words.
    Error(String),
}

impl Reply {
    /// Reads an answer, without the zero at its end. Whatever is not understood is an error, and not clean.
    #[must_use]
    pub fn read(words: &[u8]) -> Self {
        let words = String::from_utf8_lossy(words);
        let words = words.trim();
        let said = words.strip_prefix("stream: ").unwrap_or(words);
        if said == "OK" && words.starts_with("stream: ") {
            return Self::Clean;
        }
        if let Some(name) = said.strip_suffix(" FOUND").filter(|name| !name.is_empty()) {
            return Self::Found(harmless(name));
        }
        if said.contains("size limit exceeded") {
            return Self::TooLarge;
        }
        Self::Error(harmless(said.strip_suffix(" ERROR").unwrap_or(said).trim()))
    }

    /// What it means.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        let name = match self {
            Self::Clean => return Verdict::Clean,
            Self::TooLarge => return Verdict::Unscanned(Why::TooLarge),
            Self::Error(words) => return Verdict::Unscanned(Why::Refused(words)),
            Self::Found(name) => name,
        };
        // What it could not unpack within its own limits it did not look at.
        if let Some(limit) = name.strip_prefix("Heuristics.Limits.Exceeded") {
            return Verdict::Excessive(match limit.trim_start_matches('.') {
                "MaxFiles" => Excess::Entries,
                "MaxRecursion" => Excess::Depth,
                "MaxFileSize" => Excess::One,
                _ => Excess::Total,
            });
        }
        let finding = |reason: &str, weight| Finding {
            name: format!("ClamAV.{name}"),
            what: String::new(),
            reason: reason.to_owned(),
            weight,
        };
        // Guesses, and programs that somebody may want: both are wrong often enough.
        if name.starts_with("Heuristics.Encrypted") {
            Verdict::Suspicious(finding("can't be looked into without its password", 5))
        } else if name.starts_with("Heuristics.") || name.starts_with("PUA.") {
            Verdict::Suspicious(finding(&format!("looks to ClamAV like \u{201c}{name}\u{201d}"), 6))
        } else {
            Verdict::Found(finding(&format!("is known to ClamAV as \u{201c}{name}\u{201d}"), 10))
        }
    }
}

/// Words that can be shown and logged.
fn harmless(words: &str) -> String {
    words.chars().filter(|letter| !letter.is_control()).take(MOST_WORDS).collect()
}

#[cfg(test)]
mod tests;
