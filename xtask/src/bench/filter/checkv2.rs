//! A client of what rspamd speaks: a message goes over HTTP, a verdict comes back.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::corpus::Known;
use super::curve::Judged;

/// How long a verdict may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A verdict.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Verdict {
    score: f64,
    action: String,
}

impl Verdict {
    /// Whether users would not find the message in their Inbox. What is greylisted comes a little later, and is there.
    fn flagged(&self) -> bool {
        matches!(self.action.as_str(), "add header" | "rewrite subject" | "reject" | "quarantine")
    }

    pub(super) fn judged(&self, spam: bool) -> Judged {
        Judged { spam, score: self.score, flagged: self.flagged() }
    }
}

/// Asks about a message. `all` has everything looked at, even when enough is known.
pub(super) fn check(server: SocketAddrV4, known: &Known, all: bool) -> Result<Verdict> {
    let message = on_its_way(&fs::read(&known.path)?);
    let all = if all { "Pass: all\r\n" } else { "" };
    let head = format!(
        "POST /checkv2 HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{all}Content-Length: {}\r\n\r\n",
        message.len()
    );
    let answer = exchange(server, &[head.as_bytes(), &message].concat())?;
    let text = String::from_utf8_lossy(body(&answer)?).into_owned();
    serde_json::from_str(&text).with_context(|| format!("reading {text}"))
}

/// Whether somebody answers.
pub(super) fn ping(server: SocketAddrV4) -> Result<()> {
    let request = format!("GET /ping HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    let answer = exchange(server, request.as_bytes())?;
    body(&answer).map(drop)
}

fn exchange(server: SocketAddrV4, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server.into(), PATIENCE).context("connecting")?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
    stream.set_nodelay(true).context("setting an option")?;
    stream.write_all(request).context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("waiting for an answer")?;
    Ok(answer)
}

/// What follows the head of an answer that is a success.
fn body(answer: &[u8]) -> Result<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no answer")?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "it says {status:?}");
    let chunked = head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    ensure!(!chunked, "an answer in pieces, which nobody asked for");
    Ok(answer.get(end + 4..).unwrap_or_default())
}

/// With the ends of lines that SMTP has.
pub(super) fn on_its_way(stored: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(stored.len() + stored.len() / 32);
    for line in stored.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                message.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                message.extend_from_slice(b"\r\n");
            }
            None => message.extend_from_slice(line),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(body(answer).unwrap(), b"{}");
        for (wrong, why) in [
            (&b"HTTP/1.1 403 no\r\n\r\n"[..], "403"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0", "pieces"),
            (b"HTTP/1.1 200 OK", "no answer"),
        ] {
            let error = body(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_is_not_in_the_inbox_is_flagged() {
        for (action, expected) in [
            ("no action", false),
            ("greylist", false),
            ("soft reject", false),
            ("add header", true),
            ("reject", true),
        ] {
            let verdict = Verdict { score: 1.5, action: action.to_owned() };
            let expected = Judged { spam: true, score: 1.5, flagged: expected };
            assert_eq!(verdict.judged(true), expected, "{action}");
        }
    }

    #[test]
    fn lines_end_as_they_do_in_smtp() {
        assert_eq!(on_its_way(b"a\nb\r\n\nc"), b"a\r\nb\r\n\r\nc");
    }
}
