//! The daemon's admin socket, as far as a spectator needs it: HTTP/1.1 over a Unix socket, one call a
//! connection.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Time for one call.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time for one call while somebody waits for the next picture.
const GLANCE: Duration = Duration::from_secs(1);

/// Most bytes of an answer that are read.
const LARGEST_ANSWER: u64 = 16 << 20;

/// A daemon's address.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    socket: PathBuf,
    patience: Duration,
}

/// Packets that met one verdict for one reason.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Counter {
    pub(crate) interface: String,
    pub(crate) service: String,
    pub(crate) reason: String,
    pub(crate) verdict: String,
    pub(crate) packets: u64,
}

/// The part of the daemon's overview that is shown here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Overview {
    pub(crate) edge: Option<Edge>,
    #[serde(default)]
    pub(crate) dns: Option<Dns>,
}

/// The part of what DNS says of itself that is shown here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dns {
    pub(crate) queries: Vec<Queries>,
}

/// Queries that were answered from one place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Queries {
    pub(crate) level: String,
    pub(crate) count: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Edge {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) ns_per_packet: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) mode: Option<String>,
    pub(crate) attached: bool,
    pub(crate) problem: Option<String>,
}

impl Admin {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), patience: PATIENCE }
    }

    /// The same for a spectator, who would rather be told that it is late.
    pub(crate) fn at_a_glance(&self) -> Self {
        Self { patience: GLANCE, ..self.clone() }
    }

    pub(crate) fn counters(&self) -> Result<Vec<Counter>> {
        self.call("GET", "/v1/counters")
    }

    pub(crate) fn overview(&self) -> Result<Overview> {
        self.call("GET", "/v1/status")
    }

    /// Whether it is well; DNS by an answered query.
    pub(crate) fn ping(&self) -> Result<()> {
        self.call::<String>("GET", "/v1/ping").map(drop)
    }

    pub(crate) fn reload(&self) -> Result<()> {
        self.call::<serde_json::Value>("POST", "/v1/reload").map(drop)
    }

    fn call<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T> {
        let what = || format!("{method} {path} on {}", self.socket.display());
        let mut stream = UnixStream::connect(&self.socket).with_context(what)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: muralla\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).with_context(what)?;
        let mut answer = Vec::new();
        match stream.take(LARGEST_ANSWER).read_to_end(&mut answer) {
            // How Linux says that SO_RCVTIMEO ended a read.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(anyhow!("no answer within {:?}", self.patience)).with_context(what);
            }
            read => read.with_context(what)?,
        };
        let body = body(&answer).with_context(what)?;
        serde_json::from_slice(body).with_context(what)
    }
}

/// The body of an answer that says 200.
fn body(answer: &[u8]) -> Result<&[u8]> {
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("an answer without an end of its headers")?;
    let (headers, body) = answer.split_at(end);
    let body = body.get(4..).unwrap_or_default();
    let status = headers.split(|&byte| byte == b'\r').next();
    let status = String::from_utf8_lossy(status.unwrap_or_default());
    if status.split(' ').nth(1) != Some("200") {
        bail!("{status}: {}", String::from_utf8_lossy(body).trim());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_has_a_body() {
        let good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";
        assert_eq!(body(good).unwrap(), b"[]");
        for bad in
            [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 409 Conflict\r\n\r\n{}", b"\r\n\r\n"]
        {
            assert!(body(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn counters_are_read() {
        let text = r#"[{"interface":"inet0","service":"dns","reason":"clean","verdict":"pass","packets":7,"bytes":600}]"#;
        let counters: Vec<Counter> = serde_json::from_str(text).unwrap();
        let text = r#"{"edge":null,"dns":{"queries":[{"level":"nic","count":5,"rtype":"A"}]}}"#;
        let overview: Overview = serde_json::from_str(text).unwrap();
        assert_eq!(overview.dns.unwrap().queries[0].level, "nic");
        assert_eq!((counters[0].packets, counters[0].reason.as_str()), (7, "clean"));
    }
}
